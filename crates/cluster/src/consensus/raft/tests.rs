//! Agreement of one node: what it keeps, whom it answers, how it ends.

mod group;
mod suite;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use leveret_engine::Outcome;
use leveret_engine::Table;
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{BindingSpec, Destination, ExchangeDeclare, QueueDeclare};
use leveret_engine::topology::default_commands;
use leveret_store::{MemoryMeta, MetaError, MetaKey, MetaSnapshot};

use super::*;
use crate::consensus::{Agreed, Answer, Decided, NotDecided, Settled, State};
use crate::replication::{Metadata, Refusal};
use leveret_engine::Topology;

/// More answers than any of these tests waits for.
const ANSWERS: usize = 100_000;

const NOW: Timestamp = Timestamp(1_000);

/// How long an answer may take on a slow day.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that counts its writes, can be held up and can fail.
#[derive(Default)]
struct Bench {
    memory: MemoryMeta,
    appends: AtomicUsize,
    held: std::sync::Mutex<()>,
    fails: AtomicBool,
    starts: AtomicU64,
}

impl Bench {
    fn writing(&self) -> Result<(), MetaError> {
        drop(self.held.lock().unwrap());
        if self.fails.load(Ordering::SeqCst) {
            return Err(MetaError::Io { path: "here".into(), reason: "the disk is gone".into() });
        }
        Ok(())
    }
}

impl MetaStore for Bench {
    fn append(&self, first: u64, entries: &[&[u8]]) -> Result<(), MetaError> {
        self.writing()?;
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.memory.append(first, entries)
    }
    fn truncate(&self, from: u64) -> Result<(), MetaError> {
        self.memory.truncate(from)
    }
    fn purge(&self, upto: u64, mark: &[u8]) -> Result<(), MetaError> {
        self.memory.purge(upto, mark)
    }
    fn read(&self, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, MetaError> {
        self.memory.read(from, until)
    }
    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, MetaError> {
        self.memory.last()
    }
    fn put(&self, key: MetaKey, value: &[u8]) -> Result<(), MetaError> {
        self.memory.put(key, value)
    }
    fn get(&self, key: MetaKey) -> Result<Option<Vec<u8>>, MetaError> {
        self.memory.get(key)
    }
    fn put_snapshot(&self, snapshot: &MetaSnapshot) -> Result<(), MetaError> {
        self.writing()?;
        self.memory.put_snapshot(snapshot)
    }
    fn snapshot(&self) -> Result<Option<MetaSnapshot>, MetaError> {
        self.memory.snapshot()
    }
    fn starts(&self) -> u64 {
        self.starts.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A node as far as agreement knows it.
struct Node {
    state: Mutex<AgreedState>,
    panics: AtomicBool,
}

impl Node {
    /// How its topology is.
    fn with<R>(&self, look: impl FnOnce(&Topology) -> R) -> R {
        look(&self.state.lock().topology)
    }
}

impl StateMachine for Node {
    fn offer(&self, command: &Command, now: Timestamp) -> Option<Settled> {
        self.state.lock().topology.offer(command, now).transpose().map(Settled::from)
    }
    fn apply(&self, agreed: &Agreed, from: NodeId, now: Timestamp) -> Answer {
        assert!(!self.panics.load(Ordering::SeqCst), "a defect");
        self.state.lock().apply(agreed, from, now)
    }
    fn snapshot(&self) -> State {
        self.state.lock().snapshot()
    }
    fn restore(&self, state: &State, _now: Timestamp) {
        *self.state.lock() = AgreedState::restored(TopologyConfig::default(), state);
    }
    fn with_metadata(&self, look: &mut dyn FnMut(&Metadata)) {
        look(&self.state.lock().metadata);
    }
}

struct Running {
    consensus: Arc<RaftConsensus>,
    node: Arc<Node>,
    failed: Receiver<String>,
}

fn first() -> Vec<Command> {
    let password = PasswordHash::new(HashAlgorithm::Sha256, b"guest", [1, 2, 3, 4]);
    default_commands(&"/".into(), &"guest".into(), password, Vec::new())
}

fn try_open(store: &Arc<Bench>, first: Vec<Command>) -> Result<Running, OpenError> {
    let (tell, failed) = sync_channel(ANSWERS);
    let opened = RaftConsensus::open(Opening {
        store: Arc::clone(store) as _,
        config: TopologyConfig::default(),
        first,
        now: NOW,
        member: None,
        failed: Box::new(move |reason| drop(tell.send(reason))),
    })?;
    let panics = AtomicBool::new(false);
    let node = Arc::new(Node { state: Mutex::new(opened.state), panics });
    let consensus = opened.consensus;
    let machine: Weak<dyn StateMachine> = Arc::downgrade(&node) as _;
    consensus.attach(machine);
    Ok(Running { consensus, node, failed })
}

fn open(store: &Arc<Bench>) -> Running {
    try_open(store, first()).unwrap_or_else(|error| panic!("{error}"))
}

impl Running {
    /// Proposes and hands over a place where the answer comes.
    fn propose(&self, command: Command) -> Receiver<Proposed> {
        let (tell, answer) = sync_channel(ANSWERS);
        let later = tell.clone();
        let done = Box::new(move |proposed| drop(later.send(proposed)));
        if let Some(proposed) = self.consensus.propose(command, NOW, done) {
            tell.send(proposed).unwrap();
        }
        answer
    }

    #[track_caller]
    fn does(&self, command: Command) -> Outcome {
        self.propose(command).recv_timeout(PATIENCE).unwrap().unwrap()
    }

    /// Changes nodes and copies.
    fn decide(&self, command: ClusterCommand) -> Decided {
        let (tell, answer) = sync_channel(1);
        self.consensus.decide(command, NOW, Box::new(move |decided| drop(tell.send(decided))));
        answer.recv_timeout(PATIENCE).unwrap()
    }

    fn commands(&self) -> Vec<Command> {
        self.node.snapshot().commands
    }
}

fn queue(name: &str) -> QueueDeclare {
    QueueDeclare {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: Table::new(),
        user: "guest".into(),
        id: None,
    }
}

fn declare(name: &str) -> Command {
    Command::DeclareQueue(queue(name))
}

#[test]
fn a_new_node_begins_with_the_first_commands_and_only_once() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    assert!(running.node.with(|t| t.user("guest").is_some()));
    running.does(Command::DeleteUser { name: "guest".into() });
    drop(running);
    let running = open(&store);
    assert!(running.node.with(|t| t.user("guest").is_none()));
    assert!(running.node.with(|t| t.vhost("/").is_some()));
}

#[test]
fn first_commands_that_are_refused_are_an_error_with_the_reason() {
    let store = Arc::new(Bench::default());
    let error = try_open(&store, vec![declare("without a vhost")]).err().unwrap();
    assert!(matches!(error, OpenError::First(BrokerError::NoSuchRecord { .. })), "{error}");
}

#[test]
fn what_was_answered_is_there_when_it_is_opened_again() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    for n in 0..50 {
        running.does(declare(&format!("q{n}")));
    }
    running.does(Command::DeleteQueue { vhost: "/".into(), name: "q7".into(), id: None });
    let before = running.commands();
    drop(running);
    let running = open(&store);
    assert_eq!(running.commands(), before);
    running.does(declare("more"));
    drop(running);
    assert_eq!(open(&store).commands().len(), before.len() + 1);
}

#[test]
fn what_is_transient_costs_no_write_and_is_answered_at_once() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    let before = store.appends.load(Ordering::SeqCst);
    let transient = Command::DeclareQueue(QueueDeclare { durable: false, ..queue("t") });
    let done = Box::new(|_| panic!("it was answered at once"));
    let proposed = running.consensus.propose(transient, NOW, done);
    assert!(matches!(proposed, Some(Ok(Outcome::QueueDeclared { created: true, .. }))));
    assert_eq!(store.appends.load(Ordering::SeqCst), before);
}

#[test]
fn proposals_that_come_during_a_write_share_the_next() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    let before = store.appends.load(Ordering::SeqCst);
    let held = store.held.lock().unwrap();
    let answers: Vec<_> = (0..64).map(|n| running.propose(declare(&format!("q{n}")))).collect();
    // While the disk takes its time nobody is answered, and nobody sees a queue.
    assert!(answers.iter().all(|answer| answer.try_recv().is_err()));
    assert_eq!(running.node.with(Topology::n_queues), 0);
    drop(held);
    for answer in answers {
        answer.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    let writes = store.appends.load(Ordering::SeqCst) - before;
    assert!(writes <= 2, "{writes} writes for 64 queues");
}

#[test]
fn a_command_that_no_longer_fits_is_refused_now_and_when_it_is_read_again() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    let held = store.held.lock().unwrap();
    let bind = Command::Bind(BindingSpec {
        vhost: "/".into(),
        source: "amq.direct".into(),
        destination: Destination::Queue("q".into()),
        key: b"k"[..].into(),
        arguments: Table::new(),
    });
    drop(held);
    running.does(declare("q"));
    let held = store.held.lock().unwrap();
    // Both fit while they are offered; the first takes the queue away that the second needs.
    let gone =
        running.propose(Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None });
    let bound = running.propose(bind);
    drop(held);
    assert_eq!(gone.recv_timeout(PATIENCE).unwrap(), Ok(Outcome::Deleted { existed: true }));
    let refused = bound.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(matches!(refused, BrokerError::NotFound(_)), "{refused}");
    let before = running.commands();
    drop(running);
    assert_eq!(open(&store).commands(), before);
}

#[test]
fn who_unbinds_the_last_binding_is_answered_after_the_exchange_is_gone() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    running.does(Command::DeclareExchange(ExchangeDeclare {
        vhost: "/".into(),
        name: "x".into(),
        kind: "fanout".into(),
        durable: true,
        auto_delete: true,
        internal: false,
        arguments: Table::new(),
        user: "guest".into(),
    }));
    running.does(Command::DeclareQueue(QueueDeclare { durable: false, ..queue("t") }));
    let binding = BindingSpec {
        vhost: "/".into(),
        source: "x".into(),
        destination: Destination::Queue("t".into()),
        key: b""[..].into(),
        arguments: Table::new(),
    };
    running.does(Command::Bind(binding.clone()));
    assert_eq!(running.does(Command::Unbind(binding)), Outcome::Unbound { existed: true });
    assert!(running.node.with(|t| t.exchange("/", "x").is_none()));
    drop(running);
    assert!(open(&store).node.with(|t| t.exchange("/", "x").is_none()));
}

#[test]
fn a_long_log_becomes_a_snapshot_and_is_read_from_there() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    let padding = "x".repeat(200);
    let mut round = 0;
    while store.snapshot().unwrap().is_none() {
        let name = |n| format!("{padding}-{n}");
        let answers: Vec<_> = (0..500).map(|n| running.propose(declare(&name(n)))).collect();
        answers.into_iter().for_each(|answer| drop(answer.recv_timeout(PATIENCE).unwrap()));
        let delete = |n| Command::DeleteQueue { vhost: "/".into(), name: name(n).into(), id: None };
        let answers: Vec<_> = (1..500).map(|n| running.propose(delete(n))).collect();
        answers.into_iter().for_each(|answer| drop(answer.recv_timeout(PATIENCE).unwrap()));
        round += 1;
        assert!(round < 100, "no snapshot after {round} rounds");
    }
    // What the snapshot has leaves the log soon afterwards.
    let mut turns = 0;
    while !store.read(0, 1).unwrap().is_empty() {
        running.does(declare(&format!("turn-{turns}")));
        turns += 1;
        assert!(turns < 10_000, "what the snapshot has is still in the log");
    }
    let before = running.commands();
    drop(running);
    let running = open(&store);
    assert_eq!(running.commands(), before);
    running.does(declare("more"));
}

#[test]
fn what_waits_when_it_ends_is_refused_and_what_was_written_is_kept() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    let held = store.held.lock().unwrap();
    let answers: Vec<_> = (0..10).map(|n| running.propose(declare(&format!("q{n}")))).collect();
    let ending = std::thread::scope(|scope| {
        let ending = scope.spawn(|| running.consensus.shutdown());
        drop(held);
        ending.join()
    });
    ending.unwrap();
    let outcomes: Vec<_> =
        answers.into_iter().map(|answer| answer.recv_timeout(PATIENCE).unwrap()).collect();
    let kept = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(
        outcomes
            .iter()
            .all(|outcome| { outcome.is_ok() || *outcome == Err(BrokerError::ShuttingDown) })
    );
    let late = running.propose(declare("late")).recv_timeout(PATIENCE).unwrap();
    assert_eq!(late, Err(BrokerError::ShuttingDown));
    drop(running);
    assert_eq!(open(&store).node.with(Topology::n_queues), kept as u64);
}

#[test]
fn a_disk_that_fails_ends_it_and_nobody_is_told_that_it_was_done() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    store.fails.store(true, Ordering::SeqCst);
    let answer = running.propose(declare("q")).recv_timeout(PATIENCE).unwrap();
    assert_eq!(answer, Err(BrokerError::ShuttingDown));
    let reason = running.failed.recv_timeout(PATIENCE).unwrap();
    assert!(reason.contains("the disk is gone"), "{reason}");
    let late = running.propose(declare("r")).recv_timeout(PATIENCE).unwrap();
    assert_eq!(late, Err(BrokerError::ShuttingDown));
    store.fails.store(false, Ordering::SeqCst);
    drop(running);
    assert_eq!(open(&store).node.with(Topology::n_queues), 0);
}

#[test]
fn a_defect_in_the_machine_ends_it() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    running.node.panics.store(true, Ordering::SeqCst);
    let answer = running.propose(declare("q")).recv_timeout(PATIENCE).unwrap();
    assert_eq!(answer, Err(BrokerError::ShuttingDown));
    let reason = running.failed.recv_timeout(PATIENCE).unwrap();
    assert!(reason.contains("has panicked"), "{reason}");
}

#[test]
fn a_disk_that_fails_at_the_start_is_an_error_with_the_reason() {
    let store = Arc::new(Bench::default());
    store.fails.store(true, Ordering::SeqCst);
    let error = try_open(&store, first()).err().unwrap().to_string();
    assert!(error.contains("the disk is gone"), "{error}");
}

#[test]
fn the_last_reference_may_be_dropped_by_an_answer() {
    let store = Arc::new(Bench::default());
    let Running { consensus, node, failed } = open(&store);
    let held = store.held.lock().unwrap();
    let (tell, answered) = sync_channel(ANSWERS);
    let last = Arc::clone(&consensus);
    let done = Box::new(move |_| {
        drop(last);
        tell.send(()).unwrap();
    });
    assert!(consensus.propose(declare("q"), NOW, done).is_none());
    drop(consensus);
    drop(held);
    answered.recv_timeout(PATIENCE).unwrap();
    // It ends by itself.
    assert!(failed.recv_timeout(PATIENCE).is_err(), "ended with a failure");
    drop(node);
}

#[test]
fn nodes_and_copies_are_agreed_on_in_the_same_log() {
    let store = Arc::new(Bench::default());
    let running = open(&store);
    running.does(declare("before"));
    let (name, addresses): (Arc<str>, _) = ("rabbit@a".into(), vec!["a:25672".into()]);
    let add = ClusterCommand::AddNode { name, addresses, role: NodeRole::Data };
    assert_eq!(running.decide(add.clone()), Ok(Reply::Added(NodeId(1))));
    let refused = running.decide(add);
    assert!(matches!(refused, Err(NotDecided::Refused(Refusal::NameTaken(_)))), "{refused:?}");
    let (node, mark) = (NodeId(1), StoreMark(7));
    let registered = running.decide(ClusterCommand::Register { node, store: mark, durable: 0 });
    assert!(matches!(registered, Ok(Reply::Registered(_))), "{registered:?}");
    running.does(declare("after"));
    // What was there before the cluster has a record, and so has what is declared in it.
    let before = running.node.snapshot();
    assert_eq!(before.metadata.queues().count(), 2);
    drop(running);
    assert_eq!(open(&store).node.snapshot(), before);
}
