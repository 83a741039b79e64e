//! Vhosts, users and their limits.

use super::*;
use crate::command::{UserLimit, VhostLimit};

fn vhost(name: &str) -> VhostSpec {
    VhostSpec { name: name.into(), ..VhostSpec::default() }
}

#[test]
fn a_vhost_is_created_changed_and_deleted_with_everything() {
    let mut topology = topology();
    let put = |description: &str| {
        Command::PutVhost(VhostSpec { description: description.into(), ..vhost("v") })
    };
    assert_eq!(topology.does(put("")).outcome, Outcome::Put { created: true });
    assert_eq!(topology.does(put("text")).outcome, Outcome::Put { created: false });
    assert_eq!(&*topology.vhost("v").unwrap().info().description, "text");
    for name in ["b", "a"] {
        let exclusive_owner = Some(ConnectionId(1));
        topology.declare(QueueDeclare { vhost: "v".into(), exclusive_owner, ..queue(name) });
    }
    let applied = topology.does(Command::DeleteVhost { name: "v".into() });
    let told = told(&applied);
    assert_eq!(told[..2], ["-queue a", "-queue b"]);
    assert_eq!(told.len(), 2 + 7 + 1);
    assert!(matches!(applied.changes.last(), Some(Change::VhostRemoved(_))));
    assert_eq!((topology.n_queues(), topology.n_exchanges()), (0, 8));
    assert!(!topology.owns_queues(ConnectionId(1)));
    let delete = Command::DeleteVhost { name: "v".into() };
    assert_eq!(topology.refuses(delete), "404 no such vhost: 'v'");
}

#[test]
fn a_protected_vhost_stays() {
    let mut topology = topology();
    topology.does(Command::PutVhost(VhostSpec { protected: true, ..vhost("v") }));
    let delete = Command::DeleteVhost { name: "v".into() };
    assert_eq!(topology.refuses(delete), "406 virtual host 'v' is protected from deletion");
}

#[test]
fn limits_of_users_and_vhosts() {
    let mut topology = topology();
    let (limit, value) = (VhostLimit::Connections, Some(3));
    topology.does(Command::SetVhostLimit { vhost: "/".into(), limit, value });
    assert_eq!(topology.vhost_connection_limit("/"), Some(3));
    let set = |limit, value| Command::SetUserLimit { user: "guest".into(), limit, value };
    topology.does(set(UserLimit::Channels, Some(0)));
    topology.does(set(UserLimit::Connections, Some(5)));
    assert_eq!(topology.user_channel_limit("guest"), Some(0));
    topology.does(set(UserLimit::Connections, None));
    assert_eq!(topology.user_connection_limit("guest"), None);
    // A new password keeps the limits.
    let spec = UserSpec { name: "guest".into(), password: None, tags: vec!["monitoring".into()] };
    assert_eq!(topology.does(Command::PutUser(spec)).outcome, Outcome::Put { created: false });
    let user = topology.user("guest").unwrap();
    assert!(user.has_tag("monitoring") && user.max_channels == Some(0));
}

#[test]
fn records_have_limits() {
    let limits = TopologyLimits {
        vhosts: Some(1),
        records: 1,
        exchanges: Some(9),
        bindings_per_vhost: 1,
        ..TopologyLimits::default()
    };
    let mut topology = with_config(TopologyConfig { limits, ..TopologyConfig::default() });
    let refused = topology.refuses(Command::PutVhost(vhost("v")));
    assert_eq!(refused, "406 cannot create vhost: vhost limit of 1 is reached");
    let user = UserSpec { name: "u".into(), password: None, tags: Vec::new() };
    assert_eq!(
        topology.refuses(Command::PutUser(user)),
        "406 cannot add a user: limit of 1 is reached"
    );
    topology.exchanges(&[("x", "fanout")]);
    topology.queues(&["q"]);
    assert_eq!(
        topology.refuses(Command::DeclareExchange(exchange("y", "fanout"))),
        "406 cannot declare exchange 'y': exchange limit in cluster (9) is reached"
    );
    topology.bind_all(&[to_queue("x", "q", "")]);
    assert_eq!(
        topology.refuses(Command::Bind(to_queue("x", "q", "k"))),
        "406 cannot add a binding: binding limit in vhost '/' (1) is reached"
    );
    // Setting a record again is no new one.
    let everything: Arc<str> = ".*".into();
    topology.does(Command::SetPermission(PermissionSpec {
        user: "guest".into(),
        vhost: "/".into(),
        configure: everything.clone(),
        write: everything.clone(),
        read: everything,
    }));
}

#[test]
fn ids_of_transient_queues_differ_from_start_to_start() {
    let id = |boot| {
        let mut topology = with_config(TopologyConfig { boot, ..TopologyConfig::default() });
        topology.declare(QueueDeclare { durable: false, ..queue("t") }).id
    };
    assert!(id(0) != id(1) && id(1).is_transient() && id(0).is_transient());
}
