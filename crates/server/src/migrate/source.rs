//! The old broker's end of a migration: gets the messages of one queue, many at once, and acknowledges them when told.

use crate::perf::PerfError;
use crate::perf::client::Client;
use crate::perf::uri::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_codec::amqp::{AMQPClass, basic};
use leveret_codec::{FrameKind, Method, decode_content_header, decode_method, short_string};
use serde_json::{Value, json};

/// Bytes read at once; a frame of the usual size fits several times.
const BUFFER: usize = 1024 * 1024;

/// The channel used.
const CHANNEL: u16 = 1;

/// Gets that are asked for before their answers are read.
const PIPELINE: usize = 50;

/// A message of the old broker.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) tag: u64,
    exchange: String,
    routing_key: String,
    properties: Vec<u8>,
    body: Vec<u8>,
}

impl Got {
    /// As the API of leveret takes it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "exchange": self.exchange,
            "routing_key": self.routing_key,
            "properties": STANDARD.encode(&self.properties),
            "payload": STANDARD.encode(&self.body),
        })
    }
}

/// A queue of the old broker.
pub(super) struct Source {
    client: Client,
    queue: String,
}

impl Source {
    pub(super) fn connect(uri: &Uri, vhost: &str, queue: &str) -> Result<Self, PerfError> {
        let uri = uri.in_vhost(vhost);
        // No heartbeats: nobody would send them while messages are put.
        let mut client = Client::connect(&uri, "leveret migrate", 0, BUFFER)?;
        client.open_channel(CHANNEL)?;
        Ok(Self { client, queue: queue.to_owned() })
    }

    /// Up to `count` messages; none when the queue is empty. Ends early when there are many bytes.
    pub(super) fn get(&mut self, count: usize, bytes_max: usize) -> Result<Vec<Got>, PerfError> {
        let mut all = Vec::new();
        let mut bytes = 0;
        while all.len() < count && bytes < bytes_max {
            let before = all.len();
            self.get_some(PIPELINE.min(count - before), &mut all)?;
            if all.len() < before + PIPELINE.min(count - before) {
                break;
            }
            bytes = all.iter().map(|got: &Got| got.body.len()).sum();
        }
        Ok(all)
    }

    fn get_some(&mut self, count: usize, all: &mut Vec<Got>) -> Result<(), PerfError> {
        let get = basic::Get { queue: short_string(&self.queue), no_ack: false };
        let get = AMQPClass::Basic(basic::AMQPMethod::Get(get));
        for _ in 0..count {
            self.client.queue_method(CHANNEL, &get);
        }
        self.client.flush()?;
        let mut answered = 0;
        let mut open: Option<(Got, Option<u64>)> = None;
        self.client.until("basic.get", |frame| {
            match frame.kind {
                FrameKind::METHOD => match decode_method(frame.payload)? {
                    Method::Other(AMQPClass::Basic(basic::AMQPMethod::GetOk(ok))) => {
                        let got = Got {
                            tag: ok.delivery_tag,
                            exchange: ok.exchange.to_string(),
                            routing_key: ok.routing_key.to_string(),
                            ..Got::default()
                        };
                        open = Some((got, None));
                    }
                    Method::Other(AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))) => {
                        answered += 1
                    }
                    _ => {}
                },
                FrameKind::HEADER => {
                    let header = decode_content_header(frame.payload)?;
                    if let Some((got, left)) = &mut open {
                        got.properties = header.properties.to_vec();
                        *left = Some(header.body_size);
                    }
                }
                FrameKind::BODY => {
                    if let Some((got, Some(left))) = &mut open {
                        got.body.extend_from_slice(frame.payload);
                        *left = left.saturating_sub(frame.payload.len() as u64);
                    }
                }
                _ => {}
            }
            if matches!(open, Some((_, Some(0))))
                && let Some((got, _)) = open.take()
            {
                all.push(got);
                answered += 1;
            }
            Ok((answered == count).then_some(()))
        })
    }

    /// Acknowledges everything up to a delivery.
    pub(super) fn acknowledge(&mut self, tag: u64) -> Result<(), PerfError> {
        let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple: true });
        self.client.queue_method(CHANNEL, &AMQPClass::Basic(ack));
        self.client.flush()
    }

    /// Ends the connection, once everything that was acknowledged is.
    pub(super) fn close(self) -> Result<(), PerfError> {
        self.client.close()
    }
}
