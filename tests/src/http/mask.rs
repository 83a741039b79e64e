//! What no recording can determine becomes its type, such as `<number>`: what depends on the machine,
//! the moment or the version.

use serde_json::{Map, Value};

/// Keys whose values are masked, wherever they stand.
const MASKED: [&str; 62] = [
    "age_max",
    "ack_timeout",
    "address",
    "avg",
    "avg_rate",
    "cluster_id",
    "cluster_name",
    "config_files",
    "connected_at",
    "content-length",
    "crypto_lib_version",
    "db_dir",
    "disk_free",
    "disk_free_limit",
    "erlang_full_version",
    "erlang_version",
    "fd_total",
    "fd_used",
    "garbage_collection",
    "head_message_timestamp",
    "id",
    "idle_since",
    "ip",
    "ip_address",
    "listeners",
    "log_files",
    "management_version",
    "mem_limit",
    "mem_used",
    "memory",
    "missing",
    "original_cluster_name",
    "os_pid",
    "password_hash",
    "peer_port",
    "pid",
    "port",
    "ports",
    "proc_total",
    "proc_used",
    "processors",
    "product_version",
    "rabbit_version",
    "rabbitmq_version",
    "rate",
    "recv_cnt",
    "recv_oct",
    "reductions",
    "release_series_support_status",
    "run_queue",
    "sample",
    "samples",
    "send_cnt",
    "send_oct",
    "send_pend",
    "sockets_total",
    "sockets_used",
    "socket_opts",
    "timestamp_in_ms",
    "uptime",
    "version",
    "explanation",
];

/// The answer with what is not determined masked, and lists in an order of their own.
pub(super) fn mask(value: &Value, only_types: bool) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| {
                    let known = !MASKED.contains(&key.as_str()) && !key.starts_with("x-dead");
                    let masked = if known { mask(value, only_types) } else { type_of(value) };
                    (key.clone(), masked)
                })
                .collect(),
        ),
        Value::Array(values) if only_types => {
            Value::Array(values.iter().take(1).map(|value| mask(value, true)).collect())
        }
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(|value| mask(value, false)).collect();
            if values.iter().all(is_named) {
                values.sort_by_key(identity);
            }
            Value::Array(values)
        }
        plain if only_types => type_of(plain),
        plain => plain.clone(),
    }
}

/// The type of a value, as a mask.
pub(super) fn type_of(value: &Value) -> Value {
    let name = match value {
        Value::Null => return Value::Null,
        Value::Bool(_) => "<bool>",
        Value::Number(_) => "<number>",
        Value::String(_) => "<string>",
        Value::Array(_) => "<array>",
        Value::Object(_) => "<object>",
    };
    Value::String(name.to_owned())
}

/// What tells an object of a list from the others.
const NAMES: [&str; 13] = [
    "vhost",
    "name",
    "component",
    "user",
    "source",
    "routing_key",
    "destination_type",
    "destination",
    "properties_key",
    "exchange",
    "consumer_tag",
    "protocol",
    "value",
];

fn is_named(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| {
        NAMES.iter().any(|name| fields.contains_key(*name)) && !fields.contains_key("payload")
    })
}

fn identity(value: &Value) -> String {
    let none = Map::new();
    let fields = value.as_object().unwrap_or(&none);
    NAMES.iter().filter_map(|name| fields.get(*name)).map(|value| format!("{value}/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_depends_on_the_moment_becomes_its_type() {
        let answer = json!({"uptime": 5, "name": "q", "list": [{"name": "b"}, {"name": "a"}]});
        let expected =
            json!({"uptime": "<number>", "name": "q", "list": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(mask(&answer, false), expected);
        let types =
            json!({"uptime": "<number>", "name": "<string>", "list": [{"name": "<string>"}]});
        assert_eq!(mask(&answer, true), types);
    }
}
