//! Frames survive the way, and nothing else does.

use super::*;
use crate::replication::effects::{Ack, Append, Conflict, Part, PartAck, Stale};
use crate::replication::ids::{Cfg, Epoch, NodeId, Position, ReplicaId, SessionId};
use crate::replication::log::{Entry, OpBytes, Origin, Payload};
use leveret_engine::{
    BrokerError, ChannelKey, Command, ConnectionId, ConsumerId, OpIndex, Outcome, QueueId,
    ResourceName, Seq, SeqRange, Table, Timestamp, Value,
};
use proxy::{Ask, Done, How, Messages, Subscriber, Tell, Told, Transient};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn hello() -> Hello {
    Hello {
        oldest: VERSION,
        newest: VERSION,
        cluster: ClusterId(9),
        node: NodeId(1),
        incarnation: Incarnation(4),
        name: "rabbit@a".into(),
        now: Timestamp(1_000_000),
        nonce: Nonce([3; 32]),
    }
}

fn messages() -> Vec<Message> {
    let (queue, rid, epoch) = (QueueId(300), ReplicaId(5), Epoch(1 << 40));
    let (leader, node, incarnation) = (NodeId(1), NodeId(2), Incarnation(3));
    let session = SessionId { incarnation, channel: 9 };
    let at = Position { epoch, index: OpIndex(7) };
    let origin = Some(Origin { session, first: 1, n: 3 });
    let op = |bytes: &[u8]| Payload::Op(OpBytes { origin, transient: true, bytes: bytes.into() });
    let entries = [Payload::EpochStart, op(b""), op(&[0, 255, 10]), Payload::SessionEnd(session)];
    let entries = entries.into_iter().map(|payload| Entry { epoch, payload }).collect();
    let (received, durable, lacks_upto) = (OpIndex(9), OpIndex(8), OpIndex(0));
    vec![
        Message::Append(Append {
            queue,
            rid,
            epoch,
            leader,
            prev: at,
            entries,
            commit: OpIndex(6),
        }),
        Message::Ack(Ack {
            queue,
            node,
            incarnation,
            rid,
            epoch,
            received,
            durable,
            lacks_upto,
            commit: OpIndex(6),
        }),
        Message::Conflict(Conflict { queue, node, rid, epoch, prev: at, end: at }),
        Message::Stale(Stale { queue, promised: epoch }),
        Message::Part(Part {
            queue,
            rid,
            epoch,
            leader,
            at,
            part: 1,
            last: true,
            natural: false,
            sessions: vec![(session, 77)],
            state: [1, 2, 3].into(),
        }),
        Message::PartAck(PartAck { queue, node, rid, epoch, at, next: 2 }),
    ]
}

fn frames() -> Vec<Frame> {
    let (caller, called) = (Nonce([1; 32]), Nonce([2; 32]));
    let alteration = Alteration {
        queue: QueueId(1),
        leader: NodeId(1),
        incarnation: Incarnation(1),
        epoch: Epoch(1),
        cfg: Cfg(1),
        node: NodeId(2),
        in_sync: true,
        node_incarnation: Incarnation(2),
        rid: ReplicaId(2),
    };
    vec![
        Frame::Hello(hello()),
        Frame::Proof(Proof::new(b"s", ClusterId(9), Side::Caller, caller, called)),
        Frame::Refused(Refused::Secret { name: "rabbit@b".into() }),
        Frame::Heartbeat { number: 1, incarnation: Incarnation(2), durable: 3 },
        Frame::Heard { number: 1 },
        Frame::Copies(messages()),
        Frame::Copies(Vec::new()),
        Frame::Alter(alteration),
        Frame::Agreement(vec![1, 2, 3].into()),
    ]
    .into_iter()
    .chain(asks().into_iter().map(Frame::Ask))
    .chain(tells().into_iter().map(Frame::Tell))
    .chain([Frame::Transient(Transient { all: true, commands: Vec::new() })])
    .collect()
}

fn subscriber() -> Subscriber {
    let connection = ConnectionId(5);
    Subscriber {
        id: ConsumerId(9),
        channel: ChannelKey { connection, number: 1, incarnation: 2 },
        tag: "tag".into(),
        no_ack: true,
        exclusive: false,
        prefetch: 10,
        priority: -1,
        from: Some(77),
        arguments: Table(vec![("x-priority".into(), Value::from(3))]),
        user: "guest".into(),
    }
}

fn asks() -> Vec<Ask> {
    let (queue, request, consumer) = (QueueId(300), 8, ConsumerId(9));
    let session = SessionId { incarnation: Incarnation(3), channel: 9 };
    let range = SeqRange { first: Seq::new(2, 70), n: 4 };
    let done = |consumer, how| Done { consumer, range, how };
    vec![
        Ask::Publish { queue, session, after: 3, first: 4, block: [1, 2, 255].into() },
        Ask::EndSession { queue, session },
        Ask::Settle {
            queue,
            settles: vec![done(None, How::Ack), done(Some(consumer), How::RejectFailed)],
        },
        Ask::Consume { request, queue, consumer: Box::new(subscriber()) },
        Ask::Cancel { queue, consumer, untaken: vec![range] },
        Ask::Room { queue, consumer, bytes: 1 << 20 },
        Ask::Get { request, queue },
        Ask::Purge { request, queue },
        Ask::Counts { request, queue },
        Ask::Apply { request, queue, command: Box::new(Command::DeleteUser { name: "u".into() }) },
    ]
}

fn tells() -> Vec<Tell> {
    let (queue, request, consumer) = (QueueId(300), 8, ConsumerId(9));
    let session = SessionId { incarnation: Incarnation(3), channel: 9 };
    let messages = Messages {
        first: Seq::new(0, 9),
        redelivered: true,
        returns: (2, 1),
        from_stream: false,
        block: [7; 40].into(),
    };
    let name = ResourceName::queue(&"/".into(), "q");
    let answer = |told| Tell::Answer { request, queue, told };
    vec![
        Tell::Settled { queue, session, first: 4, n: 2, taken: false },
        Tell::Missing { queue, session },
        Tell::Leads { queue },
        Tell::Reply { token: "2.x".into(), block: [9; 3].into() },
        Tell::Deliver { queue, consumer, messages: messages.clone() },
        Tell::Cancelled { queue, consumer },
        answer(Told::Consuming(Err(BrokerError::ExclusiveUse(name)))),
        answer(Told::Got(Some((messages, 3)))),
        answer(Told::Purged(5)),
        answer(Told::Counts(None)),
        answer(Told::Applied(Ok(Outcome::Done))),
    ]
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(7, &mut out).unwrap();
    out
}

#[test]
fn frames_are_read_as_they_were_written() {
    let all: Vec<_> = frames().iter().flat_map(bytes_of).collect();
    let (mut rest, mut read) = (&all[..], Vec::new());
    while let Some((frame, stream, n)) = Frame::decode(rest, PAYLOAD_BYTES_MAX).unwrap() {
        assert_eq!(stream, 7);
        read.push(frame);
        rest = &rest[n..];
    }
    assert!(rest.is_empty());
    assert_eq!(read, frames());
}

#[test]
fn a_part_of_a_frame_is_waited_for() {
    for frame in frames() {
        let bytes = bytes_of(&frame);
        for n in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..n], PAYLOAD_BYTES_MAX), Ok(None));
        }
    }
}

#[test]
fn a_changed_byte_is_found() {
    for frame in frames() {
        let bytes = bytes_of(&frame);
        for at in (0..bytes.len()).filter(|at| !(0..4).contains(at)) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Frame::decode(&changed, PAYLOAD_BYTES_MAX).is_err(), "{frame:?} at {at}");
        }
    }
}

#[test]
fn a_frame_beyond_the_limit_is_refused_by_its_header() {
    let bytes = bytes_of(&Frame::Copies(messages()));
    let header = &bytes[..HEADER_BYTES];
    let n = bytes.len() - HEADER_BYTES;
    let refused = Err(WireError::TooLarge { bytes: n, limit: n - 1 });
    assert_eq!(Frame::decode(header, n - 1), refused);
    assert_eq!(Frame::decode(header, n), Ok(None));
    // A stranger's limit holds whatever the connection's is.
    let mut stranger = bytes_of(&Frame::Hello(hello()));
    stranger[..4].copy_from_slice(&5_000_u32.to_be_bytes());
    let refused = Err(WireError::TooLarge { bytes: 5_000, limit: GREETING_BYTES_MAX });
    assert_eq!(Frame::decode(&stranger, PAYLOAD_BYTES_MAX), refused);
}

#[test]
fn another_version_of_a_frame_is_refused_by_its_number() {
    let mut bytes = bytes_of(&Frame::Heard { number: 1 });
    bytes[7] = 9;
    assert_eq!(Frame::decode(&bytes, 100), Err(WireError::Version(9)));
    bytes[4] = 99;
    assert_eq!(Frame::decode(&bytes, 100), Err(WireError::Kind(99)));
}

#[test]
fn strangers_are_told_why_they_are_refused() {
    let (ours, now) = (hello(), Timestamp(1_000_000));
    assert_eq!(ours.check(&hello(), now), Ok(VERSION));
    let text = |theirs: Hello| ours.check(&theirs, now).unwrap_err().to_string();
    let newer = Hello { oldest: 2, newest: 3, ..hello() };
    assert!(text(newer).starts_with("node 'rabbit@a' speaks versions 2 to 3 of the cluster"));
    let other = Hello { cluster: ClusterId(10), ..hello() };
    assert!(text(other).contains("belongs to cluster 0000000000000000000000000000000a, and"));
    let ahead = Hello { now: Timestamp(1_600_000), ..hello() };
    assert!(text(ahead).contains("600000 ms apart; set them by NTP"));
    let long = Hello { name: "n".repeat(300).into(), ..hello() };
    assert_eq!(ours.check(&long, now), Err(Refused::Name));
}

/// Bytes with a right checksum and a wrong payload, and bytes that are nothing.
#[test]
fn no_bytes_make_it_panic() {
    let mut random = StdRng::seed_from_u64(1);
    let frames = frames();
    for _ in 0..20_000 {
        let mut bytes = bytes_of(&frames[random.random_range(0..frames.len())]);
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        if random.random_bool(0.9) && bytes.len() > HEADER_BYTES {
            let n = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            let payload = bytes[HEADER_BYTES..].to_vec();
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &payload);
            bytes[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        fuzz_frames(&bytes);
    }
}
