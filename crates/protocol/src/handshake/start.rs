//! connection.start: what the server says of itself. Clients switch features by it.
// rabbitmq: connection.start

use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::amqp_types::{FieldTable, LongString};
use leveret_codec::{Table, Value};

use crate::config::{ConnectionConfig, Mechanism, Peer};

/// What RabbitMQ offers beyond AMQP 0-9-1, all of it offered here.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The method for one peer: EXTERNAL is offered only to those with a certificate.
pub(crate) fn start(config: &ConnectionConfig, peer: &Peer) -> AMQPClass {
    let offered = |mechanism: &&Mechanism| {
        **mechanism != Mechanism::External || peer.certificate_name.is_some()
    };
    let names: Vec<&str> =
        config.mechanisms.iter().filter(offered).map(|mechanism| mechanism.name()).collect();
    AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: FieldTable::from(&properties(config)),
        mechanisms: LongString::from(names.join(" ")),
        locales: LongString::from("en_US"),
    }))
}

fn properties(config: &ConnectionConfig) -> Table {
    let mut capabilities = Table::new();
    for name in CAPABILITIES {
        capabilities.insert(name, true);
    }
    let mut table = Table::new();
    table.insert("capabilities", Value::Table(capabilities));
    table.insert("cluster_name", config.cluster_name.as_str());
    table.insert("copyright", "Copyright (c) the leveret authors.");
    table.insert("information", "Licensed under the Apache License 2.0.");
    table.insert("platform", config.platform.as_str());
    table.insert("product", "RabbitMQ");
    table.insert("version", config.product_version.as_str());
    for (key, value) in &config.server_properties {
        table.insert(key.as_str(), value.as_str());
    }
    table
}
