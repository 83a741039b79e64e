//! Any sequence of methods, cut anywhere: no panic, and everything the server says parses.

#![expect(clippy::expect_used, reason = "a script that cannot be played is a broken test")]

use leveret_protocol::testing::{World, fuzz_connection, login};
use proptest::prelude::*;

use crate::script::wire;

/// Lines of clients that mean something together.
const LINES: &[&str] = &[
    "channel.open",
    "channel.close code=200",
    "channel.close-ok",
    "queue.declare queue=q",
    "queue.declare queue=r exclusive arguments={x-max-length=I:2}",
    "queue.declare queue=q passive",
    "queue.declare queue=x auto_delete nowait",
    "queue.delete queue=q",
    "queue.purge queue=r",
    "queue.bind queue=q exchange=amq.fanout",
    "queue.unbind queue=q exchange=amq.fanout",
    "exchange.declare exchange=e type=topic",
    "exchange.bind destination=e source=amq.fanout",
    "exchange.delete exchange=e",
    "basic.qos count=1",
    "basic.qos count=2 global",
    "basic.consume queue=q tag=t",
    "basic.consume queue=r no_ack",
    "basic.consume queue=amq.rabbitmq.reply-to tag=rep no_ack",
    "basic.cancel tag=t",
    "basic.cancel-ok tag=t",
    "basic.get queue=q",
    "basic.get queue=r no_ack",
    "basic.ack delivery=1",
    "basic.ack delivery=2 multiple",
    "basic.ack multiple",
    "basic.nack delivery=1 requeue",
    "basic.nack multiple requeue",
    "basic.reject delivery=3",
    "basic.recover requeue",
    "basic.recover-async requeue",
    "confirm.select",
    "tx.select",
    "tx.commit",
    "tx.rollback",
    "channel.flow active",
    "access.request realm=r",
];

/// Publishes: method words and body length.
const PUBLISHES: &[(&str, usize)] = &[
    ("key=q", 0),
    ("key=q mandatory", 5),
    ("key=none mandatory", 3),
    ("exchange=amq.fanout delivery_mode=2", 10),
    ("key=q headers={CC=A[S:r], BCC=A[S:x]}", 7),
    ("key=q reply_to=amq.rabbitmq.reply-to", 2),
    ("key=amq.rabbitmq.reply-to.t1-1-1", 2),
    ("key=q expiration=5", 6000),
    ("key=r priority=3", 1),
];

fn step() -> impl Strategy<Value = Vec<u8>> {
    let channel = prop_oneof![8 => 1..4u16, 1 => Just(0u16)];
    let line = (channel, 0..LINES.len())
        .prop_map(|(channel, at)| wire::frame(1, channel, &wire::method(&wire::words(LINES[at]))));
    let publish = (1..4u16, 0..PUBLISHES.len(), 1..7000usize).prop_map(|(channel, at, piece)| {
        let (text, size) = PUBLISHES[at];
        let words = wire::words(&format!("basic.publish {text}"));
        let mut out = wire::frame(1, channel, &wire::method(&words));
        let header = wire::header(60, 0, size as u64, &wire::properties(&words));
        out.extend(wire::frame(2, channel, &header));
        for part in vec![b'x'; size].chunks(piece) {
            out.extend(wire::frame(3, channel, part));
        }
        out
    });
    let open = (1..4u16)
        .prop_map(|channel| wire::frame(1, channel, &wire::method(&["channel.open".to_owned()])));
    prop_oneof![6 => line, 4 => publish, 1 => open]
}

/// How a session is played: the steps, the pieces they are cut into, and when the node is slow.
#[derive(Clone, Debug)]
struct Session {
    steps: Vec<Vec<u8>>,
    piece: usize,
    slow: Vec<bool>,
    alarms: Vec<bool>,
}

fn session() -> impl Strategy<Value = Session> {
    let steps = proptest::collection::vec(step(), 1..60);
    let slow = proptest::collection::vec(any::<bool>(), 20);
    let alarms = proptest::collection::vec(proptest::bool::weighted(0.1), 20);
    (steps, 1..3000usize, slow, alarms).prop_map(|(steps, piece, slow, alarms)| Session {
        steps,
        piece,
        slow,
        alarms,
    })
}

fn play(session: &Session, piece: usize) -> (Vec<u8>, Vec<(String, u64, u64)>) {
    let mut world = World::default();
    let id = world.connect();
    for part in login("/") {
        world.send(id, &part);
    }
    let open: Vec<u8> = (1..4u16)
        .flat_map(|channel| wire::frame(1, channel, &wire::method(&["channel.open".to_owned()])))
        .collect();
    world.send(id, &open);
    let bytes = session.steps.concat();
    for part in bytes.chunks(piece) {
        world.send(id, part);
    }
    let received = std::mem::take(&mut world.client(id).expect("a connection").received);
    world.pass(100_000);
    world.drop_socket(id);
    (received, world.node.contents())
}

/// Plays with a node that is slow at times and alarms that come and go.
fn play_roughly(session: &Session) -> Vec<u8> {
    let mut world = World::default();
    let id = world.connect();
    for part in login("/") {
        world.send(id, &part);
    }
    let turns = session.slow.iter().zip(&session.alarms).cycle();
    for (part, (slow, alarm)) in session.steps.concat().chunks(session.piece).zip(turns) {
        world.node.defer = *slow;
        if *alarm {
            world.tell_all(|| leveret_protocol::Event::Alarm(Some("low on memory".into())));
        } else {
            world.tell_all(|| leveret_protocol::Event::Alarm(None));
        }
        world.send(id, part);
        if !slow {
            world.node.answer_calls(3);
            world.settle();
        }
    }
    world.node.defer = false;
    world.tell_all(|| leveret_protocol::Event::Alarm(None));
    while world.node.n_deferred() > 0 {
        world.node.answer_calls(1);
        world.settle();
    }
    world.pass(100_000);
    let received = std::mem::take(&mut world.client(id).expect("a connection").received);
    world.drop_socket(id);
    for (name, _, unacked) in world.node.contents() {
        assert_eq!(unacked, 0, "{name} has unacked messages without a connection");
    }
    received
}

fn frames(bytes: &[u8]) -> usize {
    let (mut rest, mut n) = (bytes, 0);
    let splitter = leveret_codec::Splitter::new(0);
    while let Some((frame, len)) = splitter.split(rest).expect("a stream of frames") {
        if frame.kind == leveret_codec::FrameKind::METHOD {
            leveret_codec::decode_method(frame.payload).expect("a method that decodes");
        }
        rest = &rest[len..];
        n += 1;
    }
    assert!(rest.is_empty(), "{} bytes are no frame", rest.len());
    n
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_session_ends_alike_however_it_is_cut(session in session()) {
        let (whole, left) = play(&session, usize::MAX);
        let (pieces, left_of_pieces) = play(&session, session.piece);
        prop_assert!(frames(&whole) > 0);
        prop_assert!(frames(&pieces) > 0);
        prop_assert_eq!(left, left_of_pieces);
    }

    #[test]
    fn a_slow_node_and_alarms_break_nothing(session in session()) {
        frames(&play_roughly(&session));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_connection(&bytes);
    }

    #[test]
    fn any_bytes_behind_a_sound_start_are_survived(
        session in session(),
        at in 0..5000usize,
        byte in any::<u8>(),
    ) {
        let mut bytes = vec![1];
        bytes.extend((1..4u16).flat_map(|channel| {
            wire::frame(1, channel, &wire::method(&["channel.open".to_owned()]))
        }));
        bytes.extend(session.steps.concat());
        let at = at % bytes.len();
        if at > 0 {
            bytes[at] = byte;
        }
        fuzz_connection(&bytes);
    }
}
