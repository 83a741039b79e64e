//! Messages that the broker publishes by itself for whoever watches it: events. Here is what they say; who wants them,
//! and when, is the node's to know.

pub mod changes;
pub mod clients;

use crate::block::Block;
use crate::record::{Body, NewRecord};
use crate::time::Timestamp;
use leveret_codec::{PropertiesWriter, TableWriter};

/// The exchange that events go to.
// rabbitmq: event exchange plugin
pub const EVENT_EXCHANGE: &str = "amq.rabbitmq.event";

/// The vhost of the event exchange.
pub const EVENT_VHOST: &str = "/";

/// A message to be published.
#[derive(Debug)]
pub struct Notice {
    /// To which exchange.
    pub exchange: &'static str,
    /// With which key.
    pub key: Vec<u8>,
    /// Its one record.
    pub block: Block,
}

impl Notice {
    /// `None` if the key is too long for one.
    fn new(
        exchange: &'static str,
        key: Vec<u8>,
        properties: &PropertiesWriter<'_>,
        body: &[u8],
    ) -> Option<Self> {
        let mut address = vec![u8::try_from(exchange.len()).ok()?];
        address.extend_from_slice(exchange.as_bytes());
        address.push(u8::try_from(key.len()).ok()?);
        address.extend_from_slice(&key);
        let mut block = Block::new();
        block.push(&NewRecord {
            address: &address,
            properties: &properties.to_bytes().ok()?,
            persistent: properties.delivery_mode == Some(2),
            priority: 0,
            expires_at: None,
            body: Body::Inline(body),
        });
        Some(Self { exchange, key, block })
    }
}

/// Something that happened to the broker.
#[derive(Debug)]
pub struct Event {
    /// The routing key, such as `queue.created`.
    key: &'static str,
    /// The bytes of its headers.
    headers: Vec<u8>,
}

impl Event {
    fn new(key: &'static str, fill: impl FnOnce(&mut TableWriter<'_>)) -> Self {
        let mut headers = Vec::new();
        fill(&mut TableWriter::new(&mut headers));
        Self { key, headers }
    }

    /// The message that tells of it.
    #[must_use]
    pub fn notice(mut self, now: Timestamp) -> Option<Notice> {
        let ms = i64::try_from(now.0).unwrap_or(i64::MAX);
        TableWriter::new(&mut self.headers).long("timestamp_in_ms", ms);
        let properties = PropertiesWriter {
            headers: Some(&self.headers),
            delivery_mode: Some(2),
            timestamp: Some(now.seconds()),
            ..PropertiesWriter::default()
        };
        Notice::new(EVENT_EXCHANGE, self.key.as_bytes().to_vec(), &properties, &[])
    }
}

#[cfg(test)]
mod tests;
