//! Messages out and in: publishing, confirms, deliveries, settling.

use std::time::Duration;

use bytes::BytesMut;
use leveret_codec::amqp::basic;
use leveret_codec::amqp::{AMQPClass, queue};
use leveret_codec::amqp_types::FieldTable;
use leveret_codec::{
    PropertiesWriter, put_ack, put_body, put_content_header, put_method, put_nack, put_publish,
};

use super::{Client, Event, Message};
use crate::clock::Deadline;

/// Bytes that are collected before they are written, where many messages are published at once.
const WRITE_SIZE: usize = 64 * 1024;

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    address: Vec<u8>,
    mandatory: bool,
    properties: Vec<u8>,
    body: Vec<u8>,
}

impl Outgoing {
    /// A message without properties.
    #[must_use]
    pub fn new(exchange: &str, routing_key: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut address = Vec::with_capacity(exchange.len() + routing_key.len() + 2);
        for name in [exchange, routing_key] {
            let length = u8::try_from(name.len());
            address.push(length.unwrap_or_else(|_| panic!("longer than 255 bytes: {name}")));
            address.extend_from_slice(name.as_bytes());
        }
        Self { address, mandatory: false, properties: vec![0, 0], body: body.into() }
    }

    /// A message to a queue whose body is a number in eight bytes.
    #[must_use]
    pub fn number(queue: &str, number: u64) -> Self {
        Self::new("", queue, number.to_be_bytes())
    }

    /// The message with properties.
    ///
    /// # Panics
    /// When one of them does not fit into a short string.
    #[must_use]
    pub fn with(mut self, properties: &PropertiesWriter<'_>) -> Self {
        self.properties =
            properties.to_bytes().unwrap_or_else(|error| panic!("{properties:?}: {error}"));
        self
    }

    /// The message, to be returned when no queue matches.
    #[must_use]
    pub fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    /// Another body in the same message.
    pub fn set_body(&mut self, body: &[u8]) {
        self.body.clear();
        self.body.extend_from_slice(body);
    }

    /// The frames of it.
    pub fn put(&self, out: &mut BytesMut, channel: u16, frame_max: u32) {
        put_publish(out, channel, &self.address, self.mandatory);
        put_content_header(out, channel, self.body.len() as u64, &self.properties);
        put_body(out, channel, frame_max, &self.body);
    }
}

impl Client {
    /// Publishes one message.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn publish(&mut self, channel: u16, message: &Outgoing) {
        self.publish_later(channel, message);
        self.flush();
    }

    /// Publishes one message with the next [`Client::flush_publishes`], or when enough have come together.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn publish_later(&mut self, channel: u16, message: &Outgoing) {
        message.put(&mut self.output, channel, self.frame_max);
        if self.output.len() >= WRITE_SIZE {
            self.flush();
        }
    }

    /// Writes what [`Client::publish_later`] has collected.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn flush_publishes(&mut self) {
        self.flush();
    }

    /// Publishes on a channel in confirm mode and waits for the confirm, which must be the next one.
    ///
    /// # Panics
    /// When the broker does not take it.
    #[track_caller]
    pub fn publish_confirmed(&mut self, channel: u16, message: &Outgoing) {
        self.publish(channel, message);
        assert!(self.next_confirm(channel).2, "the broker does not take the message");
    }

    /// The next confirm of the channel: tag, multiple, and whether it is an ack.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn next_confirm(&mut self, channel: u16) -> (u64, bool, bool) {
        let wanted =
            |event: &Event| matches!(event, Event::Confirm { channel: at, .. } if *at == channel);
        match self.find_event(self.patience, wanted) {
            Some(Event::Confirm { tag, multiple, ack, .. }) => (tag, multiple, ack),
            _ => panic!("no confirm on channel {channel} within {:?}", self.patience),
        }
    }

    /// Waits until `count` messages, counted from `first`, are confirmed, each once and positively.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn all_confirmed(&mut self, channel: u16, first: u64, count: u64) {
        let mut open: std::collections::BTreeSet<u64> = (first..first + count).collect();
        while !open.is_empty() {
            let (tag, multiple, ack) = self.next_confirm(channel);
            assert!(ack, "message {tag} was refused");
            assert!(open.remove(&tag), "confirm {tag} is not outstanding");
            if multiple {
                open = open.split_off(&tag);
            }
        }
    }

    /// The next message on the channel.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn next_message(&mut self, channel: u16) -> Message {
        let patience = self.patience;
        match self.message_within(channel, patience) {
            Some(message) => message,
            None => panic!("no message on channel {channel} within {patience:?}"),
        }
    }

    /// The next message on the channel; `None` where none comes within `limit`.
    #[track_caller]
    pub fn message_within(&mut self, channel: u16, limit: Duration) -> Option<Message> {
        let wanted = |event: &Event| matches!(event, Event::Message(m) if m.channel == channel);
        match self.find_event(limit, wanted) {
            Some(Event::Message(message)) => Some(message),
            _ => None,
        }
    }

    /// The next message that came back on the channel, and the reply text.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn next_returned(&mut self, channel: u16) -> (Message, String) {
        let wanted = |event: &Event| matches!(event, Event::Returned(m, _) if m.channel == channel);
        match self.find_event(self.patience, wanted) {
            Some(Event::Returned(message, text)) => (message, text),
            _ => panic!("nothing came back on channel {channel} within {:?}", self.patience),
        }
    }

    /// The next method on the channel that answers no call, such as basic.cancel.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn next_notice(&mut self, channel: u16) -> AMQPClass {
        let wanted =
            |event: &Event| matches!(event, Event::Method { channel: at, .. } if *at == channel);
        match self.find_event(self.patience, wanted) {
            Some(Event::Method { method, .. }) => method,
            _ => panic!("no method on channel {channel} within {:?}", self.patience),
        }
    }

    /// basic.get.
    ///
    /// # Panics
    /// When it is not answered.
    #[track_caller]
    pub fn get(&mut self, channel: u16, queue: &str, no_ack: bool) -> Option<Message> {
        let get = basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack });
        self.send_method(channel, &AMQPClass::Basic(get));
        let empty = |event: &Event| {
            let Event::Method { channel: at, method: AMQPClass::Basic(method) } = event else {
                return false;
            };
            *at == channel && matches!(method, basic::AMQPMethod::GetEmpty(_))
        };
        // Deliveries of consumers carry a tag; the answer of a get does not.
        let got = |event: &Event| matches!(event, Event::Message(m) if m.channel == channel && m.consumer_tag.is_empty());
        match self.find_event(self.patience, |event| empty(event) || got(event)) {
            Some(Event::Message(message)) => Some(message),
            Some(_) => None,
            None => panic!("basic.get was not answered within {:?}", self.patience),
        }
    }

    /// Messages ready in a queue, and its consumers.
    ///
    /// # Panics
    /// When there is no such queue.
    #[track_caller]
    pub fn counts(&mut self, channel: u16, queue: &str) -> (u32, u32) {
        let passive = queue::Declare { queue: queue.into(), passive: true, ..Default::default() };
        let counts = self.call(channel, passive);
        (counts.message_count, counts.consumer_count)
    }

    /// Declares a durable queue; what it holds stays.
    ///
    /// # Panics
    /// When the broker refuses it.
    #[track_caller]
    pub fn declare_durable(&mut self, channel: u16, queue: &str, arguments: FieldTable) {
        let queue = queue.into();
        let declare = queue::Declare { queue, durable: true, arguments, ..Default::default() };
        self.call(channel, declare);
    }

    /// Acks a delivery, or all up to it.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn ack(&mut self, channel: u16, tag: u64, multiple: bool) {
        put_ack(&mut self.output, channel, tag, multiple);
        self.flush();
    }

    /// Nacks a delivery, or all up to it.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn nack(&mut self, channel: u16, tag: u64, multiple: bool, requeue: bool) {
        put_nack(&mut self.output, channel, tag, multiple, requeue);
        self.flush();
    }

    /// Rejects a delivery.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn reject(&mut self, channel: u16, tag: u64, requeue: bool) {
        let reject = basic::AMQPMethod::Reject(basic::Reject { delivery_tag: tag, requeue });
        put_method(&mut self.output, channel, &AMQPClass::Basic(reject));
        self.flush();
    }

    /// Takes `count` messages of a consumer without acks and throws them away; answers with their bytes.
    ///
    /// # Panics
    /// When they do not come within `limit`.
    #[track_caller]
    pub fn drain(&mut self, channel: u16, count: u64, limit: Duration) -> u64 {
        let deadline = Deadline::after(limit);
        let mut bytes = 0;
        for n in 0..count {
            match self.message_within(channel, deadline.left()) {
                Some(message) => bytes += message.body.len() as u64,
                None => panic!("{n} of {count} messages came within {limit:?}"),
            }
        }
        bytes
    }

    /// A durable queue, declared and empty; deleted with the broker.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn declare(&mut self, channel: u16, queue: &str) {
        self.declare_with(channel, queue, FieldTable::default());
    }

    /// As [`Client::declare`], with arguments.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn declare_with(&mut self, channel: u16, queue: &str, arguments: FieldTable) {
        self.declare_durable(channel, queue, arguments);
        self.call(channel, queue::Purge { queue: queue.into(), nowait: false });
    }

    /// An exclusive queue with a name from the broker.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn declare_own(&mut self, channel: u16) -> String {
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        self.call(channel, declare).queue.into()
    }
}
