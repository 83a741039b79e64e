//! What a command changed, as events.
// rabbitmq: event exchange plugin

use super::Event;
use crate::command::{
    Applied, BindingSpec, Change, Command, Destination, Outcome, PolicySpec, UserLimit, VhostLimit,
};
use crate::error::term;
use crate::exchange::Exchange;
use crate::parameter::ParameterValue;
use leveret_codec::{Table, TableWriter, ValueView};
use std::sync::Arc;

/// The events of a command that was applied, in their order.
#[must_use]
pub fn of_command(command: &Command, applied: &Applied) -> Vec<Event> {
    let mut events: Vec<Event> = applied.changes.iter().filter_map(of_change).collect();
    events.extend(of_records(command, &applied.outcome));
    events
}

/// Arguments as RabbitMQ shows them: a list of terms.
pub(super) fn put_arguments(headers: &mut TableWriter<'_>, arguments: &Table) {
    headers.array("arguments", |list| {
        for (key, value) in arguments.iter() {
            list.string(term::field(key, value));
        }
    });
}

fn of_change(change: &Change) -> Option<Event> {
    Some(match change {
        Change::QueueAdded(queue) => Event::new("queue.created", |headers| {
            put_names(headers, &queue.vhost, &queue.name);
            headers.bool("durable", queue.durable);
            headers.bool("auto_delete", queue.auto_delete);
            headers.bool("exclusive", queue.exclusive_owner.is_some());
            put_arguments(headers, &queue.arguments);
            headers.string("user_who_performed_action", queue.created_by.as_bytes());
        }),
        Change::QueueRemoved(queue) => Event::new("queue.deleted", |headers| {
            put_names(headers, &queue.vhost, &queue.name);
            headers.string("user_who_performed_action", queue.created_by.as_bytes());
        }),
        Change::ExchangeAdded(exchange) => Event::new("exchange.created", |headers| {
            put_names(headers, &exchange.vhost, &exchange.name);
            put_exchange(headers, exchange);
        }),
        Change::ExchangeRemoved(exchange) => Event::new("exchange.deleted", |headers| {
            put_names(headers, &exchange.vhost, &exchange.name);
            headers.string("user_who_performed_action", exchange.created_by.as_bytes());
        }),
        Change::VhostAdded(name) => Event::new("vhost.created", |headers| {
            headers.string("name", name.as_bytes());
        }),
        Change::VhostRemoved(name) => Event::new("vhost.deleted", |headers| {
            headers.string("name", name.as_bytes());
        }),
        Change::UserAdded(name) => Event::new("user.created", |headers| {
            headers.string("name", name.as_bytes());
        }),
        Change::UserRemoved(name) => Event::new("user.deleted", |headers| {
            headers.string("name", name.as_bytes());
        }),
        _ => return None,
    })
}

fn put_names(headers: &mut TableWriter<'_>, vhost: &Arc<str>, name: &Arc<str>) {
    headers.string("vhost", vhost.as_bytes());
    headers.string("name", name.as_bytes());
}

fn put_exchange(headers: &mut TableWriter<'_>, exchange: &Exchange) {
    headers.string("type", exchange.kind.name());
    headers.bool("durable", exchange.durable);
    headers.bool("auto_delete", exchange.auto_delete);
    headers.bool("internal", exchange.internal);
    put_arguments(headers, &exchange.arguments);
    let policy = exchange.policy.as_ref().map_or("", |policy| &policy.name);
    headers.string("policy", policy);
    headers.string("user_who_performed_action", exchange.created_by.as_bytes());
}

/// What people manage, and bindings: told by the command, since there is no change to act on.
fn of_records(command: &Command, outcome: &Outcome) -> Vec<Event> {
    let one = |event| vec![event];
    match command {
        Command::Bind(spec) if *outcome == (Outcome::Bound { created: true }) => {
            one(Event::new("binding.created", |headers| put_binding(headers, spec)))
        }
        Command::Unbind(spec) if *outcome == (Outcome::Unbound { existed: true }) => {
            one(Event::new("binding.deleted", |headers| put_binding(headers, spec)))
        }
        Command::PutUser(spec) => vec![
            Event::new("user.password.changed", |h| h.string("name", spec.name.as_bytes())),
            Event::new("user.tags.set", |headers| put_tags(headers, &spec.name, &spec.tags)),
        ],
        Command::SetUserTags { name, tags } => {
            one(Event::new("user.tags.set", |headers| put_tags(headers, name, tags)))
        }
        Command::SetUserPassword { name, password } => {
            let key = match password {
                Some(_) => "user.password.changed",
                None => "user.password.cleared",
            };
            one(Event::new(key, |headers| headers.string("name", name.as_bytes())))
        }
        Command::SetUserLimit { user, limit, value } => one(Event::new(
            if value.is_some() { "user.limits.set" } else { "user.limits.cleared" },
            |headers| {
                let name = match limit {
                    UserLimit::Channels => "max-channels",
                    UserLimit::Connections => "max-connections",
                };
                put_limit(headers, name, *value);
                headers.string("username", user.as_bytes());
            },
        )),
        Command::SetVhostLimit { vhost, limit, value } => one(Event::new(
            if value.is_some() { "vhost.limits.set" } else { "vhost.limits.cleared" },
            |headers| {
                let name = match limit {
                    VhostLimit::Connections => "max-connections",
                    VhostLimit::Queues => "max-queues",
                };
                put_limit(headers, name, *value);
                headers.string("vhost", vhost.as_bytes());
            },
        )),
        Command::SetPermission(spec) => one(Event::new("permission.created", |headers| {
            put_user(headers, &spec.user, &spec.vhost);
            headers.string("configure", spec.configure.as_bytes());
            headers.string("write", spec.write.as_bytes());
            headers.string("read", spec.read.as_bytes());
        })),
        Command::ClearPermission { user, vhost } => {
            one(Event::new("permission.deleted", |headers| put_user(headers, user, vhost)))
        }
        Command::SetTopicPermission(spec) => {
            one(Event::new("topic.permission.created", |headers| {
                put_user(headers, &spec.user, &spec.vhost);
                headers.string("exchange", spec.exchange.as_bytes());
                headers.string("write", spec.write.as_bytes());
                headers.string("read", spec.read.as_bytes());
            }))
        }
        Command::ClearTopicPermission { user, vhost, .. } => {
            one(Event::new("topic.permission.deleted", |headers| put_user(headers, user, vhost)))
        }
        other => of_parameters(other),
    }
}

fn of_parameters(command: &Command) -> Vec<Event> {
    let set = |key, spec: &PolicySpec| Event::new(key, |headers| put_policy(headers, spec));
    let cleared = |key, vhost: &Arc<str>, name: &Arc<str>| {
        Event::new(key, |headers| put_names(headers, vhost, name))
    };
    vec![match command {
        Command::PutPolicy(spec) => set("policy.set", spec),
        Command::DeletePolicy { vhost, name } => cleared("policy.cleared", vhost, name),
        Command::PutOperatorPolicy(spec) => set("operator.policy.set", spec),
        Command::DeleteOperatorPolicy { vhost, name } => {
            cleared("operator.policy.cleared", vhost, name)
        }
        Command::PutParameter { vhost, component, name, value } => {
            Event::new("parameter.set", |headers| {
                put_names(headers, vhost, name);
                headers.string("component", component.as_bytes());
                put_parameter(headers, "value", value);
            })
        }
        Command::DeleteParameter { vhost, component, name } => {
            Event::new("parameter.cleared", |headers| {
                put_names(headers, vhost, name);
                headers.string("component", component.as_bytes());
            })
        }
        Command::PutGlobalParameter { name, value } => Event::new("parameter.set", |headers| {
            headers.string("name", name.as_bytes());
            put_parameter(headers, "value", value);
        }),
        Command::DeleteGlobalParameter { name } => Event::new("parameter.cleared", |headers| {
            headers.string("name", name.as_bytes());
        }),
        _ => return Vec::new(),
    }]
}

fn put_binding(headers: &mut TableWriter<'_>, spec: &BindingSpec) {
    headers.string("source_name", spec.source.as_bytes());
    headers.string("source_kind", "exchange");
    let (kind, name) = match &spec.destination {
        Destination::Exchange(name) => ("exchange", name),
        Destination::Queue(name) => ("queue", name),
    };
    headers.string("destination_name", name.as_bytes());
    headers.string("destination_kind", kind);
    headers.string("routing_key", &spec.key);
    put_arguments(headers, &spec.arguments);
    headers.string("vhost", spec.vhost.as_bytes());
}

fn put_tags(headers: &mut TableWriter<'_>, name: &Arc<str>, tags: &[Arc<str>]) {
    headers.string("name", name.as_bytes());
    headers.array("tags", |list| tags.iter().for_each(|tag| list.string(tag.as_bytes())));
}

fn put_user(headers: &mut TableWriter<'_>, user: &Arc<str>, vhost: &Arc<str>) {
    headers.string("user", user.as_bytes());
    headers.string("vhost", vhost.as_bytes());
}

fn put_limit(headers: &mut TableWriter<'_>, name: &str, value: Option<u64>) {
    headers.string("name", "limits");
    if let Some(value) = value {
        headers.long(name, i64::try_from(value).unwrap_or(i64::MAX));
    }
}

fn put_policy(headers: &mut TableWriter<'_>, spec: &PolicySpec) {
    put_names(headers, &spec.vhost, &spec.name);
    headers.string("pattern", spec.pattern.as_bytes());
    headers.string("apply-to", spec.apply_to.name());
    headers.long("priority", spec.priority);
    headers.table("definition", |table| {
        spec.definition.iter().for_each(|(key, value)| put_parameter(table, key, value));
    });
}

/// A value of a policy or a parameter.
fn put_parameter(headers: &mut TableWriter<'_>, key: &str, value: &ParameterValue) {
    match value {
        ParameterValue::Null => headers.value(key, ValueView::Void),
        ParameterValue::Bool(value) => headers.bool(key, *value),
        ParameterValue::Integer(value) => headers.long(key, *value),
        ParameterValue::Float(value) => headers.value(key, ValueView::Double(*value)),
        ParameterValue::String(text) => headers.string(key, text.as_bytes()),
        ParameterValue::List(values) => headers.array(key, |list| {
            for value in values.iter().filter_map(ParameterValue::as_str) {
                list.string(value.as_bytes());
            }
        }),
        ParameterValue::Object(fields) => headers.table(key, |table| {
            fields.iter().for_each(|(key, value)| put_parameter(table, key, value));
        }),
    }
}
