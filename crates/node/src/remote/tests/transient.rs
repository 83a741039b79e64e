//! What is not durable, seen from other nodes.

use leveret_engine::command::QueueDeclare;
use leveret_engine::{
    BindingSpec, Body, Command, Destination, NewRecord, Outcome, QueueId, Settlement, Table,
};
use leveret_protocol::{Answer, Broker as _, Call};

use super::support::{Client, Cluster, bodies, durable};
use crate::peers::Leads;

fn transient(name: &str) -> QueueDeclare {
    QueueDeclare { durable: false, ..durable(name) }
}

fn declare(cluster: &Cluster, n: u64, declare: QueueDeclare) -> QueueId {
    let outcome = cluster.propose(n, Command::DeclareQueue(declare));
    let Outcome::QueueDeclared { queue, .. } = outcome else { panic!("{outcome:?}") };
    cluster.flow();
    queue.id
}

fn bind(name: &str) -> BindingSpec {
    BindingSpec {
        vhost: "/".into(),
        source: "amq.fanout".into(),
        destination: Destination::Queue(name.into()),
        key: b"".as_slice().into(),
        arguments: Table::default(),
    }
}

fn knows(cluster: &Cluster, n: u64, queue: QueueId) -> bool {
    cluster.node(n).queue_meta(queue).is_some()
}

fn n_bindings(cluster: &Cluster, n: u64) -> usize {
    let topology = cluster.node(n).topology.read();
    topology.vhost("/").unwrap().bindings_from("amq.fanout").count()
}

#[test]
fn a_queue_that_is_not_durable_is_used_from_every_node_and_goes_with_its_own() {
    let cluster = Cluster::new(3);
    let queue = declare(&cluster, 1, transient("q"));
    assert_eq!(
        cluster.node(2).leader_of(queue),
        Leads::There(leveret_cluster::replication::NodeId(1))
    );
    let (mut near, mut far) = (Client::new(&cluster, 1), Client::new(&cluster, 2));
    far.publish(queue, &["a"]);
    cluster.flow();
    far.look();
    assert_eq!(far.accepted(), [1]);
    let spec = near.spec(0);
    near.consume(queue, spec);
    assert_eq!(bodies(&near.take()), ["a"]);

    let spec = far.spec(0);
    let id = far.consume(queue, spec);
    cluster.flow();
    assert!(matches!(far.answer(), Answer::Consuming(Ok(()))));
    cluster.lose(1);
    far.look();
    assert_eq!(far.cancelled, [id]);
    assert!(!knows(&cluster, 2, queue) && !knows(&cluster, 3, queue));
}

#[test]
fn bindings_come_with_their_queue_and_an_auto_delete_queue_goes_everywhere() {
    let cluster = Cluster::new(2);
    let queue = declare(&cluster, 1, QueueDeclare { auto_delete: true, ..transient("q") });
    let mut far = Client::new(&cluster, 2);
    far.call(Call::Command(Command::Bind(bind("q"))));
    cluster.flow();
    assert!(matches!(far.answer(), Answer::Applied(Ok(Outcome::Bound { created: true }))));
    assert_eq!((n_bindings(&cluster, 1), n_bindings(&cluster, 2)), (1, 1));
    let spec = far.spec(0);
    let id = far.consume(queue, spec);
    cluster.flow();
    far.answer();
    far.cancel(queue, id);
    cluster.flow();
    assert!(!knows(&cluster, 1, queue) && !knows(&cluster, 2, queue));
    assert_eq!((n_bindings(&cluster, 1), n_bindings(&cluster, 2)), (0, 0));
}

#[test]
fn a_queue_of_another_node_is_deleted_there() {
    let cluster = Cluster::new(3);
    let queue = declare(&cluster, 1, transient("q"));
    let mut far = Client::new(&cluster, 3);
    far.publish(queue, &["a"]);
    let meta = cluster.node(3).queue_meta(queue).unwrap();
    far.call(Call::DeleteQueue { queue: meta, if_unused: false, if_empty: false });
    cluster.flow();
    let answer = far.answer();
    assert!(matches!(answer, Answer::Deleted(Ok(1))), "{answer:?}");
    assert!((1..=3).all(|n| !knows(&cluster, n, queue)));
}

#[test]
fn an_exclusive_queue_is_its_connections_on_every_node_and_goes_with_it() {
    let cluster = Cluster::new(2);
    let owner = Client::new(&cluster, 1);
    let exclusive_owner = Some(owner.channel.connection);
    let queue = declare(&cluster, 1, QueueDeclare { exclusive_owner, ..transient("q") });
    let meta = cluster.node(2).queue_meta(queue).unwrap();
    let stranger = Client::new(&cluster, 2);
    assert!(meta.check_owner(stranger.channel.connection).is_err());
    let command = Command::DeclareQueue(QueueDeclare {
        exclusive_owner: Some(stranger.channel.connection),
        ..transient("q")
    });
    let refused = cluster.node(2).propose(command, super::support::NOW, Box::new(|_| {}));
    assert!(refused.unwrap().is_err());
    owner.leave();
    cluster.flow();
    assert!(!knows(&cluster, 2, queue));
}

#[test]
fn a_connection_that_comes_back_brings_what_has_changed() {
    let cluster = Cluster::new(2);
    let (old, kept) =
        (declare(&cluster, 1, transient("old")), declare(&cluster, 1, transient("kept")));
    cluster.propose(1, Command::Bind(bind("kept")));
    cluster.flow();
    cluster.cut(1, 2);
    let delete =
        |name: &str| Command::DeleteQueue { vhost: "/".into(), name: name.into(), id: None };
    cluster.propose(1, delete("old"));
    cluster.propose(1, Command::Unbind(bind("kept")));
    let new = declare(&cluster, 1, transient("new"));
    cluster.mend(1, 2);
    cluster.flow();
    let known = [old, kept, new].map(|queue| knows(&cluster, 2, queue));
    assert_eq!(known, [false, true, true]);
    assert_eq!(n_bindings(&cluster, 2), 0);
}

#[test]
fn a_name_that_two_nodes_give_at_once_is_the_first_nodes() {
    let cluster = Cluster::new(3);
    let declared = |n, name| match cluster.propose(n, Command::DeclareQueue(transient(name))) {
        Outcome::QueueDeclared { queue, .. } => queue.id,
        other => panic!("{other:?}"),
    };
    let (second, first) = (declared(2, "q"), declared(1, "q"));
    cluster.flow();
    assert!((1..=3).all(|n| knows(&cluster, n, first) && !knows(&cluster, n, second)));
}

#[test]
fn a_request_on_one_node_is_replied_to_from_another() {
    let cluster = Cluster::new(2);
    let (mut asker, mut server) = (Client::new(&cluster, 1), Client::new(&cluster, 2));
    let channel = asker.channel;
    let token = asker.ports(|ports| ports.open_reply(channel));
    assert!(server.ports(|ports| ports.reply_alive(&token)));
    let record = NewRecord {
        address: b"\x00\x01q",
        properties: &[0, 0],
        persistent: false,
        priority: 0,
        expires_at: None,
        body: Body::Inline(b"answer"),
    };
    assert!(server.ports(|ports| ports.reply(&token, &record)));
    cluster.flow();
    assert_eq!(asker.replies(), ["answer"]);
    cluster.cut(1, 2);
    assert!(!server.ports(|ports| ports.reply(&token, &record)));
}

#[test]
fn a_dead_letter_leaves_its_queue_when_the_other_node_has_it() {
    let cluster = Cluster::new(2);
    let dead = cluster.declare(2, "dead");
    let mut source = durable("source");
    source.arguments.insert("x-dead-letter-exchange", "");
    source.arguments.insert("x-dead-letter-routing-key", "dead");
    let source = declare(&cluster, 1, source);
    let mut client = Client::new(&cluster, 1);
    client.publish(source, &["a"]);
    client.call(Call::Get { queue: source, no_ack: false });
    let Answer::Got(Ok(Some((delivery, _)))) = client.answer() else { panic!("nothing was got") };
    client.settle(source, &delivery, Settlement::Reject);
    let held =
        |cluster: &Cluster| cluster.node(1).queues.get(source).unwrap().queue.lock().counts().dead;
    assert_eq!(held(&cluster), 1);
    cluster.flow();
    assert_eq!(held(&cluster), 0);
    let mut other = Client::new(&cluster, 2);
    other.call(Call::Get { queue: dead, no_ack: true });
    let Answer::Got(Ok(Some((delivery, _)))) = other.answer() else { panic!("nothing was got") };
    assert_eq!(bodies(&[delivery]), ["a"]);
}
