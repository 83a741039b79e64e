//! Queues, exchanges and bindings: declaring, deleting, and every way in which they are refused.

use crate::script::check;

#[test]
fn declare_a_queue_and_see_it() {
    check(
        "
        C1: queue.declare queue=q durable
        S1: queue.declare-ok queue=q
        C1: publish key=q body=hello content_type=text/plain
        C1: queue.declare queue=q passive
        S1: queue.declare-ok queue=q messages=1
        C1: basic.get queue=q no_ack
        S1: basic.get-ok delivery=1 key=q | content_type=text/plain | hello
        C1: basic.get queue=q no_ack
        S1: basic.get-empty
        ",
    );
}
