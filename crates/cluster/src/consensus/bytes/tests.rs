//! What version 1 has written is read for ever: its bytes lie in `fixtures`.

use std::path::{Path, PathBuf};

use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{
    ApplyTo, BindingSpec, Destination, ExchangeDeclare, PermissionSpec, PolicySpec, QueueDeclare,
    TopicPermissionSpec, UserLimit, UserSpec, VhostLimit, VhostSpec,
};
use leveret_engine::{ConnectionId, ParameterValue, QueueId, QueueKind};
use leveret_engine::{Table, Value};

use super::*;

fn value() -> ParameterValue {
    let list = vec![ParameterValue::Null, true.into(), (-5).into(), ParameterValue::Float(2.5)];
    let object = vec![("list".into(), ParameterValue::List(list)), ("text".into(), "é".into())];
    ParameterValue::Object(object)
}

fn table() -> Table {
    let mut inner = Table::new();
    inner.insert("deep", Value::Void);
    let values = [
        Value::Bool(true),
        Value::Byte(-1),
        Value::UnsignedByte(200),
        Value::Short(-300),
        Value::UnsignedShort(60_000),
        Value::Int(-70_000),
        Value::UnsignedInt(4_000_000_000),
        Value::Long(-5_000_000_000),
        Value::LongUpper(1),
        Value::Float(f32::NAN),
        Value::Double(f64::NEG_INFINITY),
        Value::Decimal { scale: 2, value: 314 },
        Value::LongString(b"\xff text".to_vec()),
        Value::Array(vec![Value::Int(1), Value::Table(inner)]),
        Value::Timestamp(1_700_000_000),
        Value::ByteArray(vec![0, 255]),
    ];
    Table(values.into_iter().enumerate().map(|(n, value)| (format!("key {n}"), value)).collect())
}

fn people() -> Vec<Command> {
    let (vhost, user): (Arc<str>, Arc<str>) = ("v".into(), "u".into());
    let password = PasswordHash::new(HashAlgorithm::Sha512, b"secret", [1, 2, 3, 4]);
    vec![
        Command::PutVhost(VhostSpec {
            name: vhost.clone(),
            description: "of a test".into(),
            tags: vec!["a".into(), "b".into()],
            default_queue_type: Some(QueueKind::Quorum),
            protected: true,
        }),
        Command::SetVhostLimit {
            vhost: vhost.clone(),
            limit: VhostLimit::Queues,
            value: Some(300),
        },
        Command::SetTracing { vhost: vhost.clone(), on: true },
        Command::PutUser(UserSpec {
            name: user.clone(),
            password: Some(password.clone()),
            tags: vec!["administrator".into()],
        }),
        Command::SetUserTags { name: user.clone(), tags: Vec::new() },
        Command::SetUserPassword { name: user.clone(), password: Some(password) },
        Command::SetUserLimit { user: user.clone(), limit: UserLimit::Channels, value: None },
        Command::SetPermission(PermissionSpec {
            user: user.clone(),
            vhost: vhost.clone(),
            configure: "^c".into(),
            write: "^w".into(),
            read: "^r".into(),
        }),
        Command::ClearPermission { user: user.clone(), vhost: vhost.clone() },
        Command::SetTopicPermission(TopicPermissionSpec {
            user: user.clone(),
            vhost: vhost.clone(),
            exchange: "amq.topic".into(),
            write: "w".into(),
            read: "r".into(),
        }),
        Command::ClearTopicPermission {
            user: user.clone(),
            vhost: vhost.clone(),
            exchange: Some("amq.topic".into()),
        },
        Command::DeleteUser { name: user },
        Command::DeleteVhost { name: vhost },
    ]
}

fn records() -> Vec<Command> {
    let (vhost, name): (Arc<str>, Arc<str>) = ("v".into(), "n".into());
    let policy = PolicySpec {
        vhost: vhost.clone(),
        name: name.clone(),
        pattern: "^q".into(),
        apply_to: ApplyTo::QuorumQueues,
        priority: -3,
        definition: vec![("max-length".into(), 9.into())],
    };
    vec![
        Command::PutPolicy(policy.clone()),
        Command::DeletePolicy { vhost: vhost.clone(), name: name.clone() },
        Command::PutOperatorPolicy(PolicySpec { apply_to: ApplyTo::Streams, ..policy }),
        Command::DeleteOperatorPolicy { vhost: vhost.clone(), name: name.clone() },
        Command::PutParameter {
            vhost: vhost.clone(),
            component: "shovel".into(),
            name: name.clone(),
            value: value(),
        },
        Command::DeleteParameter { vhost, component: "shovel".into(), name: name.clone() },
        Command::PutGlobalParameter { name: name.clone(), value: value() },
        Command::DeleteGlobalParameter { name },
    ]
}

fn routes() -> Vec<Command> {
    let (vhost, name): (Arc<str>, Arc<str>) = ("v".into(), "n".into());
    let binding = BindingSpec {
        vhost: vhost.clone(),
        source: "x".into(),
        destination: Destination::Queue("q".into()),
        key: [0, 255, b'k'].into(),
        arguments: table(),
    };
    let to_exchange = Destination::Exchange("y".into());
    vec![
        Command::DeclareExchange(ExchangeDeclare {
            vhost: vhost.clone(),
            name: name.clone(),
            kind: "topic".into(),
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: table(),
            user: "u".into(),
        }),
        Command::DeleteExchange { vhost: vhost.clone(), name: name.clone(), if_unused: true },
        Command::CollectExchange { vhost: vhost.clone(), name: name.clone() },
        Command::DeclareQueue(QueueDeclare {
            vhost: vhost.clone(),
            name: name.clone(),
            server_named: true,
            durable: true,
            exclusive_owner: Some(ConnectionId(70_000)),
            auto_delete: true,
            arguments: table(),
            user: "u".into(),
            id: Some(QueueId(5)),
        }),
        Command::DeleteQueue { vhost, name, id: Some(QueueId(1 << 40)) },
        Command::DeleteOwned { connection: ConnectionId(1) },
        Command::Bind(binding.clone()),
        Command::Unbind(BindingSpec { destination: to_exchange, ..binding }),
        Command::SetNextQueue(QueueId(300)),
    ]
}

/// One command of each kind, every field filled.
fn samples() -> Vec<Command> {
    [people(), records(), routes()].concat()
}

fn batch() -> Batch {
    let stamped = |command| Stamped { at: Timestamp(1_700_000_000_123), command };
    Batch::gather(&mut samples().into_iter().map(stamped), usize::MAX, usize::MAX).unwrap()
}

fn members() -> Members {
    Members {
        voters: vec![vec![1, 2, 3], vec![1, 300]],
        nodes: vec![(1, String::new()), (2, "b:1".into())],
    }
}

const PLACE: Place = Place { term: 7, node: 1, index: 100_000 };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// What was written then is what is written now. A new version gets new fixtures, and keeps these as bytes to read.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = fixture(name);
    if std::env::var_os("LEVERET_WRITE_FIXTURES").is_some() && !path.exists() {
        std::fs::write(&path, now).unwrap();
    }
    let then = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(then == now, "{name} is written in another way than by version {VERSION}");
    then
}

#[test]
fn entries_of_version_1_are_read() {
    let commands = entry(PLACE, &Body::Commands(batch())).unwrap();
    let (place, body) = read_entry(&golden("v1-commands.bin", &commands)).unwrap();
    let Body::Commands(read) = body else { panic!("{body:?}") };
    assert_eq!(place, PLACE);
    assert_eq!(read.bytes, batch().bytes);
    // NaN is not itself, its text is.
    assert_eq!(format!("{:?}", read.commands()), format!("{:?}", batch().commands()));
    let bytes = entry(PLACE, &Body::Members(members())).unwrap();
    let (place, body) = read_entry(&golden("v1-members.bin", &bytes)).unwrap();
    assert!(matches!(body, Body::Members(read) if read == members()));
    assert_eq!(place, PLACE);
    let blank = entry(PLACE, &Body::Blank).unwrap();
    assert!(matches!(read_entry(&golden("v1-blank.bin", &blank)), Ok((PLACE, Body::Blank))));
}

#[test]
fn snapshots_and_votes_of_version_1_are_read() {
    let mut read = Vec::new();
    let bytes = golden("v1-snapshot.bin", &snapshot(&samples()).unwrap());
    read_snapshot(&bytes, |command| read.push(command.clone())).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", samples()));
    let header = SnapshotHeader { last: Some(PLACE), members_at: None, members: members() };
    let bytes = golden("v1-header.bin", &value_bytes(&header));
    assert_eq!(read_value::<SnapshotHeader>(&bytes).unwrap(), header);
    let ballot = Ballot { term: 1 << 33, node: 2, committed: true };
    let bytes = golden("v1-vote.bin", &value_bytes(&ballot));
    assert_eq!(read_value::<Ballot>(&bytes).unwrap(), ballot);
}

fn value_bytes<T: Serialize>(of: &T) -> Vec<u8> {
    super::value(of).unwrap()
}

#[test]
fn bytes_of_another_version_are_refused_by_number() {
    let mut bytes = entry(PLACE, &Body::Blank).unwrap();
    bytes[0] = 9;
    assert_eq!(read_entry(&bytes).unwrap_err(), BytesError::Version(9));
    assert_eq!(read_value::<Ballot>(&bytes).unwrap_err(), BytesError::Version(9));
    assert_eq!(read_snapshot(&bytes, |_| {}).unwrap_err(), BytesError::Version(9));
}

#[test]
fn bytes_that_were_cut_are_refused() {
    let whole = entry(PLACE, &Body::Commands(batch())).unwrap();
    let first = {
        let one =
            samples().into_iter().take(1).map(|command| Stamped { at: Timestamp(0), command });
        let one = Batch::gather(&mut { one }, 1, usize::MAX).unwrap();
        entry(PLACE, &Body::Commands(one)).unwrap().len()
    };
    for len in 0..first - 1 {
        let read = read_entry(&whole[..len]);
        // An entry without commands is what is left when the cut is right before them.
        let empty = matches!(&read, Ok((_, Body::Commands(batch))) if batch.commands().is_empty());
        assert!(read.is_err() || empty, "{len}");
    }
    let mut longer = entry(PLACE, &Body::Blank).unwrap();
    longer.push(0);
    assert_eq!(read_entry(&longer).unwrap_err(), BytesError::Length);
}

#[test]
fn a_group_has_no_more_commands_and_bytes_than_it_may() {
    let stamped = |command| Stamped { at: Timestamp(0), command };
    let mut waiting = samples().into_iter().map(stamped);
    let all = waiting.len();
    let three = Batch::gather(&mut waiting, 3, usize::MAX).unwrap();
    let one = Batch::gather(&mut waiting, usize::MAX, 1).unwrap();
    assert_eq!((three.commands().len(), one.commands().len(), waiting.len()), (3, 1, all - 4));
}
