//! The client's end of a connection inside the process: hands bytes to its session and takes frames
//! out of what the session says. No socket and no task; it lives and ends with the request it serves.

use super::CHANNEL;
use crate::clock::Clock;
use bytes::BytesMut;
use leveret_codec::amqp::{AMQPClass, channel, confirm, connection};
use leveret_codec::amqp_types::FieldTable;
use leveret_codec::{
    DecodeError, Frame, FrameKind, Method, REFUSAL, Splitter, decode_content_header, decode_method,
    put_method,
};
use leveret_engine::QueueId;
use leveret_engine::auth::User;
use leveret_engine::limits::NAME_BYTES_MAX;
use leveret_engine::view::{HandRefused, PutMessage};
use leveret_node::{Node, Session};
use leveret_protocol::Put;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{self, Poll};

/// Slices taken at once from what the session says.
const SLICES: usize = 64;

/// What the broker says.
pub(super) enum Said {
    /// A method other than those below.
    Method(AMQPClass),
    /// The head of a message.
    Header {
        /// Bytes of the payload that follows.
        body_bytes: u64,
        /// Property flags and values.
        properties: Vec<u8>,
    },
    /// A piece of a payload.
    Body(Vec<u8>),
    /// A publish was confirmed.
    Confirmed(Settled),
    /// A publish was refused.
    Refused(Settled),
}

/// Which publishes the broker speaks of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    tag: u64,
    /// Whether those before it are meant as well.
    multiple: bool,
}

impl Settled {
    /// Whether it speaks of the publish with this number.
    pub(super) fn is_of(self, tag: u64) -> bool {
        tag == self.tag || (self.multiple && tag < self.tag)
    }
}

/// An open connection with one channel.
pub(super) struct Client {
    session: Session,
    clock: Arc<Clock>,
    /// Bytes for the broker that it has not taken yet.
    to_broker: BytesMut,
    /// Bytes of the broker that make no whole frame yet.
    from_broker: BytesMut,
    splitter: Splitter,
    said: VecDeque<Said>,
}

impl Client {
    /// Logs the user in and opens the channel.
    pub(super) async fn open(
        node: &Arc<Node>,
        clock: &Arc<Clock>,
        user: &Arc<User>,
        vhost: &str,
    ) -> Result<Self, HandRefused> {
        let mut client = Self {
            session: node.connect_inside(user, clock.now()),
            clock: Arc::clone(clock),
            to_broker: BytesMut::from(&REFUSAL[..]),
            from_broker: BytesMut::new(),
            splitter: Splitter::new(0),
            said: VecDeque::new(),
        };
        client.method().await?;
        client.send(|out, _| put_method(out, 0, &start_ok()));
        let AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) = client.method().await?
        else {
            return Err(refused(530, "not_allowed"));
        };
        client.splitter = Splitter::new(tune.frame_max);
        let tune_ok = connection::AMQPMethod::TuneOk(connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat: 0,
        });
        let open = connection::AMQPMethod::Open(connection::Open { virtual_host: vhost.into() });
        client.send(|out, _| {
            put_method(out, 0, &AMQPClass::Connection(tune_ok));
            put_method(out, 0, &AMQPClass::Connection(open));
        });
        client.method().await?;
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        client.send(|out, _| put_method(out, CHANNEL, &open));
        client.method().await?;
        Ok(client)
    }

    /// Appends frames for the broker, which is told the largest frame it takes.
    pub(super) fn send(&mut self, put: impl FnOnce(&mut BytesMut, u32)) {
        let frame_max = self.splitter.frame_max();
        put(&mut self.to_broker, frame_max);
    }

    /// The next method that the broker says.
    pub(super) async fn method(&mut self) -> Result<AMQPClass, HandRefused> {
        loop {
            if let Said::Method(method) = self.said().await? {
                return Ok(method);
            }
        }
    }

    /// What the broker says next. That it closes is an error.
    pub(super) async fn said(&mut self) -> Result<Said, HandRefused> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return closed(said);
            }
            if !self.turn().await {
                return Err(refused(320, "CONNECTION_FORCED"));
            }
        }
    }

    /// Turns confirms on: publishes count from 1 then.
    pub(super) async fn select_confirms(&mut self) -> Result<(), HandRefused> {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.send(|out, _| put_method(out, CHANNEL, &AMQPClass::Confirm(select)));
        self.method().await.map(drop)
    }

    /// Puts a message into a queue, past every exchange. Counts as a publish.
    pub(super) fn put(&mut self, queue: QueueId, message: &PutMessage) {
        let mut address =
            Vec::with_capacity(message.exchange.len() + message.routing_key.len() + 2);
        for text in [&message.exchange, &message.routing_key] {
            let short = text.get(..NAME_BYTES_MAX).unwrap_or(text);
            address.push(short.len() as u8);
            address.extend_from_slice(short);
        }
        let (properties, body) = (&*message.properties, &*message.body);
        let put = Put { queue, address: &address, properties, body };
        self.session.put(CHANNEL, &put, self.clock.now());
    }

    /// Says goodbye, and waits until everything said before has been done.
    pub(super) async fn close(mut self) {
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: 200,
            reply_text: "Goodbye".into(),
            class_id: 0,
            method_id: 0,
        });
        self.send(|out, _| put_method(out, 0, &AMQPClass::Connection(close)));
        // Whatever it answers, it has done what was said before.
        let _answer = self.method().await;
    }

    /// Lets the session work until it says something; `false` when it will say nothing more.
    async fn turn(&mut self) -> bool {
        let deadline = self.session.next_deadline().map(|at| self.clock.instant(at));
        let wait = poll_fn(|cx| self.poll(cx));
        match deadline {
            None => wait.await,
            Some(at) => tokio::time::timeout_at(at, wait).await.unwrap_or(true),
        }
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<bool> {
        loop {
            let now = self.clock.now();
            let mut progress = false;
            if !self.to_broker.is_empty() && self.session.wants_read(now) {
                let used = self.session.receive(&self.to_broker, now);
                let _taken = self.to_broker.split_to(used);
                progress |= used > 0;
            }
            self.session.run(now, cx.waker());
            progress |= self.take_output();
            if self.frames().is_err() {
                return Poll::Ready(false);
            }
            if !self.said.is_empty() {
                return Poll::Ready(true);
            }
            if self.session.is_closed() {
                return Poll::Ready(false);
            }
            if !progress && !self.session.has_work() {
                return Poll::Pending;
            }
        }
    }

    fn take_output(&mut self) -> bool {
        let mut took = false;
        loop {
            let out = self.session.output();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = out.chunks(&mut slices);
            let mut n = 0;
            for slice in slices.iter().take(count) {
                self.from_broker.extend_from_slice(slice);
                n += slice.len();
            }
            if n == 0 {
                return took;
            }
            out.advance(n);
            took = true;
        }
    }

    fn frames(&mut self) -> Result<(), DecodeError> {
        loop {
            let Some((frame, used)) = self.splitter.split(&self.from_broker)? else {
                return Ok(());
            };
            let said = understand(&frame)?;
            let _taken = self.from_broker.split_to(used);
            self.said.extend(said);
        }
    }
}

impl Drop for Client {
    /// Also when the person no longer waits: what was not settled goes back to its queue.
    fn drop(&mut self) {
        self.session.disconnect(self.clock.now());
    }
}

fn understand(frame: &Frame<'_>) -> Result<Option<Said>, DecodeError> {
    Ok(match frame.kind {
        FrameKind::METHOD => Some(match decode_method(frame.payload)? {
            Method::Ack { delivery_tag: tag, multiple } => {
                Said::Confirmed(Settled { tag, multiple })
            }
            Method::Nack { delivery_tag: tag, multiple, .. } => {
                Said::Refused(Settled { tag, multiple })
            }
            Method::Other(method) => Said::Method(method),
            Method::Publish(_) | Method::Reject { .. } => return Ok(None),
        }),
        FrameKind::HEADER => {
            let header = decode_content_header(frame.payload)?;
            let properties = header.properties.to_vec();
            Some(Said::Header { body_bytes: header.body_size, properties })
        }
        FrameKind::BODY => Some(Said::Body(frame.payload.to_vec())),
        _ => None,
    })
}

fn closed(said: Said) -> Result<Said, HandRefused> {
    match said {
        Said::Method(AMQPClass::Connection(connection::AMQPMethod::Close(close))) => {
            Err(refused(close.reply_code, close.reply_text.as_str()))
        }
        Said::Method(AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
            Err(refused(close.reply_code, close.reply_text.as_str()))
        }
        said => Ok(said),
    }
}

fn refused(code: u16, text: &str) -> HandRefused {
    HandRefused { code, text: text.to_owned() }
}

fn start_ok() -> AMQPClass {
    // rabbitmq: authentication. Told by a frame, not by silence, that the user may not log in.
    let mut capabilities = FieldTable::default();
    let yes = leveret_codec::amqp_types::AMQPValue::Boolean(true);
    capabilities.insert("authentication_failure_close".into(), yes.clone());
    capabilities.insert("basic.nack".into(), yes.clone());
    capabilities.insert("publisher_confirms".into(), yes);
    let mut client_properties = FieldTable::default();
    let capabilities = leveret_codec::amqp_types::AMQPValue::FieldTable(capabilities);
    client_properties.insert("capabilities".into(), capabilities);
    let start_ok = connection::StartOk {
        client_properties,
        mechanism: "EXTERNAL".into(),
        response: "".into(),
        locale: "en_US".into(),
    };
    AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok))
}
