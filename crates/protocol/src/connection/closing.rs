//! The ways a connection ends from this side: with connection.close, in silence, or at once.

use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::{put_method, short_string};
use leveret_engine::Timestamp;

use crate::broker::Broker;
use crate::connection::shared::{ConnectionEnd, Context};
use crate::connection::{Connection, Expects, Phase};
use crate::error::ConnectionError;
use crate::limits::{CLOSE_WAIT_MS_MAX, SILENT_CLOSE_MS};
use crate::output::Output;

impl Connection {
    /// Closes because of an error. Before connection.tune-ok the peer is told nothing.
    // rabbitmq: error classes
    pub(super) fn fail<B: Broker>(
        &mut self,
        error: ConnectionError,
        method: (u16, u16),
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        match self.phase {
            Phase::Header | Phase::Starting | Phase::Tuning => {
                self.silent_close(error.reply().text, now);
            }
            Phase::Opening | Phase::OpenAsked | Phase::Running | Phase::Leaving => {
                self.batch_end(out);
                self.put_close(&error, method, now, out);
                self.release_channels(now, broker, out);
            }
            Phase::Ending { .. } => {
                // Input that cannot be read any more: only the deadline is left.
                if let Phase::Ending { expects, .. } = &mut self.phase
                    && error.is_fatal()
                {
                    *expects = Expects::Nothing;
                }
            }
            Phase::Closed => {}
        }
    }

    /// Sends connection.close and waits for its answer, if an answer can still be read.
    pub(crate) fn put_close(
        &mut self,
        error: &ConnectionError,
        (class_id, method_id): (u16, u16),
        now: Timestamp,
        out: &mut Output,
    ) {
        let reply = error.reply();
        let close = connection::Close {
            reply_code: reply.code.0,
            reply_text: short_string(&reply.text),
            class_id,
            method_id,
        };
        let method = AMQPClass::Connection(connection::AMQPMethod::Close(close));
        put_method(out.buf(), 0, &method);
        let until = if error.is_fatal() || self.phase == Phase::Starting {
            now.plus(SILENT_CLOSE_MS)
        } else {
            self.close_deadline(now)
        };
        let expects = if error.is_fatal() { Expects::Nothing } else { Expects::CloseOk };
        self.end_with(ConnectionEnd::ByServer { code: reply.code, text: reply.text });
        self.phase = Phase::Ending { until, expects };
    }

    /// Says nothing and closes the socket after a while.
    pub(crate) fn silent_close(&mut self, reason: String, now: Timestamp) {
        self.end_with(ConnectionEnd::Handshake(reason));
        let until = now.plus(SILENT_CLOSE_MS);
        self.phase = Phase::Ending { until, expects: Expects::Nothing };
    }

    /// How long the client has to close: one heartbeat, at most half a minute.
    // rabbitmq: error classes
    pub(super) fn close_deadline(&self, now: Timestamp) -> Timestamp {
        let heartbeat = u64::from(self.heartbeat.seconds()) * 1000;
        now.plus(if heartbeat == 0 { CLOSE_WAIT_MS_MAX } else { heartbeat.min(CLOSE_WAIT_MS_MAX) })
    }

    /// Gives back everything that the channels hold.
    pub(super) fn release_channels<B: Broker>(
        &mut self,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let Self { shared, channels, .. } = self;
        let mut context = Context { shared, broker, out, now };
        for number in channels.numbers() {
            if let Some(channel) = channels.get_mut(number) {
                channel.release_unless_closed(&mut context);
                channels.remove(number);
            }
        }
        context.flush_settles();
    }
}
