//! The methods of channel 0.

use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::put_method;
use leveret_engine::{Command, Timestamp};

use crate::broker::{Broker, Call};
use crate::connection::shared::ConnectionEnd;
use crate::connection::{Connection, Expects, Phase};
use crate::error::ConnectionError;
use crate::output::Output;

impl Connection {
    pub(super) fn class_connection<B: Broker>(
        &mut self,
        method: &connection::AMQPMethod,
        ids: (u16, u16),
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        match (self.phase, method) {
            (Phase::Starting, connection::AMQPMethod::StartOk(method)) => {
                self.start_ok(method, now, broker, out);
            }
            (Phase::Tuning, connection::AMQPMethod::TuneOk(method)) => self.tune_ok(method, now),
            (Phase::Opening, connection::AMQPMethod::Open(method)) => {
                self.open(method, now, broker, out);
            }
            (Phase::Running, connection::AMQPMethod::Close(method)) => {
                self.close_by_client(method, now, broker, out);
            }
            (Phase::Running, connection::AMQPMethod::UpdateSecret(_)) => {
                // Internal users have no secret that expires.
                // rabbitmq: connection.update-secret
                let ok = connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {});
                put_method(out.buf(), 0, &AMQPClass::Connection(ok));
            }
            _ => self.unexpected_method(ids, now, broker, out),
        }
    }

    // rabbitmq: error classes
    pub(super) fn unexpected_method<B: Broker>(
        &mut self,
        ids: (u16, u16),
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let state = match self.phase {
            Phase::Starting => "starting",
            Phase::Tuning => "tuning",
            Phase::Opening => "opening",
            _ => "running",
        };
        self.fail(ConnectionError::UnexpectedMethod(state), ids, now, broker, out);
    }

    /// The client leaves: close-ok follows when its exclusive queues are gone.
    // rabbitmq: connection.close
    fn close_by_client<B: Broker>(
        &mut self,
        method: &connection::Close,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        self.end_with(ConnectionEnd::ByClient {
            code: method.reply_code,
            text: method.reply_text.as_str().to_owned(),
        });
        self.batch_end(out);
        self.release_channels(now, broker, out);
        self.phase = Phase::Leaving;
        let command = Command::DeleteOwned { connection: self.shared.id };
        if broker.call(self.shared.key(), Call::Command(command)).is_some() {
            self.left(now, out);
        }
    }

    /// Nothing of the connection is left; the client closes the socket.
    pub(super) fn left(&mut self, now: Timestamp, out: &mut Output) {
        let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
        put_method(out.buf(), 0, &AMQPClass::Connection(ok));
        self.phase = Phase::Ending { until: self.close_deadline(now), expects: Expects::Nothing };
    }
}
