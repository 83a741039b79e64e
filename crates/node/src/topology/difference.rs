//! From one durable state to another: for a node that was away for so long that it is given the state instead of the
//! commands that made it.

use std::collections::HashMap;

use leveret_engine::Command;
use leveret_engine::command::VhostSpec;

/// The commands that turn the durable part of a topology, which is what `present` makes from nothing, into what `wanted`
/// makes: first what is too much goes, then what is different or missing is made, each in an order in which it succeeds.
pub(super) fn difference(present: &[Command], wanted: &[Command]) -> Vec<Command> {
    let (before, after) = (by_subject(present), by_subject(wanted));
    let gone = present.iter().rev().filter(|command| !after.contains_key(&subject(command)));
    let mut commands: Vec<_> = gone.filter_map(inverse).collect();
    let differs = |command: &&Command| {
        let subject = subject(command);
        before.get(&subject) != after.get(&subject)
    };
    commands.extend(wanted.iter().filter(differs).cloned());
    commands
}

/// What is said of each thing.
fn by_subject(commands: &[Command]) -> HashMap<String, Vec<&Command>> {
    let mut by_subject: HashMap<String, Vec<&Command>> = HashMap::new();
    for command in commands {
        by_subject.entry(subject(command)).or_default().push(command);
    }
    by_subject
}

/// What a command of a snapshot is about. What can be put in place of another keeps its subject; what has to go first, such
/// as a queue, is a thing of its own with everything that is said of it.
fn subject(command: &Command) -> String {
    match command {
        Command::PutVhost(spec) => format!("vhost {:?}", spec.name),
        Command::SetTracing { vhost, .. } => format!("tracing {vhost:?}"),
        Command::SetVhostLimit { vhost, limit, .. } => format!("limit {limit:?} {vhost:?}"),
        Command::PutUser(spec) => format!("user {:?}", spec.name),
        Command::SetUserLimit { user, limit, .. } => format!("limit {limit:?} {user:?}"),
        Command::SetPermission(spec) => format!("permission {:?} {:?}", spec.user, spec.vhost),
        Command::SetTopicPermission(spec) => {
            format!("topic permission {:?} {:?} {:?}", spec.user, spec.vhost, spec.exchange)
        }
        Command::PutPolicy(spec) => format!("policy {:?} {:?}", spec.vhost, spec.name),
        Command::PutOperatorPolicy(spec) => {
            format!("operator policy {:?} {:?}", spec.vhost, spec.name)
        }
        Command::PutParameter { vhost, component, name, .. } => {
            format!("parameter {vhost:?} {component:?} {name:?}")
        }
        Command::PutGlobalParameter { name, .. } => format!("global parameter {name:?}"),
        Command::SetNextQueue(_) => "next queue".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The command that takes away what a command of a snapshot makes.
fn inverse(command: &Command) -> Option<Command> {
    Some(match command.clone() {
        Command::PutVhost(VhostSpec { name, .. }) => Command::DeleteVhost { name },
        Command::SetTracing { vhost, .. } => Command::SetTracing { vhost, on: false },
        Command::SetVhostLimit { vhost, limit, .. } => {
            Command::SetVhostLimit { vhost, limit, value: None }
        }
        Command::PutUser(spec) => Command::DeleteUser { name: spec.name },
        Command::SetUserLimit { user, limit, .. } => {
            Command::SetUserLimit { user, limit, value: None }
        }
        Command::SetPermission(spec) => {
            Command::ClearPermission { user: spec.user, vhost: spec.vhost }
        }
        Command::SetTopicPermission(spec) => Command::ClearTopicPermission {
            user: spec.user,
            vhost: spec.vhost,
            exchange: Some(spec.exchange),
        },
        Command::PutPolicy(spec) => Command::DeletePolicy { vhost: spec.vhost, name: spec.name },
        Command::PutOperatorPolicy(spec) => {
            Command::DeleteOperatorPolicy { vhost: spec.vhost, name: spec.name }
        }
        Command::PutParameter { vhost, component, name, .. } => {
            Command::DeleteParameter { vhost, component, name }
        }
        Command::PutGlobalParameter { name, .. } => Command::DeleteGlobalParameter { name },
        Command::DeclareExchange(declare) => {
            let (vhost, name) = (declare.vhost, declare.name);
            Command::DeleteExchange { vhost, name, if_unused: false }
        }
        Command::DeclareQueue(declare) => {
            let (vhost, name, id) = (declare.vhost, declare.name, declare.id);
            Command::DeleteQueue { vhost, name, id }
        }
        Command::Bind(spec) => Command::Unbind(spec),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_engine::command::{ApplyTo, BindingSpec, Destination, PolicySpec, QueueDeclare};
    use leveret_engine::{Table, Timestamp, Topology, TopologyConfig};

    const NOW: Timestamp = Timestamp(0);

    fn made_by(commands: &[Command]) -> Topology {
        let mut topology = Topology::new(TopologyConfig::default());
        for command in commands {
            topology.apply(command, NOW).unwrap();
        }
        topology
    }

    fn vhost(name: &str, description: &str) -> Command {
        let (name, description) = (name.into(), description.into());
        Command::PutVhost(VhostSpec { name, description, ..VhostSpec::default() })
    }

    fn queue(name: &str) -> Command {
        Command::DeclareQueue(QueueDeclare {
            vhost: "/".into(),
            name: name.into(),
            server_named: false,
            durable: true,
            exclusive_owner: None,
            auto_delete: false,
            arguments: Table::new(),
            user: "u".into(),
            id: None,
        })
    }

    fn bind(queue: &str, key: &'static [u8]) -> Command {
        Command::Bind(BindingSpec {
            vhost: "/".into(),
            source: "amq.direct".into(),
            destination: Destination::Queue(queue.into()),
            key: key.into(),
            arguments: Table::new(),
        })
    }

    fn policy(name: &str, priority: i32) -> Command {
        Command::PutPolicy(PolicySpec {
            vhost: "/".into(),
            name: name.into(),
            pattern: ".*".into(),
            apply_to: ApplyTo::Queues,
            priority: priority.into(),
            definition: vec![("max-length".into(), 5.into())],
        })
    }

    /// What is done to get from one to the other, after which they are the same.
    fn way(from: &[Command], to: &[Command]) -> Vec<Command> {
        let (mut from, to) = (made_by(from), made_by(to));
        let commands = difference(&from.snapshot_commands(), &to.snapshot_commands());
        for command in &commands {
            from.apply_agreed(command, NOW).unwrap();
        }
        assert_eq!(from.snapshot_commands(), to.snapshot_commands());
        commands
    }

    #[test]
    fn nothing_is_done_where_nothing_differs() {
        let both = [vhost("/", ""), queue("q"), bind("q", b"k"), policy("p", 1)];
        assert!(way(&both, &both).is_empty());
    }

    #[test]
    fn what_is_too_much_goes_and_what_is_missing_comes() {
        let from = [vhost("/", "a"), vhost("v", ""), queue("q"), bind("q", b"k"), policy("p", 1)];
        let to = [vhost("/", "b"), queue("q"), bind("q", b"l"), queue("r"), policy("o", 2)];
        let done = way(&from, &to);
        assert!(done.contains(&Command::DeleteVhost { name: "v".into() }));
        // The vhost is changed, not made again with everything in it.
        assert!(!done.iter().any(|c| matches!(c, Command::DeleteQueue { .. })), "{done:?}");
    }

    #[test]
    fn a_queue_that_was_deleted_and_declared_again_is_another() {
        let gone = Command::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None };
        let from = [vhost("/", ""), queue("q")];
        let done = way(&from, &[vhost("/", ""), queue("q"), gone, queue("q")]);
        assert!(matches!(&done[..], [Command::DeleteQueue { .. }, ..]), "{done:?}");
    }
}
