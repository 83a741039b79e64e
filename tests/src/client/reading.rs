//! What arrives, as events: methods, whole messages, confirms, closes, the end.

use std::time::Duration;

use leveret_codec::amqp::{AMQPClass, basic, channel, connection};
use leveret_codec::amqp_types::FieldTable;
use leveret_codec::{
    FrameKind, Method, Properties, TableView, ValueView, decode_content_header, decode_method,
    put_method,
};

use super::{Client, Closed};
use crate::clock::Deadline;

/// Bytes read at once.
const READ_SIZE: usize = 64 * 1024;

/// Something that the broker did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A method that is none of the others.
    Method {
        /// Its channel.
        channel: u16,
        /// It.
        method: AMQPClass,
    },
    /// A message: delivered, or the answer of basic.get.
    Message(Message),
    /// A message that came back, with the reply text.
    Returned(Message, String),
    /// A confirm.
    Confirm {
        /// Its channel.
        channel: u16,
        /// The message.
        tag: u64,
        /// Whether all before it are meant too.
        multiple: bool,
        /// Whether the broker took it.
        ack: bool,
    },
    /// The broker closed a channel or the connection. It is acknowledged already.
    Closed(Closed),
    /// The broker closed the socket.
    End,
}

/// A message as it arrived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Its channel.
    pub channel: u16,
    /// The consumer, empty for basic.get.
    pub consumer_tag: String,
    /// The number to settle it with.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Messages left in the queue, for basic.get.
    pub message_count: u32,
    /// Property flags and values.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The properties, read in place.
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties::new(&self.properties)
    }

    /// The headers; empty where there are none.
    #[must_use]
    pub fn headers(&self) -> TableView<'_> {
        self.properties().headers().unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a number in eight bytes, as [`Outgoing::number`](super::Outgoing::number) makes them.
    ///
    /// # Panics
    /// When it is shorter.
    #[must_use]
    #[track_caller]
    pub fn number(&self) -> u64 {
        match self.body.first_chunk() {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => panic!("the body is no number: {:?}", self.body),
        }
    }

    /// The headers as an owned table.
    ///
    /// # Panics
    /// When they are damaged.
    #[must_use]
    #[track_caller]
    pub fn headers_table(&self) -> FieldTable {
        match leveret_codec::Table::try_from(self.headers()) {
            Ok(table) => FieldTable::from(&table),
            Err(error) => panic!("the headers are damaged: {error}"),
        }
    }

    /// A text among the headers.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<String> {
        match self.headers().get(name) {
            Some(ValueView::LongString(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }
}

/// A message whose header or body is still to come.
#[derive(Debug)]
pub(super) struct Partial {
    message: Message,
    /// Why it came back.
    returned: Option<String>,
    /// The body's size, once the header is there.
    size: Option<usize>,
}

impl Partial {
    fn new(message: Message, returned: Option<String>) -> Self {
        Self { message, returned, size: None }
    }

    fn is_whole(&self) -> bool {
        self.size.is_some_and(|size| self.message.body.len() >= size)
    }
}

impl Client {
    /// The next event, one that was kept first; `None` where there is none within `limit`.
    #[track_caller]
    pub fn next_event(&mut self, limit: Duration) -> Option<Event> {
        match self.inbox.pop_front() {
            Some(event) => Some(event),
            None => self.next_event_by(Deadline::after(limit)),
        }
    }

    /// The first event, kept or new, that is `wanted`. The others are kept.
    #[track_caller]
    pub(super) fn find_event(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<Event> {
        if let Some(at) = self.inbox.iter().position(&wanted) {
            return self.inbox.remove(at);
        }
        let deadline = Deadline::after(limit);
        loop {
            match self.next_event_by(deadline)? {
                event if wanted(&event) => return Some(event),
                Event::End => panic!("the broker closed the socket"),
                Event::Closed(closed) => panic!("the broker closed: {closed:?}"),
                event => self.inbox.push_back(event),
            }
        }
    }

    /// The next event from the socket.
    #[track_caller]
    pub(super) fn next_event_by(&mut self, deadline: Deadline) -> Option<Event> {
        loop {
            if let Some(event) = self.take_frames() {
                return Some(event);
            }
            match self.fill(deadline) {
                None => return None,
                Some(false) => return Some(Event::End),
                Some(true) => {}
            }
        }
    }

    /// Events out of the bytes that are there.
    #[track_caller]
    fn take_frames(&mut self) -> Option<Event> {
        loop {
            let input = std::mem::take(&mut self.input);
            let rest = input.get(self.read..).unwrap_or_default();
            let frame = match self.splitter.split(rest) {
                Ok(frame) => frame,
                Err(error) => panic!("the broker sent a frame that is none: {error}: {rest:?}"),
            };
            let used = frame.map_or(0, |(_, used)| used);
            let event =
                frame.and_then(|(frame, _)| self.frame(frame.kind, frame.channel, frame.payload));
            self.input = input;
            self.read += used;
            if event.is_some() || used == 0 {
                return event;
            }
        }
    }

    /// Reads once: `None` when nothing came, `Some(false)` at the end.
    fn fill(&mut self, deadline: Deadline) -> Option<bool> {
        self.input.drain(..self.read);
        self.read = 0;
        let have = self.input.len();
        self.input.resize(have + READ_SIZE, 0);
        let room = self.input.get_mut(have..).unwrap_or_default();
        let read = self.stream.read(room, deadline.left());
        // A reset is an end as well.
        let n = read.unwrap_or(Some(0));
        self.input.truncate(have + n.unwrap_or(0));
        n.map(|n| n > 0)
    }

    #[track_caller]
    fn frame(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) -> Option<Event> {
        match kind {
            FrameKind::HEARTBEAT => {
                self.heartbeats += 1;
                None
            }
            FrameKind::METHOD => match decode_method(payload) {
                Ok(method) => self.method(channel, method),
                Err(error) => panic!("the broker sent a method that is none: {error}: {payload:?}"),
            },
            _ => self.content(kind, channel, payload),
        }
    }

    fn method(&mut self, channel: u16, method: Method<'_>) -> Option<Event> {
        let confirm = |tag, multiple, ack| Some(Event::Confirm { channel, tag, multiple, ack });
        let (message, returned) = match method {
            Method::Ack { delivery_tag, multiple } => return confirm(delivery_tag, multiple, true),
            Method::Nack { delivery_tag, multiple, .. } => {
                return confirm(delivery_tag, multiple, false);
            }
            Method::Other(AMQPClass::Basic(method)) => match content_method(channel, method) {
                Ok(content) => content,
                Err(method) => {
                    return Some(Event::Method { channel, method: AMQPClass::Basic(method) });
                }
            },
            Method::Other(method) => return Some(self.closing(channel, method)),
            other => panic!("the broker sent what only clients send: {other:?}"),
        };
        self.partial.insert(channel, Partial::new(message, returned));
        None
    }

    /// Acknowledges closes.
    fn closing(&mut self, channel: u16, method: AMQPClass) -> Event {
        let (code, text, answer) = match method {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
                let answer = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                (close.reply_code, close.reply_text, AMQPClass::Connection(answer))
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                let answer = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                (close.reply_code, close.reply_text, AMQPClass::Channel(answer))
            }
            method => return Event::Method { channel, method },
        };
        put_method(&mut self.output, channel, &answer);
        let output = self.output.split();
        // The broker may have closed the socket already.
        let _ = self.stream.write(&output);
        Event::Closed(Closed { channel, code, text: text.to_string() })
    }

    #[track_caller]
    fn content(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) -> Option<Event> {
        let Some(partial) = self.partial.get_mut(&channel) else {
            panic!("the broker sent content without a method on channel {channel}");
        };
        if kind == FrameKind::HEADER {
            match decode_content_header(payload) {
                Ok(header) => {
                    partial.size = Some(header.body_size as usize);
                    partial.message.properties = header.properties.to_vec();
                }
                Err(error) => panic!("the broker sent a header that is none: {error}"),
            }
        } else {
            partial.message.body.extend_from_slice(payload);
        }
        if !partial.is_whole() {
            return None;
        }
        self.partial.remove(&channel).map(|whole| match whole.returned {
            None => Event::Message(whole.message),
            Some(text) => Event::Returned(whole.message, text),
        })
    }
}

/// The message that a method announces and why it came back, or the method itself.
fn content_method(
    channel: u16,
    method: basic::AMQPMethod,
) -> Result<(Message, Option<String>), basic::AMQPMethod> {
    let base = Message { channel, ..Message::default() };
    Ok(match method {
        basic::AMQPMethod::Deliver(deliver) => {
            let message = Message {
                consumer_tag: deliver.consumer_tag.into(),
                delivery_tag: deliver.delivery_tag,
                redelivered: deliver.redelivered,
                exchange: deliver.exchange.into(),
                routing_key: deliver.routing_key.into(),
                ..base
            };
            (message, None)
        }
        basic::AMQPMethod::GetOk(got) => {
            let message = Message {
                delivery_tag: got.delivery_tag,
                redelivered: got.redelivered,
                exchange: got.exchange.into(),
                routing_key: got.routing_key.into(),
                message_count: got.message_count,
                ..base
            };
            (message, None)
        }
        basic::AMQPMethod::Return(back) => {
            let message = Message {
                exchange: back.exchange.into(),
                routing_key: back.routing_key.into(),
                ..base
            };
            (message, Some(back.reply_text.to_string()))
        }
        other => return Err(other),
    })
}
