//! One connection of the relay: the handshake, the answers to every method a client may send, and
//! the loop that hands messages to `publish`.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use leveret_codec::amqp::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use leveret_codec::amqp_types::{AMQPValue, FieldTable};
use leveret_codec::{
    Frame, FrameKind, Method, ProtocolHeader, REFUSAL, ReplyCode, Splitter, put_ack, put_method,
    short_string,
};

use super::State;
use super::publish::Publisher;
use super::routes::Consumer;
use super::sink::Sink;
use crate::perf::client::SOCKET_TICK;
use crate::perf::error::PerfError;
use crate::perf::wire::{self, ReadBuffer, timed_out};
use crate::socket;

/// What RabbitMQ offers.
pub(super) const FRAME_MAX: u32 = 131_072;
const CHANNEL_MAX: u16 = 2_047;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// The reading side of a connection.
pub(super) struct Connection {
    state: Arc<State>,
    stream: TcpStream,
    sink: Arc<Sink>,
    splitter: Splitter,
    channels: HashMap<u16, Channel>,
    publisher: Publisher,
    closed: bool,
}

#[derive(Default)]
struct Channel {
    /// Publishes so far, in confirm mode.
    published: Option<u64>,
    confirmed: u64,
    /// Shared by the consumers of the channel.
    delivered: Arc<AtomicU64>,
}

impl Connection {
    /// Serves until the client closes, or the relay stops.
    pub(super) fn serve(stream: TcpStream, state: &Arc<State>) -> Result<(), PerfError> {
        socket::prepare(&stream)?;
        stream.set_read_timeout(Some(SOCKET_TICK))?;
        stream.set_write_timeout(Some(SOCKET_TICK))?;
        let sink = Arc::new(Sink::new(stream.try_clone()?, Arc::clone(state)));
        let mut connection = Self {
            state: Arc::clone(state),
            stream,
            sink,
            splitter: Splitter::new(FRAME_MAX),
            channels: HashMap::new(),
            publisher: Publisher::new(Arc::clone(state)),
            closed: false,
        };
        let result = connection.run();
        connection.sink.leave();
        let gone = &connection.sink;
        state.routes.remove_consumers(|consumer| Arc::ptr_eq(&consumer.sink, gone));
        result
    }

    fn run(&mut self) -> Result<(), PerfError> {
        let mut input = ReadBuffer::new(READ_BYTES);
        while self.fill(&mut input)? && !self.greet(&mut input) {}
        while !self.closed && self.fill(&mut input)? {
            let taken = self.frames(input.unread())?;
            input.consume(taken);
            self.publisher.flush();
            self.confirm();
        }
        Ok(())
    }

    /// One read that brings something; `false` at the end of the connection.
    fn fill(&mut self, input: &mut ReadBuffer) -> Result<bool, PerfError> {
        while !self.sink.is_gone() && !self.state.stopping() {
            match input.fill(&mut self.stream) {
                Ok(n) => return Ok(n > 0),
                Err(error) if timed_out(&error) => {}
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The protocol header; `true` when it was all there and the handshake goes on, or is over.
    fn greet(&mut self, input: &mut ReadBuffer) -> bool {
        match ProtocolHeader::recognise(input.unread()) {
            None => return false,
            Some(ProtocolHeader::Supported) => {
                input.consume(ProtocolHeader::LEN);
                self.answer(0, &start());
            }
            Some(ProtocolHeader::Unsupported) => {
                self.sink.send(|out| out.extend_from_slice(&REFUSAL));
                self.closed = true;
            }
        }
        true
    }

    /// Everything whole in `bytes`; how many bytes that was.
    fn frames(&mut self, bytes: &[u8]) -> Result<usize, PerfError> {
        let mut at = 0;
        while at < bytes.len() && !self.closed {
            let rest = &bytes[at..];
            if let Some((channel, n, taken)) = self.publisher.run(rest, self.splitter) {
                self.count(channel, n as u64);
                at += taken;
                continue;
            }
            if self.publisher.waits_for(rest) {
                break;
            }
            let Some((frame, len)) = self.splitter.split(rest)? else { break };
            at += len;
            match self.publisher.frame(&frame)? {
                Some(channel) => self.count(channel, 1),
                None if frame.kind == FrameKind::METHOD => self.method(&frame)?,
                None => {}
            }
        }
        Ok(at)
    }

    fn count(&mut self, channel: u16, n: u64) {
        if let Some(Channel { published: Some(published), .. }) = self.channels.get_mut(&channel) {
            *published += n;
        }
    }

    /// One multiple confirm for everything that was read.
    fn confirm(&mut self) {
        for (&number, channel) in &mut self.channels {
            if let Some(published) = channel.published
                && published > channel.confirmed
            {
                let multiple = published - channel.confirmed > 1;
                channel.confirmed = published;
                self.sink.send(|out| put_ack(out, number, published, multiple));
            }
        }
    }

    fn answer(&self, channel: u16, method: &AMQPClass) {
        self.sink.send(|out| put_method(out, channel, method));
    }

    /// Answers unless the client asked for none.
    fn answer_unless(&self, nowait: bool, channel: u16, method: &AMQPClass) {
        if !nowait {
            self.answer(channel, method);
        }
    }

    fn method(&mut self, frame: &Frame<'_>) -> Result<(), PerfError> {
        let number = frame.channel;
        // Acks and the publish whose frames `publish` collects need no answer.
        let Method::Other(class) = wire::method(frame)? else { return Ok(()) };
        match class {
            AMQPClass::Connection(method) => self.connection_method(&method),
            AMQPClass::Channel(method) => self.channel_method(number, &method),
            AMQPClass::Exchange(method) => self.exchange_method(number, &method),
            AMQPClass::Queue(method) => self.queue_method(number, &method),
            AMQPClass::Basic(method) => self.basic_method(number, &method),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                self.channels.entry(number).or_default().published.get_or_insert(0);
                let ok = AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}));
                self.answer_unless(select.nowait, number, &ok);
            }
            _ => self.close(ReplyCode::NOT_IMPLEMENTED, "the null relay has no transactions"),
        }
        Ok(())
    }

    // spec: 1.2 the connection class
    fn connection_method(&mut self, method: &connection::AMQPMethod) {
        use connection::AMQPMethod as M;
        match method {
            M::StartOk(_) => {
                let tune = connection::Tune {
                    channel_max: CHANNEL_MAX,
                    frame_max: FRAME_MAX,
                    heartbeat: 0,
                };
                self.answer(0, &AMQPClass::Connection(M::Tune(tune)));
            }
            M::Open(_) => self.answer(0, &AMQPClass::Connection(M::OpenOk(connection::OpenOk {}))),
            M::Close(_) => {
                let gone = &self.sink;
                self.state.routes.remove_consumers(|consumer| Arc::ptr_eq(&consumer.sink, gone));
                self.publisher.flush();
                self.answer(0, &AMQPClass::Connection(M::CloseOk(connection::CloseOk {})));
                self.closed = true;
            }
            M::CloseOk(_) => self.closed = true,
            _ => {}
        }
    }

    // spec: 1.3 the channel class
    fn channel_method(&mut self, number: u16, method: &channel::AMQPMethod) {
        use channel::AMQPMethod as M;
        match method {
            M::Open(_) => {
                self.channels.insert(number, Channel::default());
                self.answer(number, &AMQPClass::Channel(M::OpenOk(channel::OpenOk {})));
            }
            M::Close(_) => {
                self.channels.remove(&number);
                let own = &self.sink;
                self.state.routes.remove_consumers(|consumer| {
                    consumer.channel == number && Arc::ptr_eq(&consumer.sink, own)
                });
                self.answer(number, &AMQPClass::Channel(M::CloseOk(channel::CloseOk {})));
            }
            M::Flow(flow) => {
                let ok = channel::FlowOk { active: flow.active };
                self.answer(number, &AMQPClass::Channel(M::FlowOk(ok)));
            }
            _ => {}
        }
    }

    // spec: 1.4 the exchange class
    fn exchange_method(&self, number: u16, method: &exchange::AMQPMethod) {
        use exchange::AMQPMethod as M;
        let routes = &self.state.routes;
        let (nowait, ok) = match method {
            M::Declare(declare)
                if declare.passive && !routes.has_exchange(declare.exchange.as_str()) =>
            {
                return self.not_found(number, "exchange", declare.exchange.as_str());
            }
            M::Declare(declare) => {
                routes.declare_exchange(declare.exchange.as_str(), declare.kind.as_str());
                (declare.nowait, M::DeclareOk(exchange::DeclareOk {}))
            }
            M::Delete(delete) => {
                routes.delete_exchange(delete.exchange.as_str());
                (delete.nowait, M::DeleteOk(exchange::DeleteOk {}))
            }
            // Bindings between exchanges are accepted and lead nowhere.
            M::Bind(bind) => (bind.nowait, M::BindOk(exchange::BindOk {})),
            M::Unbind(unbind) => (unbind.nowait, M::UnbindOk(exchange::UnbindOk {})),
            _ => return,
        };
        self.answer_unless(nowait, number, &AMQPClass::Exchange(ok));
    }

    // spec: 1.5 the queue class
    fn queue_method(&self, number: u16, method: &queue::AMQPMethod) {
        use queue::AMQPMethod as M;
        let routes = &self.state.routes;
        let (nowait, ok) = match method {
            M::Declare(declare) => match self.declare_queue(declare) {
                Some(ok) => (declare.nowait, M::DeclareOk(ok)),
                None => return self.not_found(number, "queue", declare.queue.as_str()),
            },
            M::Bind(bind) => {
                routes.bind(bind.exchange.as_str(), bind.routing_key.as_str(), bind.queue.as_str());
                (bind.nowait, M::BindOk(queue::BindOk {}))
            }
            M::Unbind(unbind) => {
                routes.unbind(
                    unbind.exchange.as_str(),
                    unbind.routing_key.as_str(),
                    unbind.queue.as_str(),
                );
                (false, M::UnbindOk(queue::UnbindOk {}))
            }
            M::Purge(purge) => (purge.nowait, M::PurgeOk(queue::PurgeOk { message_count: 0 })),
            M::Delete(delete) => {
                routes.delete_queue(delete.queue.as_str());
                (delete.nowait, M::DeleteOk(queue::DeleteOk { message_count: 0 }))
            }
            _ => return,
        };
        self.answer_unless(nowait, number, &AMQPClass::Queue(ok));
    }

    /// `None` for a passive declare of what is not there.
    fn declare_queue(&self, declare: &queue::Declare) -> Option<queue::DeclareOk> {
        let routes = &self.state.routes;
        let name = match declare.queue.as_str() {
            "" => routes.new_name("queue"),
            name => name.to_owned(),
        };
        let consumer_count =
            if declare.passive { routes.queue(&name)? } else { routes.declare_queue(&name) };
        Some(queue::DeclareOk { queue: name.as_str().into(), message_count: 0, consumer_count })
    }

    // spec: 1.8 the basic class
    fn basic_method(&mut self, number: u16, method: &basic::AMQPMethod) {
        use basic::AMQPMethod as M;
        let (nowait, ok) = match method {
            M::Qos(_) => (false, M::QosOk(basic::QosOk {})),
            M::Consume(consume) => return self.consume(number, consume),
            M::Cancel(cancel) => {
                let tag = cancel.consumer_tag.as_str();
                let own = &self.sink;
                self.state.routes.remove_consumers(|consumer| {
                    consumer.channel == number
                        && consumer.tag == tag
                        && Arc::ptr_eq(&consumer.sink, own)
                });
                (
                    cancel.nowait,
                    M::CancelOk(basic::CancelOk { consumer_tag: cancel.consumer_tag.clone() }),
                )
            }
            M::Get(_) => (false, M::GetEmpty(basic::GetEmpty {})),
            M::Recover(_) => (false, M::RecoverOk(basic::RecoverOk {})),
            _ => return,
        };
        self.answer_unless(nowait, number, &AMQPClass::Basic(ok));
    }

    /// The answer goes out before the first delivery can.
    fn consume(&mut self, number: u16, consume: &basic::Consume) {
        let tag = match consume.consumer_tag.as_str() {
            "" => self.state.routes.new_name("consumer"),
            tag => tag.to_owned(),
        };
        let ok = basic::ConsumeOk { consumer_tag: tag.as_str().into() };
        let ok = AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok));
        self.answer_unless(consume.nowait, number, &ok);
        let delivered = Arc::clone(&self.channels.entry(number).or_default().delivered);
        let consumer = Consumer { sink: Arc::clone(&self.sink), channel: number, tag, delivered };
        self.state.routes.add_consumer(consume.queue.as_str(), consumer);
    }

    fn not_found(&self, number: u16, what: &str, name: &str) {
        let close = channel::Close {
            reply_code: ReplyCode::NOT_FOUND.0,
            reply_text: short_string(&format!("NOT_FOUND - no {what} '{name}' in the null relay")),
            class_id: 0,
            method_id: 0,
        };
        self.answer(number, &AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    fn close(&mut self, code: ReplyCode, text: &str) {
        let close = connection::Close {
            reply_code: code.0,
            reply_text: short_string(text),
            class_id: 0,
            method_id: 0,
        };
        self.answer(0, &AMQPClass::Connection(connection::AMQPMethod::Close(close)));
        self.closed = true;
    }
}

fn start() -> AMQPClass {
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("leveret null relay".into()));
    properties.insert("version".into(), AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()));
    let mut capabilities = FieldTable::default();
    for capability in ["basic.nack", "consumer_cancel_notify", "publisher_confirms"] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties,
        mechanisms: "PLAIN AMQPLAIN".into(),
        locales: "en_US".into(),
    }))
}
