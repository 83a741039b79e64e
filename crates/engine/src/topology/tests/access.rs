//! Logging in, and what a user may do.

use super::*;
use crate::auth::{PeerAddress, Resource};
use crate::command::TopicPermissionSpec;
use crate::error::{AuthError, Permission};
use crate::topology::Examined;

const LOCAL: PeerAddress = PeerAddress { loopback: true };
const REMOTE: PeerAddress = PeerAddress { loopback: false };

fn with_user(configure: &str, write: &str, read: &str) -> Topology {
    let mut topology = topology();
    let password = PasswordHash::new(HashAlgorithm::Sha512, b"secret", [0; 4]);
    let spec = UserSpec { name: "u".into(), password: Some(password), tags: Vec::new() };
    topology.does(Command::PutUser(spec));
    topology.does(Command::SetPermission(PermissionSpec {
        user: "u".into(),
        vhost: "/".into(),
        configure: configure.into(),
        write: write.into(),
        read: read.into(),
    }));
    topology
}

#[test]
fn logging_in() {
    let mut topology = with_user("", "", "");
    let login = |topology: &Topology, user: &str, password: &[u8], peer| {
        topology.authenticate(user, password, peer).map(|user| user.name.to_string())
    };
    assert_eq!(login(&topology, "u", b"secret", REMOTE), Ok("u".into()));
    assert_eq!(login(&topology, "u", b"Secret", LOCAL), Err(AuthError::InvalidCredentials));
    assert_eq!(login(&topology, "u", b"", LOCAL), Err(AuthError::InvalidCredentials));
    assert_eq!(login(&topology, "x", b"secret", LOCAL), Err(AuthError::InvalidCredentials));
    assert_eq!(login(&topology, "guest", b"guest", LOCAL), Ok("guest".into()));
    assert_eq!(login(&topology, "guest", b"guest", REMOTE), Err(AuthError::LoopbackOnly));
    assert!(topology.authenticate_external("u", REMOTE).is_ok());
    assert_eq!(topology.authenticate_external("guest", REMOTE), Err(AuthError::LoopbackOnly));
    topology.does(Command::SetUserPassword { name: "u".into(), password: None });
    assert_eq!(login(&topology, "u", b"secret", LOCAL), Err(AuthError::InvalidCredentials));
}

#[test]
fn patterns_decide() {
    let topology = with_user("^a", "", "b$");
    let user = topology.user("u").unwrap();
    let allowed = |permission, resource| topology.check(user, "/", permission, resource).is_ok();
    assert!(allowed(Permission::Configure, Resource::Queue("abc")));
    assert!(!allowed(Permission::Configure, Resource::Queue("ba")));
    assert!(allowed(Permission::Read, Resource::Exchange("ab")));
    assert!(!allowed(Permission::Write, Resource::Queue("a")));
    assert!(!allowed(Permission::Write, Resource::Exchange("")));
    let error = topology.check(user, "/", Permission::Write, Resource::Exchange("")).unwrap_err();
    assert_eq!(
        error.explain(),
        "write access to exchange 'amq.default' in vhost '/' refused for user 'u'"
    );
    assert!(topology.check(user, "other", Permission::Read, Resource::Queue("ab")).is_err());
}

#[test]
fn a_vhost_opens_to_who_has_a_record() {
    let mut topology = with_user("", "", "");
    topology.does(Command::PutVhost(VhostSpec { name: "v".into(), ..VhostSpec::default() }));
    let user = topology.user("u").unwrap().clone();
    assert_eq!(topology.check_vhost(&user, "/"), Ok(()));
    let refused = |vhost| topology.check_vhost(&user, vhost).unwrap_err().explain();
    assert_eq!(refused("v"), "access to vhost 'v' refused for user 'u'");
    assert_eq!(refused("nope"), "vhost nope not found");
}

#[test]
fn topics() {
    let mut topology = with_user(".*", ".*", ".*");
    topology.exchanges(&[("t", "topic"), ("d", "direct")]);
    for exchange in ["t", "d"] {
        topology.does(Command::SetTopicPermission(TopicPermissionSpec {
            user: "u".into(),
            vhost: "/".into(),
            exchange: exchange.into(),
            write: "^a".into(),
            read: "^b".into(),
        }));
    }
    let user = topology.user("u").unwrap().clone();
    let check = |topology: &Topology, permission, exchange, key: &str| {
        let checked = topology.check_topic(&user, "/", permission, exchange, key.as_bytes());
        checked.map_err(|error| error.explain())
    };
    assert_eq!(check(&topology, Permission::Write, "t", "a.b"), Ok(()));
    assert_eq!(
        check(&topology, Permission::Read, "t", "#").unwrap_err(),
        "read access to topic '#' in exchange 't' in vhost '/' refused for user 'u'"
    );
    assert_eq!(check(&topology, Permission::Write, "d", "x"), Ok(()));
    assert_eq!(check(&topology, Permission::Write, "amq.topic", "x"), Ok(()));
    let bind = to_queue("t", "q", "#");
    assert!(topology.authorise_bind(&user, &bind).is_err());
    assert_eq!(topology.authorise_bind(&user, &to_queue("t", "q", "b.#")), Ok(()));
    topology.does(Command::ClearTopicPermission {
        user: "u".into(),
        vhost: "/".into(),
        exchange: Some("t".into()),
    });
    assert_eq!(topology.authorise_bind(&user, &bind), Ok(()));
}

#[test]
fn a_declare_is_checked_in_rabbitmqs_order() {
    let mut topology = with_user("^c", "^w", "^c?r");
    topology.queues(&["q"]);
    let user = topology.user("u").unwrap().clone();
    let declare = |name: &str, fields: &[(&str, Value)]| {
        let declare = QueueDeclare { arguments: table(fields), ..queue(name) };
        match topology.authorise_queue_declare(&user, &declare) {
            Ok(Examined::Existing(_)) => "existing".into(),
            Ok(Examined::Absent) => "absent".into(),
            Err(error) => error.explain(),
        }
    };
    let dlx = |name: &str| ("x-dead-letter-exchange", Value::from(name));
    let refused = |what: &str| format!("{what} in vhost '/' refused for user 'u'");
    assert_eq!(declare("amq.x", &[]), "queue name 'amq.x' contains reserved prefix 'amq.*'");
    assert_eq!(declare("q", &[]), refused("configure access to queue 'q'"));
    assert_eq!(declare("c", &[]), "absent");
    assert_eq!(declare("c", &[dlx("w")]), refused("read access to queue 'c'"));
    assert_eq!(declare("cr", &[dlx("x")]), refused("write access to exchange 'x'"));
    assert_eq!(declare("cr", &[dlx("w")]), "absent");
    let declare = |name: &str, kind: &str| {
        topology.authorise_exchange_declare(&user, &exchange(name, kind)).unwrap_err().explain()
    };
    assert_eq!(declare("", "nope"), "operation not permitted on the default exchange");
    assert_eq!(declare("x", "nope"), "unknown exchange type 'nope'");
    assert_eq!(declare("x", "direct"), refused("configure access to exchange 'x'"));
}

#[test]
fn deleting_a_user_takes_its_permissions() {
    let mut topology = with_user(".*", ".*", ".*");
    let applied = topology.does(Command::DeleteUser { name: "u".into() });
    assert!(matches!(applied.changes[..], [Change::UserRemoved(_)]));
    assert!(topology.vhost("/").unwrap().permissions_of("u").is_none());
    assert_eq!(topology.permissions().count(), 1);
    assert_eq!(topology.refuses(Command::DeleteUser { name: "u".into() }), "404 no such user: 'u'");
}
