//! Clients on one node that work with queues of another.

mod support;
mod transient;

use leveret_cluster::replication::NodeId;
use leveret_engine::{BrokerError, Settlement};
use leveret_protocol::{Answer, Call, Counts};
use support::{Client, Cluster, bodies, durable};

use crate::peers::Leads;

fn counts(client: &mut Client, cluster: &Cluster, queue: leveret_engine::QueueId) -> Counts {
    client.call(Call::Counts { queue });
    cluster.flow();
    match client.answer() {
        Answer::Counts(Ok(Some(counts))) => counts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_published_on_one_node_is_confirmed_and_consumed_on_others() {
    let cluster = Cluster::new(3);
    let queue = cluster.declare(1, "q");
    let (mut publisher, mut consumer) = (Client::new(&cluster, 2), Client::new(&cluster, 3));
    publisher.publish(queue, &["a", "b", "c"]);
    assert!(publisher.settled.is_empty());
    cluster.flow();
    publisher.look();
    assert_eq!(publisher.accepted(), [1, 2, 3]);
    assert_eq!(counts(&mut publisher, &cluster, queue), Counts { ready: 3, consumers: 0 });

    let spec = consumer.spec(0);
    consumer.consume(queue, spec);
    cluster.flow();
    assert!(matches!(consumer.answer(), Answer::Consuming(Ok(()))));
    let taken = consumer.take();
    assert_eq!(bodies(&taken), ["a", "b", "c"]);
    assert!(taken.iter().all(|delivery| !delivery.redelivered));
    for delivery in &taken {
        consumer.settle(queue, delivery, Settlement::Ack);
    }
    publisher.publish(queue, &["d"]);
    cluster.flow();
    assert_eq!(bodies(&consumer.take()), ["d"]);
    assert_eq!(counts(&mut publisher, &cluster, queue), Counts { ready: 0, consumers: 1 });
}

#[test]
fn a_prefetch_limit_holds_on_another_node_and_what_is_not_acked_goes_back() {
    let cluster = Cluster::new(2);
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    let spec = client.spec(2);
    let id = client.consume(queue, spec);
    client.publish(queue, &["a", "b", "c", "d"]);
    cluster.flow();
    let taken = client.take();
    assert_eq!(bodies(&taken), ["a", "b"]);
    client.settle(queue, &taken[0], Settlement::Requeue);
    cluster.flow();
    client.cancel(queue, id);
    cluster.flow();
    assert_eq!(counts(&mut client, &cluster, queue), Counts { ready: 4, consumers: 0 });
}

#[test]
fn get_purge_and_delete_reach_the_leader() {
    let cluster = Cluster::new(2);
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    client.publish(queue, &["a", "b", "c"]);
    client.call(Call::Get { queue, no_ack: false });
    cluster.flow();
    let Answer::Got(Ok(Some((delivery, 2)))) = client.answer() else { panic!("nothing was got") };
    assert_eq!(bodies(std::slice::from_ref(&delivery)), ["a"]);
    client.settle(queue, &delivery, Settlement::Requeue);
    client.call(Call::Get { queue, no_ack: true });
    cluster.flow();
    let Answer::Got(Ok(Some((delivery, 2)))) = client.answer() else { panic!("nothing was got") };
    assert!(delivery.redelivered);
    client.call(Call::Purge { queue });
    cluster.flow();
    assert!(matches!(client.answer(), Answer::Purged(Ok(2))));

    client.publish(queue, &["d"]);
    let meta = cluster.node(2).queue_meta(queue).unwrap();
    let delete = |if_empty| Call::DeleteQueue { queue: meta.clone(), if_unused: false, if_empty };
    client.call(delete(true));
    cluster.flow();
    assert!(matches!(client.answer(), Answer::Deleted(Err(BrokerError::NotEmpty(_)))));
    client.call(delete(false));
    cluster.flow();
    assert!(matches!(client.answer(), Answer::Deleted(Ok(1))));
    assert!(cluster.node(1).queue_meta(queue).is_none());
}

#[test]
fn declaring_a_queue_of_another_node_again_tells_what_is_in_it() {
    let cluster = Cluster::new(2);
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    client.publish(queue, &["a"]);
    client.call(Call::DeclareQueue(durable("q")));
    cluster.flow();
    let Answer::Declared(Ok(declared)) = client.answer() else { panic!("not declared") };
    assert_eq!((declared.queue.id, declared.ready), (queue, 1));
}

#[test]
fn publishes_that_were_lost_with_a_connection_are_sent_again_and_come_once() {
    let cluster = Cluster::new(2);
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    client.publish(queue, &["a"]);
    cluster.flow();
    client.publish(queue, &["b"]);
    cluster.cut(1, 2);
    client.publish(queue, &["c"]);
    cluster.mend(1, 2);
    client.publish(queue, &["d"]);
    cluster.flow();
    // The answer is lost.
    client.publish(queue, &["e"]);
    for (to, frame) in cluster.node(2).take_frames(std::task::Waker::noop()) {
        cluster.node(to.0).frame(NodeId(2), frame, support::NOW);
    }
    cluster.cut(1, 2);
    cluster.mend(1, 2);
    cluster.flow();
    client.look();
    assert_eq!(client.accepted(), [1, 2, 3, 4, 5]);
    let spec = client.spec(0);
    client.consume(queue, spec);
    cluster.flow();
    assert_eq!(bodies(&client.take()), ["a", "b", "c", "d", "e"]);
}

#[test]
fn what_a_lost_node_had_comes_again_and_a_connection_that_comes_back_consumes_on() {
    let cluster = Cluster::new(2);
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    let spec = client.spec(1);
    client.consume(queue, spec);
    client.publish(queue, &["a", "b"]);
    cluster.flow();
    let first = client.take();
    assert_eq!(bodies(&first), ["a"]);
    cluster.cut(1, 2);
    client.settle(queue, &first[0], Settlement::Ack);
    cluster.mend(1, 2);
    cluster.flow();
    // The ack came in time; what follows is a first delivery.
    let taken = client.take();
    assert_eq!(bodies(&taken), ["b"]);
    assert!(!taken[0].redelivered && client.cancelled.is_empty());
}

#[test]
fn a_client_that_goes_leaves_nothing_behind() {
    let cluster = Cluster::new(2);
    let queue = cluster.declare(1, "q");
    let (mut one, mut other) = (Client::new(&cluster, 2), Client::new(&cluster, 2));
    one.publish(queue, &["a"]);
    let spec = one.spec(1);
    one.consume(queue, spec);
    one.leave();
    cluster.flow();
    assert_eq!(counts(&mut other, &cluster, queue), Counts { ready: 1, consumers: 0 });
    let far = cluster.node(2).remote.far(queue).unwrap();
    assert!(far.state.lock().is_idle());
}

#[test]
fn a_queue_that_nobody_leads_is_said_to_be_down_and_keeps_publishes() {
    let cluster = Cluster::new(3);
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    let spec = client.spec(0);
    let id = client.consume(queue, spec);
    client.call(Call::Get { queue, no_ack: false });
    cluster.lose(1);
    assert_eq!(cluster.node(2).leader_of(queue), Leads::Nobody);
    client.publish(queue, &["a"]);
    let Answer::Got(Err(error)) = client.answer() else { panic!("something was got") };
    assert_eq!(
        error.explain(),
        "home node 'rabbit@1' of durable queue 'q' in vhost '/' is down or inaccessible"
    );
    assert!(matches!(client.answer(), Answer::Consuming(Err(_))));
    client.call(Call::Counts { queue });
    assert!(matches!(client.answer(), Answer::Counts(Err(_))));
    assert!(client.settled.is_empty() && client.cancelled.is_empty(), "{id:?}");
}

#[test]
fn another_leader_gets_what_was_not_settled_and_the_consumers() {
    let cluster = Cluster::new(3);
    cluster.mirror_all();
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    let spec = client.spec(0);
    client.consume(queue, spec);
    cluster.flow();
    assert!(client.has_answer());
    client.answer();
    client.publish(queue, &["a", "b"]);
    // Lost with the leader.
    cluster.lose(1);
    let leader = match cluster.node(2).leader_of(queue) {
        Leads::Here => 2,
        Leads::There(node) => node.0,
        Leads::Nobody => panic!("nobody leads"),
    };
    client.publish(queue, &["c"]);
    cluster.flow();
    client.look();
    assert_eq!(client.accepted(), [1, 2, 3]);
    assert_eq!(bodies(&client.take()), ["a", "b", "c"]);
    assert!(client.cancelled.is_empty());
    let mut other = Client::new(&cluster, leader);
    assert_eq!(counts(&mut other, &cluster, queue), Counts { ready: 0, consumers: 1 });
}

#[test]
fn a_consumer_that_asked_for_it_is_cancelled_when_the_leader_changes() {
    let cluster = Cluster::new(3);
    cluster.mirror_all();
    let queue = cluster.declare(1, "q");
    let mut client = Client::new(&cluster, 2);
    let mut spec = client.spec(0);
    spec.arguments.insert("x-cancel-on-ha-failover", true);
    let id = client.consume(queue, spec);
    cluster.flow();
    cluster.lose(1);
    cluster.flow();
    client.look();
    assert_eq!(client.cancelled, [id]);
}
