//! The scratch of routing, used again and again.

use super::*;

#[test]
fn a_scratch_forgets_the_last_message() {
    let ids: Vec<_> = (0..200).map(QueueId).collect();
    let mut routed = Routed::new(0);
    for round in 0..3 {
        routed.start(150);
        for exchange in [150, 3, 3, 70, 150] {
            routed.visit(exchange);
        }
        let visited: Vec<_> = (0..4).filter_map(|position| routed.visited(position)).collect();
        assert_eq!(visited, [150, 3, 70], "round {round}");
        routed.targets = vec![Target::queue(5), Target::exchange(9), Target::queue(199)];
        routed.accept(false);
        routed.targets = vec![Target::queue(5)];
        routed.accept(false);
        routed.finish(&ids);
        assert_eq!(routed.queues(), [QueueId(5), QueueId(199)]);
        assert_eq!(routed.visited(3), Some(9));
        assert!(routed.by_key_alone());
        routed.depends_on_more_than_keys();
    }
    routed.nothing();
    assert!(routed.is_empty());
}
