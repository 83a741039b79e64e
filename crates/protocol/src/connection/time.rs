//! Everything that happens because time passes: heartbeats, the handshake's deadline, the wait for
//! close-ok, deliveries that are not acked.

use leveret_codec::put_heartbeat;
use leveret_engine::Timestamp;

use crate::broker::Broker;
use crate::connection::shared::ConnectionEnd;
use crate::connection::{Connection, Phase};
use crate::limits::CONSUMER_TIMEOUT_TICK_MS;
use crate::output::Output;

impl Connection {
    /// Acts on the time. Needed when [`next_deadline`](Self::next_deadline) has come; harmless
    /// otherwise.
    pub fn tick<B: Broker>(&mut self, now: Timestamp, broker: &mut B, out: &mut Output) {
        self.shared.now = now;
        match self.phase {
            Phase::Ending { until, .. } if now >= until => self.phase = Phase::Closed,
            Phase::Ending { .. } | Phase::Closed | Phase::Leaving => {}
            Phase::Running => {
                self.beat(now, out);
                self.check_acks(now, broker, out);
            }
            _ if now >= self.handshake_deadline() => {
                self.end_with(ConnectionEnd::HandshakeTimeout);
                self.phase = Phase::Closed;
            }
            _ => self.beat(now, out),
        }
    }

    /// When [`tick`](Self::tick) is needed next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let heartbeat = self.heartbeat.next_deadline();
        match self.phase {
            Phase::Ending { until, .. } => Some(until),
            Phase::Closed | Phase::Leaving => None,
            Phase::Running if self.has_ack_timeouts() => {
                Some(heartbeat.map_or(self.next_ack_check, |at| at.min(self.next_ack_check)))
            }
            Phase::Running => heartbeat,
            _ => {
                let deadline = self.handshake_deadline();
                Some(heartbeat.map_or(deadline, |at| at.min(deadline)))
            }
        }
    }

    fn handshake_deadline(&self) -> Timestamp {
        self.connected_at.plus(self.shared.config.handshake_timeout_ms)
    }

    fn beat(&mut self, now: Timestamp, out: &mut Output) {
        // A connection that is not read for reasons of its own is not the peer's fault.
        let paused = !self.wants_read() || Self::output_is_full(out);
        self.heartbeat.pause(paused, now);
        let due = self.heartbeat.tick(now, out.total(), self.shared.counters.bytes_received);
        if due.lost {
            let seconds = self.heartbeat.seconds();
            self.end_with(ConnectionEnd::HeartbeatTimeout { seconds });
            self.phase = Phase::Closed;
        } else if due.send && out.is_empty() {
            put_heartbeat(out.buf());
            self.heartbeat.note_sent(out.total());
        }
    }

    fn has_ack_timeouts(&self) -> bool {
        self.shared.ack_timeouts
    }

    // rabbitmq: consumer timeout
    fn check_acks<B: Broker>(&mut self, now: Timestamp, broker: &mut B, out: &mut Output) {
        if !self.has_ack_timeouts() || now < self.next_ack_check {
            return;
        }
        self.next_ack_check = now.plus(CONSUMER_TIMEOUT_TICK_MS);
        // Rounded down, where deliveries are noted rounded up: never early.
        let minute = (now.0 / CONSUMER_TIMEOUT_TICK_MS) as u32;
        for number in self.channels.numbers() {
            let Some(channel) = self.channels.get_mut(number) else { continue };
            if let Err(error) = channel.check_ack_timeout(minute) {
                channel.forget_method();
                self.fault(number, error.into(), now, broker, out);
            }
        }
    }
}
