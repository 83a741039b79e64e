//! A connection: bytes in, frames out, whatever time and node say in between. It owns its channels
//! and the phases from protocol header to close; it neither reads a socket nor a clock.
//!
//! ```text
//! Header → Starting → Tuning → Opening → OpenAsked → Running → Leaving ─┐
//!    └────────┴──────────┴────────┴── silent, refused, failed ─→ Ending ┴→ Closed
//! ```

mod alarm;
mod channels;
mod class;
mod closing;
mod events;
mod frames;
mod heartbeat;
pub(crate) mod shared;
mod time;

use std::sync::Arc;

use leveret_codec::Splitter;
use leveret_engine::{ChannelKey, ConnectionId, Delivery, Timestamp, Topology};

use crate::broker::Broker;
use crate::config::{ConnectionConfig, Peer};
use crate::handshake::Login;
use crate::info::{ChannelInfo, ConnectionCounters, ConnectionInfo, ConnectionState};
use crate::limits::{HELD_BYTES_MAX, INITIAL_FRAME_MAX, OUTPUT_BYTES_MAX, UNCONFIRMED_MAX};
use crate::output::Output;

use alarm::Alarm;
use channels::Channels;
use heartbeat::Heartbeat;
use shared::{ConnectionEnd, Context, Shared};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The protocol header is due.
    Header,
    /// connection.start-ok is due.
    Starting,
    /// connection.tune-ok is due.
    Tuning,
    /// connection.open is due.
    Opening,
    /// The node is asked whether the connection may open.
    OpenAsked,
    Running,
    /// The client closed; the node is deleting its exclusive queues.
    Leaving,
    /// Nothing more is done for the client; the socket is closed at the latest then.
    Ending {
        until: Timestamp,
        expects: Expects,
    },
    /// The output is to be written and the socket closed.
    Closed,
}

/// What still means something to a connection that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expects {
    /// Only the end of the socket.
    Nothing,
    /// connection.close-ok.
    CloseOk,
}

/// One client connection.
///
/// Drive it with [`receive`](Self::receive), [`event`](Self::event), [`deliver`](Self::deliver) and
/// [`tick`](Self::tick); after each turn call [`batch_end`](Self::batch_end), write the output, and
/// offer again whatever input `receive` left over.
#[derive(Debug)]
pub struct Connection {
    pub(crate) shared: Shared,
    channels: Channels,
    pub(crate) phase: Phase,
    pub(crate) splitter: Splitter,
    pub(crate) heartbeat: Heartbeat,
    alarm: Alarm,
    pub(crate) login: Login,
    connected_at: Timestamp,
    incarnation: u32,
    /// Bytes of input that were offered and not used.
    left_over: usize,
    /// When delivery acknowledgement timeouts are looked at next.
    next_ack_check: Timestamp,
    end: ConnectionEnd,
}

impl Connection {
    /// A connection whose socket was just accepted.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        config: Arc<ConnectionConfig>,
        peer: Peer,
        now: Timestamp,
    ) -> Self {
        Self {
            shared: Shared::new(id, config, peer, now),
            channels: Channels::default(),
            phase: Phase::Header,
            splitter: Splitter::new(INITIAL_FRAME_MAX),
            heartbeat: Heartbeat::default(),
            alarm: Alarm::Clear,
            login: Login::default(),
            connected_at: now,
            incarnation: 0,
            left_over: 0,
            next_ack_check: now.plus(crate::limits::CONSUMER_TIMEOUT_TICK_MS),
            end: ConnectionEnd::Open,
        }
    }

    /// Takes what the socket brought; returns how many bytes were used. The rest is to be offered
    /// again, with more behind it or after the next turn: a frame may be incomplete, or the
    /// connection does not want to be read ([`wants_read`](Self::wants_read)).
    pub fn receive<B: Broker>(
        &mut self,
        input: &[u8],
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) -> usize {
        self.shared.now = now;
        let mut used = 0;
        if self.phase == Phase::Header && !input.is_empty() {
            used = self.protocol_header(input, out);
        }
        if self.phase != Phase::Header {
            used += self.frames(input.get(used..).unwrap_or_default(), now, broker, out);
        }
        // What was left over last time is offered again and has been counted.
        self.shared.counters.bytes_received += input.len().saturating_sub(self.left_over) as u64;
        self.left_over = input.len() - used.min(input.len());
        self.settle_turn(now, broker, out);
        used
    }

    /// Encodes messages for one consumer. False if the consumer is gone: the messages are to be
    /// returned to their queue.
    #[must_use]
    pub fn deliver(&mut self, delivery: &Delivery, out: &mut Output) -> bool {
        let minute = self.shared.minute();
        let Self { shared, channels, .. } = self;
        let Some(consumer) = shared.consumers.get(&delivery.consumer) else { return false };
        let Some(channel) = channels.get_mut(consumer.channel) else { return false };
        let counted = channel.deliver(consumer, delivery, minute, shared.frame_max, out);
        shared.counters.messages.add(&counted);
        true
    }

    /// Whether messages of the connection's vhost are copied to its firehose. It may change with
    /// [`Broker::routing_version`].
    pub fn is_traced(&self, topology: &Topology) -> bool {
        self.shared.is_traced(topology)
    }

    /// Tells the firehose of messages that were delivered.
    pub fn tap<B: Broker>(&self, delivery: &Delivery, broker: &mut B) {
        let Some(consumer) = self.shared.consumers.get(&delivery.consumer) else { return };
        let Some(channel) = self.channels.get(consumer.channel) else { return };
        channel.tap_delivered(consumer.queue, delivery, &self.shared, broker);
    }

    /// Ends a turn: tells publishers what has been confirmed.
    pub fn batch_end(&mut self, out: &mut Output) {
        while let Some(number) = self.shared.dirty.pop() {
            if let Some(channel) = self.channels.get_mut(number) {
                channel.flush_confirms(&mut self.shared, out);
            }
        }
    }

    /// Whether the socket should be read. Not while the client is blocked by an alarm, while too
    /// much is held or unconfirmed, or while the connection's own calls are unanswered.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.phase {
            Phase::OpenAsked | Phase::Leaving | Phase::Closed => false,
            Phase::Running => {
                !self.alarm.is_blocked()
                    && self.shared.held_bytes < HELD_BYTES_MAX
                    && self.shared.unconfirmed < UNCONFIRMED_MAX
            }
            _ => true,
        }
    }

    /// Whether the output is to be written and the socket closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The socket is gone: consumers are cancelled and everything unacked goes back. Exclusive
    /// queues are the node's.
    pub fn closed<B: Broker>(&mut self, now: Timestamp, broker: &mut B) {
        if self.end == ConnectionEnd::Open {
            self.end = match self.phase {
                Phase::Header => ConnectionEnd::HealthCheck,
                _ => ConnectionEnd::SocketLost,
            };
        }
        self.release_channels(now, broker, &mut Output::new());
        self.phase = Phase::Closed;
    }

    /// How it ended; [`ConnectionEnd::Open`] while it has not.
    #[must_use]
    pub fn end(&self) -> ConnectionEnd {
        self.end.clone()
    }

    pub(crate) fn end_with(&mut self, end: ConnectionEnd) {
        if self.end == ConnectionEnd::Open {
            self.end = end;
        }
    }

    /// What management shows of the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        let shared = &self.shared;
        ConnectionInfo {
            id: shared.id,
            peer: shared.peer.address.clone(),
            user: shared.user_name.clone(),
            vhost: shared.vhost.clone(),
            mechanism: self.login.mechanism.map_or("", crate::config::Mechanism::name),
            client_properties: self.login.client_properties.clone(),
            user_provided_name: self.login.connection_name(),
            state: self.state(),
            channel_max: shared.channel_max,
            frame_max: shared.frame_max,
            heartbeat: self.heartbeat.seconds(),
            channels: self.channels.len(),
            connected_at: self.connected_at,
            counters: self.counters(),
        }
    }

    /// What it has counted, its channels included. A copy; cheap enough for every turn.
    #[must_use]
    pub fn counters(&self) -> ConnectionCounters {
        self.shared.counters
    }

    /// What management shows of the channels, by number.
    #[must_use]
    pub fn channel_infos(&self) -> Vec<ChannelInfo> {
        let consumers = &self.shared.consumers;
        self.channels.iter().map(|channel| channel.info(|id| consumers.get(&id))).collect()
    }

    /// The state in RabbitMQ's words.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::Header | Phase::Starting => ConnectionState::Starting,
            Phase::Tuning => ConnectionState::Tuning,
            Phase::Opening | Phase::OpenAsked => ConnectionState::Opening,
            Phase::Running if self.alarm.is_blocked() => ConnectionState::Blocked,
            Phase::Running if !self.alarm.is_clear() => ConnectionState::Blocking,
            Phase::Running => ConnectionState::Running,
            Phase::Leaving | Phase::Ending { .. } => ConnectionState::Closing,
            Phase::Closed => ConnectionState::Closed,
        }
    }

    /// Whether answers pile up because the client does not read them.
    fn output_is_full(out: &Output) -> bool {
        out.len() > OUTPUT_BYTES_MAX
    }

    /// The last settles of the turn, and credit that other queues do not know of.
    fn settle_turn<B: Broker>(&mut self, now: Timestamp, broker: &mut B, out: &mut Output) {
        let Self { shared, channels, .. } = self;
        let mut context = Context { shared, broker, out, now };
        context.flush_settles();
        for channel in channels.iter_mut().filter(|channel| channel.credit_has_changed()) {
            channel.spread_credit(&mut context);
        }
    }

    fn next_key(&mut self, number: u16) -> ChannelKey {
        self.incarnation += 1;
        ChannelKey { connection: self.shared.id, number, incarnation: self.incarnation }
    }
}
