//! An AMQP client over one blocking socket that does exactly what a test tells it, and can be as rude as a
//! test needs. This file has the socket, calls and closes; `handshake` logs in, `reading` makes events of
//! what arrives, `content` publishes and settles.

mod content;
mod handshake;
mod reading;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use leveret_codec::amqp::{AMQPClass, basic, channel, connection};
use leveret_codec::amqp_types::{AMQPValue, FieldTable};
use leveret_codec::{Splitter, put_method};

use crate::broker::Broker;
use crate::call::Call;
use crate::clock::{Deadline, PATIENCE};
use crate::stream::Stream;

pub use content::Outgoing;
pub use handshake::Login;
use reading::Partial;
pub use reading::{Event, Message};

/// One client.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    splitter: Splitter,
    /// Bytes that have arrived; what is before `read` is used up.
    input: Vec<u8>,
    read: usize,
    output: BytesMut,
    /// Events that somebody else waits for.
    inbox: VecDeque<Event>,
    /// Content that is not whole yet, by channel.
    partial: BTreeMap<u16, Partial>,
    frame_max: u32,
    patience: Duration,
    heartbeats: u64,
    server_properties: FieldTable,
}

/// Why and what the broker closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The channel, 0 for the connection.
    pub channel: u16,
    /// The reply code.
    pub code: u16,
    /// The reply text.
    pub text: String,
}

/// A table of arguments.
#[must_use]
pub fn arguments<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

/// A text as clients send it in tables.
#[must_use]
pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

impl Client {
    /// Connects, logs in as guest and opens channel 1.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    #[must_use]
    pub fn connect(broker: &Broker) -> Self {
        let mut client = Self::login(broker.amqp(), &Login::default());
        client.open(1);
        client
    }

    /// Connects and says nothing.
    ///
    /// # Panics
    /// When there is nobody.
    #[track_caller]
    #[must_use]
    pub fn mute(address: SocketAddr) -> Self {
        match Stream::plain(address) {
            Ok(stream) => Self::over(stream),
            Err(error) => panic!("cannot connect to {address}: {error}"),
        }
    }

    pub(crate) fn over(stream: Stream) -> Self {
        Self {
            stream,
            // The broker's frames are bounded by what was agreed; before that, by anything.
            splitter: Splitter::new(0),
            input: Vec::new(),
            read: 0,
            output: BytesMut::new(),
            inbox: VecDeque::new(),
            partial: BTreeMap::new(),
            frame_max: 0,
            patience: PATIENCE,
            heartbeats: 0,
            server_properties: FieldTable::default(),
        }
    }

    /// Waits that long at most from now on, wherever it waits: for an answer, or for the broker to read.
    ///
    /// # Panics
    /// When the time is zero.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        if let Err(error) = self.stream.socket().set_write_timeout(Some(patience)) {
            panic!("no limit of {patience:?}: {error}");
        }
    }

    /// What the broker said of itself.
    #[must_use]
    pub fn server_properties(&self) -> &FieldTable {
        &self.server_properties
    }

    /// Heartbeats that have arrived.
    #[must_use]
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// Bytes of the largest frame agreed on.
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Opens a channel.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn open(&mut self, channel: u16) {
        self.call(channel, channel::Open::default());
    }

    /// Opens channel 1 in confirm mode.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn confirms(&mut self, channel: u16) {
        self.call(channel, leveret_codec::amqp::confirm::Select::default());
    }

    /// Sends a method and waits for its answer. Everything else that arrives is kept for later.
    ///
    /// # Panics
    /// When something else is answered, or nothing.
    #[track_caller]
    pub fn call<C: Call>(&mut self, channel: u16, call: C) -> C::Answer {
        let method = call.method();
        let name = format!("{method:?}");
        self.send_method(channel, &method);
        match self.next_method(channel) {
            Ok(answer) => match C::answer(answer.clone()) {
                Some(answer) => answer,
                None => panic!("{name} was answered with {answer:?}"),
            },
            Err(closed) => panic!("{name} was refused: {closed:?}"),
        }
    }

    /// Sends a method that the broker refuses, and answers with why. The close is acknowledged.
    ///
    /// # Panics
    /// When it is not refused.
    #[track_caller]
    pub fn refused<C: Call>(&mut self, channel: u16, call: C) -> Closed {
        let method = call.method();
        self.send_method(channel, &method);
        match self.next_method(channel) {
            Ok(answer) => panic!("{method:?} was answered with {answer:?}"),
            Err(closed) => closed,
        }
    }

    /// Sends a method and waits for nothing.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn send<C: Call>(&mut self, channel: u16, call: C) {
        self.send_method(channel, &call.method());
    }

    /// As [`Client::send`], for methods without an answer.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn send_method(&mut self, channel: u16, method: &AMQPClass) {
        put_method(&mut self.output, channel, method);
        self.flush();
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send_bytes(bytes) {
            panic!("the broker takes no bytes: {error}");
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the socket takes no bytes, as when the broker has closed it.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write(bytes)
    }

    #[track_caller]
    fn flush(&mut self) {
        let output = self.output.split();
        self.send_bytes(&output);
    }

    /// The next method on the channel, or why the broker closed the channel or the connection. A method
    /// that answers no call is kept for later.
    #[track_caller]
    fn next_method(&mut self, channel: u16) -> Result<AMQPClass, Closed> {
        let deadline = Deadline::after(self.patience);
        let mut others = VecDeque::new();
        let result = loop {
            match self.next_event_by(deadline) {
                Some(Event::Method { channel: at, method }) if at == channel => break Ok(method),
                Some(Event::Closed(closed)) if closed.channel == channel || closed.channel == 0 => {
                    break Err(closed);
                }
                Some(Event::End) => panic!("the broker closed the socket instead of an answer"),
                Some(other) => others.push_back(other),
                None => panic!("no answer on channel {channel} within {:?}", self.patience),
            }
        };
        self.inbox.append(&mut others);
        result
    }

    /// Waits until the broker closes `channel` (0 is the connection) and compares. The close is acknowledged;
    /// what arrives before it is thrown away.
    ///
    /// # Panics
    /// When nothing is closed, or with another code or text.
    #[track_caller]
    pub fn expect_close(&mut self, channel: u16, code: u16, text: &str) {
        let closed = self.closed();
        let expected = Closed { channel, code, text: text.to_owned() };
        assert_eq!(closed, expected);
    }

    /// What the broker closes next. The close is acknowledged.
    ///
    /// # Panics
    /// When nothing is closed.
    #[track_caller]
    pub fn closed(&mut self) -> Closed {
        let deadline = Deadline::after(self.patience);
        loop {
            match self.next_event_by(deadline) {
                Some(Event::Closed(closed)) => return closed,
                Some(Event::End) => panic!("the broker closed the socket without a word"),
                Some(_) => {}
                None => panic!("the broker closed nothing within {:?}", self.patience),
            }
        }
    }

    /// Waits until the broker closes the socket without a method before.
    ///
    /// # Panics
    /// When it says something, or does not close within `limit`.
    #[track_caller]
    pub fn expect_silent_end(&mut self, limit: Duration) {
        match self.next_event_by(Deadline::after(limit)) {
            Some(Event::End) => {}
            Some(other) => panic!("the broker said {other:?} instead of closing the socket"),
            None => panic!("the broker did not close the socket within {limit:?}"),
        }
    }

    /// Waits until the broker closes the socket; what arrives before is thrown away.
    ///
    /// # Panics
    /// When it does not close within the client's patience.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let deadline = Deadline::after(self.patience);
        loop {
            match self.next_event_by(deadline) {
                Some(Event::End) => return,
                Some(_) => {}
                None => panic!("the broker did not close the socket within {:?}", self.patience),
            }
        }
    }

    /// Closes a channel and waits for the answer.
    ///
    /// # Panics
    /// When it is not answered.
    #[track_caller]
    pub fn close_channel(&mut self, channel: u16) {
        let goodbye = channel::Close { reply_code: 200, ..channel::Close::default() };
        self.call(channel, goodbye);
    }

    /// Closes the connection and waits for the answer.
    ///
    /// # Panics
    /// When it is not answered.
    #[track_caller]
    pub fn close(mut self) {
        let goodbye = connection::Close { reply_code: 200, ..connection::Close::default() };
        self.call(0, goodbye);
    }

    /// Starts a consumer that acks nothing by itself.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn consume(&mut self, channel: u16, queue: &str, tag: &str, no_ack: bool) {
        let consume = basic::Consume {
            queue: queue.into(),
            consumer_tag: tag.into(),
            no_ack,
            ..basic::Consume::default()
        };
        self.call(channel, consume);
    }

    /// Limits the unacked messages of the consumers that start on the channel from now on.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn prefetch(&mut self, channel: u16, count: u16) {
        self.call(channel, basic::Qos { prefetch_count: count, global: false });
    }
}
