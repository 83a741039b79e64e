//! What was once written is read for ever: the bytes lie in `fixtures`.

use std::path::{Path, PathBuf};

use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{
    ApplyTo, BindingSpec, Destination, ExchangeDeclare, PermissionSpec, PolicySpec, QueueDeclare,
    TopicPermissionSpec, UserLimit, UserSpec, VhostLimit, VhostSpec,
};
use leveret_engine::{ConnectionId, ParameterValue, QueueId, QueueKind};
use leveret_engine::{Table, Topology, TopologyConfig, Value};

use super::*;
use crate::replication::{
    Alteration, Cfg, Changes, ClusterCommand, Epoch, Incarnation, NodeId, NodeRole, ReplicaId,
    StoreMark, SyncMode,
};

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

const AT: Timestamp = Timestamp(1_700_000_000_123);

const ORIGIN: Origin = Origin { node: 3, start: 300, number: 1 << 40 };

/// One change of nodes and copies of each kind, every field filled.
fn decisions() -> Vec<ClusterCommand> {
    use ClusterCommand as C;
    let (node, incarnation, queue) = (NodeId(2), Incarnation(300), QueueId(70_000));
    let (to, epoch) = (NodeId(3), Epoch(1 << 33));
    vec![
        C::AddNode {
            name: "rabbit@b".into(),
            addresses: vec!["b:25672".into(), "[::1]:1".into()],
            role: NodeRole::Witness,
        },
        C::Register { node, store: StoreMark(1 << 100), durable: 9 },
        C::NoteDurable { node, incarnation, durable: 10 },
        C::Fence { node, incarnation, lease_over: true },
        C::Unfence { node, incarnation },
        C::Drain { node },
        C::Replace { node },
        C::Forget { node },
        C::Alter(Alteration {
            queue,
            leader: to,
            incarnation,
            epoch,
            cfg: Cfg(12),
            node,
            in_sync: true,
            node_incarnation: Incarnation(301),
            rid: ReplicaId(8),
        }),
        C::Transfer { queue, to, epoch, stopped: true },
        C::SetSync { queue, mode: SyncMode::Natural },
        C::AddReplica { queue, node },
        C::DropReplica { queue, node },
        C::PromoteStale { queue, node },
    ]
}

/// Nodes, and a record of a queue.
fn metadata() -> Metadata {
    let mut metadata = Metadata::default();
    let mut changes = Changes::default();
    for (n, role) in [(1, NodeRole::Data), (2, NodeRole::Data), (3, NodeRole::Witness)] {
        let (name, addresses) = (format!("n{n}").into(), vec![format!("h{n}:1").into()]);
        let add = ClusterCommand::AddNode { name, addresses, role };
        metadata.apply(&add, &mut changes).unwrap();
        let (node, store) = (NodeId(n), StoreMark(u128::from(n) << 70));
        let register = ClusterCommand::Register { node, store, durable: n };
        metadata.apply(&register, &mut changes).unwrap();
    }
    let mut topology = Topology::new(TopologyConfig::default());
    let spec = VhostSpec { name: "/".into(), ..VhostSpec::default() };
    topology.apply(&Command::PutVhost(spec), AT).unwrap();
    let declare = QueueDeclare {
        vhost: "/".into(),
        name: "q".into(),
        server_named: false,
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Table::new(),
        user: "u".into(),
        id: Some(QueueId(5)),
    };
    let applied = topology.apply(&Command::DeclareQueue(declare), AT).unwrap();
    metadata.follow(&applied.changes, NodeId(2), &mut changes);
    metadata
}

fn batch() -> Batch {
    let commands = samples().into_iter().map(Agreed::Topology);
    let changes = commands.chain(decisions().into_iter().map(Agreed::Cluster));
    let mut stamped = changes.map(|change| Stamped { at: AT, change });
    Batch::gather(ORIGIN, &mut stamped, usize::MAX, usize::MAX).unwrap()
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

/// What was written before there were clusters, and is written no more.
fn old(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

#[test]
fn entries_from_before_there_were_clusters_are_read() {
    let (place, body) = read_entry(&old("v1-commands.bin")).unwrap();
    let Body::Changes(read) = body else { panic!("{body:?}") };
    assert_eq!((place, read.origin()), (PLACE, Origin::default()));
    let stamped = |command| Stamped { at: AT, change: Agreed::Topology(command) };
    let then: Vec<_> = samples().into_iter().map(stamped).collect();
    // NaN is not itself, its text is.
    assert_eq!(format!("{:?}", read.changes()), format!("{then:?}"));
    // Whoever sends it to another node writes it as it is written now.
    let again = entry(place, &Body::Changes(read.clone())).unwrap();
    let (_, Body::Changes(again)) = read_entry(&again).unwrap() else { panic!("{again:?}") };
    assert_eq!(format!("{again:?}"), format!("{read:?}"));
}

#[test]
fn snapshots_from_before_there_were_clusters_are_read() {
    let (state, applied) = read_snapshot(&old("v1-snapshot.bin")).unwrap();
    assert_eq!(format!("{:?}", state.commands), format!("{:?}", samples()));
    assert_eq!((state.metadata, applied), (Metadata::default(), Vec::new()));
}

#[test]
fn entries_are_read_as_they_were_written() {
    let changes = entry(PLACE, &Body::Changes(batch())).unwrap();
    let (place, body) = read_entry(&golden("v1-changes.bin", &changes)).unwrap();
    let Body::Changes(read) = body else { panic!("{body:?}") };
    assert_eq!((place, read.origin()), (PLACE, ORIGIN));
    assert_eq!(read.bytes(), batch().bytes());
    assert_eq!(format!("{:?}", read.changes()), format!("{:?}", batch().changes()));
    let bytes = entry(PLACE, &Body::Members(members())).unwrap();
    let (place, body) = read_entry(&golden("v1-members.bin", &bytes)).unwrap();
    assert!(matches!(body, Body::Members(read) if read == members()));
    assert_eq!(place, PLACE);
    let blank = entry(PLACE, &Body::Blank).unwrap();
    assert!(matches!(read_entry(&golden("v1-blank.bin", &blank)), Ok((PLACE, Body::Blank))));
}

#[test]
fn snapshots_and_votes_are_read_as_they_were_written() {
    let state = State { commands: samples(), metadata: metadata() };
    let bytes = golden("v2-snapshot.bin", &snapshot(&state, &[ORIGIN]).unwrap());
    let (read, applied) = read_snapshot(&bytes).unwrap();
    assert_eq!(format!("{:?}", read.commands), format!("{:?}", samples()));
    assert_eq!((read.metadata, applied), (state.metadata, vec![ORIGIN]));
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
    assert_eq!(read_snapshot(&bytes).unwrap_err(), BytesError::Version(9));
}

#[test]
fn bytes_that_were_cut_are_refused() {
    let whole = entry(PLACE, &Body::Changes(batch())).unwrap();
    let one = |n| {
        let stamped = |command| Stamped { at: AT, change: Agreed::Topology(command) };
        let mut few = samples().into_iter().take(n).map(stamped);
        let few = Batch::gather(ORIGIN, &mut few, usize::MAX, usize::MAX).unwrap();
        entry(PLACE, &Body::Changes(few)).unwrap().len()
    };
    let (none, first) = (one(0), one(1));
    // An entry without changes is what is left when the cut is right before them.
    for len in (0..first - 1).filter(|len| *len != none) {
        assert!(read_entry(&whole[..len]).is_err(), "{len}");
    }
    let mut longer = entry(PLACE, &Body::Blank).unwrap();
    longer.push(0);
    assert_eq!(read_entry(&longer).unwrap_err(), BytesError::Length);
}

#[test]
fn a_group_has_no_more_changes_and_bytes_than_it_may() {
    let stamped = |command| Stamped { at: Timestamp(0), change: Agreed::Topology(command) };
    let mut waiting = samples().into_iter().map(stamped);
    let all = waiting.len();
    let three = Batch::gather(ORIGIN, &mut waiting, 3, usize::MAX).unwrap();
    let one = Batch::gather(ORIGIN, &mut waiting, usize::MAX, ONE_MAX).unwrap();
    assert_eq!((three.changes().len(), one.changes().len(), waiting.len()), (3, 1, all - 4));
}

/// More than an origin, and less than an origin and a change.
const ONE_MAX: usize = 24;
