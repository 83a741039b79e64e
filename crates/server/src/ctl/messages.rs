//! Publishing a message and looking at messages by hand.

use super::table::Table;
use super::{Options, segment};
use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use hyper::Method;
use serde_json::json;

/// Messages.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum MessageVerb {
    /// Publish a message, and fail if no queue takes it.
    Publish {
        /// The exchange; amq.default is the one that leads to the queue of the key's name.
        exchange: String,
        /// The routing key.
        routing_key: String,
        /// The payload, a text.
        payload: String,
        /// Properties as JSON, such as `{"delivery_mode": 2, "headers": {"x": 1}}`.
        #[arg(long, value_name = "JSON", default_value = "{}")]
        properties: String,
    },
    /// Look at messages of a queue. As a rule they go back to their places, seen by clients as redelivered.
    Get {
        /// The queue.
        queue: String,
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: u32,
        /// What happens to them.
        #[arg(long, value_enum, default_value = "ack_requeue_true")]
        ackmode: AckMode,
    },
}

/// RabbitMQ's words for what happens to messages that were looked at.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum AckMode {
    /// They go back.
    AckRequeueTrue,
    /// They are gone.
    AckRequeueFalse,
    /// They go back, as rejected ones.
    RejectRequeueTrue,
    /// They are rejected: dead-lettered, where the queue says so.
    RejectRequeueFalse,
}

impl AckMode {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl MessageVerb {
    pub(super) async fn run(&self, options: &Options) -> anyhow::Result<()> {
        let vhost = segment(&options.vhost);
        match self {
            Self::Publish { exchange, routing_key, payload, properties } => {
                let properties = super::request::json_of("properties", properties)?;
                let body = json!({
                    "properties": properties, "routing_key": routing_key,
                    "payload": payload, "payload_encoding": "string",
                });
                let path = format!("/api/exchanges/{vhost}/{}/publish", segment(exchange));
                let answer = options.target.call(Method::POST, &path, Some(&body)).await?;
                if answer["routed"] != true {
                    bail!("no queue took the message: nothing is bound that fits {routing_key}");
                }
                options.say("Message published");
                Ok(())
            }
            Self::Get { queue, count, ackmode } => {
                let body = json!({"count": count, "ackmode": ackmode.name(), "encoding": "auto"});
                let path = format!("/api/queues/{vhost}/{}/get", segment(queue));
                let got = options.target.call(Method::POST, &path, Some(&body)).await?;
                options.show(&Table::of(&got, &COLUMNS));
                Ok(())
            }
        }
    }
}

// rabbitmq: rabbitmqadmin get
const COLUMNS: [&str; 7] = [
    "routing_key",
    "exchange",
    "message_count",
    "payload",
    "payload_bytes",
    "properties",
    "redelivered",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_modes_have_rabbitmqs_names() {
        assert_eq!(AckMode::RejectRequeueFalse.name(), "reject_requeue_false");
    }
}
