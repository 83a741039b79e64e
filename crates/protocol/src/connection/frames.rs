//! The frames of a connection, cut from its input and handed to where they belong. Hot path.

use leveret_codec::amqp::{AMQPClass, channel, connection};
use leveret_codec::{Frame, FrameKind, Method, decode_method, method_id};
use leveret_engine::Timestamp;

use crate::broker::Broker;
use crate::channel::{Channel, State, held};
use crate::connection::shared::Context;
use crate::connection::{Connection, Expects, Phase};
use crate::error::{ConnectionError, Fault, Scope, octets};
use crate::output::Output;

/// The fixed fields of a content header. Less than that is a frame of no known kind to RabbitMQ.
const HEADER_MIN: usize = 12;

impl Connection {
    /// Takes every whole frame at the start of `input`; returns how many bytes that was.
    pub(super) fn frames<B: Broker>(
        &mut self,
        input: &[u8],
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) -> usize {
        let mut used = 0;
        while self.wants_read() && !Self::output_is_full(out) {
            if self.is_deaf() {
                return input.len();
            }
            let rest = input.get(used..).unwrap_or_default();
            match self.splitter.split(rest) {
                Ok(None) => break,
                Ok(Some((frame, len))) => {
                    used += len;
                    self.shared.counters.frames_received += 1;
                    let after = rest.get(len..).unwrap_or_default();
                    used += self.frame(&frame, after, now, broker, out);
                }
                Err(error) => {
                    let error = ConnectionError::framing(error, rest);
                    self.fail(error, (0, 0), now, broker, out);
                    return input.len();
                }
            }
        }
        // What comes after the end means nothing and is not kept.
        if matches!(self.phase, Phase::Closed) { input.len() } else { used }
    }

    /// Whether everything that comes is thrown away unread.
    fn is_deaf(&self) -> bool {
        matches!(self.phase, Phase::Ending { expects: Expects::Nothing, .. })
    }

    /// Returns how much of `rest` was taken along.
    #[inline]
    fn frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        rest: &[u8],
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) -> usize {
        if frame.channel != 0 && self.phase == Phase::Running {
            return self.channel_frame(frame, rest, now, broker, out);
        }
        self.connection_frame(frame, now, broker, out);
        0
    }

    fn channel_frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        rest: &[u8],
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) -> usize {
        let plain = matches!(frame.kind, FrameKind::METHOD | FrameKind::HEADER | FrameKind::BODY);
        if (!plain || frame.payload.len() < 4) && self.strange_kind(frame, now, broker, out) {
            return 0;
        }
        // While an alarm waits for content, content is taken frame by frame.
        let rest = if self.alarm.is_clear() { rest } else { &[] };
        let Self { shared, channels, splitter, .. } = self;
        let Some(channel) = channels.get_mut(frame.channel) else {
            self.open_channel(frame, now, broker, out);
            return 0;
        };
        if channel.state() != State::Open {
            self.closed_channel_frame(frame, now, broker, out);
            return 0;
        }
        let mut context = Context { shared, broker, out, now };
        if channel.is_waiting() {
            channel.hold(frame, &mut context);
            return 0;
        }
        match channel.frame(frame, rest, splitter, &mut context) {
            Ok(taken) if channel.state() == State::Open && self.alarm.is_clear() => taken,
            result => self.after_frame(frame, result, now, broker, out),
        }
    }

    /// What a frame may bring about beyond its channel; returns what it took along.
    #[cold]
    fn after_frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        result: Result<usize, Fault>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) -> usize {
        let taken = result.unwrap_or_else(|fault| {
            self.fault(frame.channel, fault, now, broker, out);
            0
        });
        if frame.kind != FrameKind::METHOD {
            self.content_came(out);
        }
        self.forget_if_gone(frame.channel);
        taken
    }

    /// Frames of a kind that AMQP does not know, and heartbeats on a channel.
    fn strange_kind<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) -> bool {
        let kind = frame.kind.0;
        let error = match frame.kind {
            FrameKind::METHOD if frame.payload.len() >= 4 => return false,
            FrameKind::HEADER if frame.payload.len() >= HEADER_MIN => return false,
            FrameKind::BODY => return false,
            FrameKind::HEARTBEAT if frame.payload.is_empty() => {
                ConnectionError::UnexpectedFrame { kind, octets: octets(frame.payload) }
            }
            _ => ConnectionError::UnknownFrame { kind, octets: octets(frame.payload) },
        };
        self.fail(error, (0, 0), now, broker, out);
        true
    }

    /// The first frame of a channel number: channel.open, within the limit.
    // rabbitmq: channels
    fn open_channel<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let (open, max) = (self.channels.len(), self.shared.channel_max);
        if max != 0 && open >= usize::from(max) {
            let error = ConnectionError::ChannelMax { open, max };
            return self.fail(error, (0, 0), now, broker, out);
        }
        if frame.kind != FrameKind::METHOD {
            return self.fail(ConnectionError::ExpectedMethod, (0, 0), now, broker, out);
        }
        let method = method_id(frame.payload).unwrap_or((0, 0));
        match decode_method(frame.payload) {
            Ok(Method::Other(AMQPClass::Channel(channel::AMQPMethod::Open(_)))) => {}
            Ok(_) => return self.fail(ConnectionError::ChannelNotOpen, method, now, broker, out),
            Err(error) => {
                let error = ConnectionError::decode(error, frame.payload);
                let method = error.method_of(frame.payload);
                return self.fail(error, method, now, broker, out);
            }
        }
        let key = self.next_key(frame.channel);
        let mut channel = Channel::new(key, self.shared.config.default_consumer_prefetch);
        let shared = &mut self.shared;
        let result = channel.open(&mut Context { shared, broker, out, now });
        self.channels.insert(channel);
        if let Err(fault) = result {
            self.fault(frame.channel, fault, now, broker, out);
        }
    }

    /// Frames of a channel that is opening or closing.
    // rabbitmq: channel.close
    fn closed_channel_frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let Self { shared, channels, .. } = self;
        let Some(channel) = channels.get_mut(frame.channel) else { return };
        if channel.state() == State::Opening {
            channel.hold(frame, &mut Context { shared, broker, out, now });
            return;
        }
        if frame.kind != FrameKind::METHOD || channel.state() == State::ClosedByClient {
            return;
        }
        match method_id(frame.payload) {
            Some((20, 41)) => {
                channel.confirmed_close();
                self.forget_if_gone(frame.channel);
            }
            Some((20, 40)) => {
                let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                channel.reply(AMQPClass::Channel(ok), &mut Context { shared, broker, out, now });
            }
            Some((20, 10)) => {
                self.fail(ConnectionError::ChannelOpenTwice, (20, 10), now, broker, out);
            }
            _ => {}
        }
    }

    pub(super) fn forget_if_gone(&mut self, number: u16) {
        if self.channels.get_mut(number).is_some_and(|channel| channel.state() == State::Gone) {
            self.channels.remove(number);
        }
    }

    /// Acts on what a channel failed with.
    pub(super) fn fault<B: Broker>(
        &mut self,
        number: u16,
        fault: Fault,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let Self { shared, channels, .. } = self;
        let Some(channel) = channels.get_mut(number) else { return };
        let error = match fault.scope() {
            // A channel that never opened has nothing that could be closed.
            Scope::Channel(error) if channel.state() == State::Opening => error.escalate(),
            Scope::Channel(error) => {
                channel.close_by_server(&error, &mut Context { shared, broker, out, now });
                return;
            }
            Scope::Connection(error) => error,
        };
        let method = channel.method();
        self.fail(error, method, now, broker, out);
    }

    /// Frames of the connection itself, and all frames before it runs.
    fn connection_frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        if let Phase::Ending { expects, .. } = self.phase {
            return self.ending_frame(frame, expects, out);
        }
        let kind = frame.kind.0;
        let unexpected =
            || ConnectionError::UnexpectedFrame { kind, octets: octets(frame.payload) };
        let unknown = || ConnectionError::UnknownFrame { kind, octets: octets(frame.payload) };
        let error = match frame.kind {
            _ if frame.channel != 0 => unexpected(),
            FrameKind::METHOD if frame.payload.len() >= 4 => {
                return self.connection_method(frame, now, broker, out);
            }
            FrameKind::HEARTBEAT if frame.payload.is_empty() => return,
            FrameKind::HEADER if frame.payload.len() >= 12 => unexpected(),
            FrameKind::BODY => unexpected(),
            _ => unknown(),
        };
        self.fail(error, (0, 0), now, broker, out);
    }

    fn connection_method<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let ids = method_id(frame.payload).unwrap_or((0, 0));
        match decode_method(frame.payload) {
            Ok(Method::Other(AMQPClass::Connection(method))) => {
                self.class_connection(&method, ids, now, broker, out);
            }
            Ok(_) => self.unexpected_method(ids, now, broker, out),
            Err(error) => {
                let error = ConnectionError::decode(error, frame.payload);
                let method = error.method_of(frame.payload);
                self.fail(error, method, now, broker, out);
            }
        }
    }

    /// After connection.close only its answer and a close that crossed it mean anything.
    // rabbitmq: error classes
    fn ending_frame(&mut self, frame: &Frame<'_>, expects: Expects, out: &mut Output) {
        if frame.channel != 0 || frame.kind != FrameKind::METHOD || expects == Expects::Nothing {
            return;
        }
        match method_id(frame.payload) {
            Some((10, 51)) => self.phase = Phase::Closed,
            Some((10, 50)) => {
                let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
                leveret_codec::put_method(out.buf(), 0, &AMQPClass::Connection(ok));
            }
            _ => {}
        }
    }

    /// Hands the frames that a channel held to it, until it waits again.
    pub(super) fn replay<B: Broker>(
        &mut self,
        number: u16,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let Some(bytes) = self.channels.get_mut(number).and_then(|channel| {
            (channel.state() == State::Open && !channel.is_waiting())
                .then(|| channel.take_held(&mut self.shared))
        }) else {
            return;
        };
        let mut rest = bytes.as_slice();
        while let Some((frame, after)) = held::first_frame(rest, number) {
            if self.phase != Phase::Running {
                return;
            }
            self.channel_frame(&frame, &[], now, broker, out);
            rest = after;
        }
    }
}
