//! One client connection on the node: its protocol machine, what it has pending, and what is ready for it. Hot path.
//!
//! The task that owns the socket calls [`Session::receive`] with what it read, [`Session::run`] when it is woken, and
//! writes [`Session::output`]. Nothing here waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use leveret_engine::{Budget, Delivery, Timestamp};
use leveret_protocol::{
    Connection, ConnectionEnd, ConnectionInfo, ConnectionState, Event, Output, Put,
};

use crate::connections::Handle;
use crate::effects::{Own, Scope};
use crate::mailbox::{Mail, Ready, Retry, Source};
use crate::node::Node;
use crate::pending::Pending;
use crate::ports::Ports;

/// Encoded bytes beyond which a connection takes no more deliveries until its socket has taken some. As large as a
/// socket takes in one call on loopback; larger only adds latency and memory.
const OUTPUT_HIGH: usize = 256 * 1024;

/// What one queue may add to the output before the next ready queue has its turn.
const SHARE_BYTES: usize = 128 * 1024;

/// Records that one take may hand out: bounds the time a queue's lock is held.
const SHARE_RECORDS: u32 = 8192;

/// A client connection, without its socket.
pub struct Session {
    node: Arc<Node>,
    connection: Connection,
    handle: Arc<Handle>,
    pending: Pending,
    own: Own,
    ready: VecDeque<Ready>,
    mail: Mail,
    deliveries: Vec<Delivery>,
    /// Whether the vhost's messages are copied to its firehose, at this version of routes.
    traced: (u64, bool),
    /// When this session last did something.
    now: Timestamp,
    /// Until when the client is not read, so that consumers catch up.
    rest_until: Timestamp,
    out: Output,
    /// Whether the client has ever opened its vhost.
    was_open: bool,
}

impl Session {
    pub(crate) fn new(node: Arc<Node>, connection: Connection, handle: Arc<Handle>) -> Self {
        Self {
            node,
            connection,
            handle,
            pending: Pending::default(),
            own: Own::default(),
            ready: VecDeque::new(),
            mail: Mail::default(),
            deliveries: Vec::new(),
            traced: (0, false),
            now: Timestamp(0),
            rest_until: Timestamp(0),
            out: Output::default(),
            was_open: false,
        }
    }

    /// Takes what the socket brought; returns how many bytes were used. The rest is to be passed again, with more behind it.
    pub fn receive(&mut self, input: &[u8], now: Timestamp) -> usize {
        let used =
            self.turn(now, |connection, ports, out| connection.receive(input, now, ports, out));
        self.deliver(now);
        used
    }

    /// Takes what the rest of the node has left for this connection, and its share of every ready queue. `waker` is woken when
    /// there is more.
    pub fn run(&mut self, now: Timestamp, waker: &Waker) {
        self.now = now;
        self.handle.mailbox.drain(&mut self.mail, waker);
        if std::mem::take(&mut self.mail.rested) {
            self.rest_until = now;
        }
        self.ready.extend(self.mail.ready.drain(..));
        for retry in std::mem::take(&mut self.mail.retries) {
            self.retry(retry, now);
        }
        if !self.mail.events.is_empty() {
            let events = std::mem::take(&mut self.mail.events);
            self.hand_over(events, now);
        }
        if self.next_deadline().is_some_and(|at| at <= now) {
            self.turn(now, |connection, ports, out| connection.tick(now, ports, out));
        }
        self.deliver(now);
    }

    /// Puts a message into a queue, past every exchange. For what the process itself moves.
    pub fn put(&mut self, channel: u16, put: &Put<'_>, now: Timestamp) {
        self.turn(now, |connection, ports, out| connection.put(channel, put, now, ports, out));
    }

    /// What is to be written to the socket.
    pub fn output(&mut self) -> &mut Output {
        &mut self.out
    }

    /// Whether the socket should be read: not while the client is blocked, nor while it does not take what it is sent.
    pub fn wants_read(&self, now: Timestamp) -> bool {
        now >= self.rest_until
            && self.out.len() < OUTPUT_HIGH
            && !self.handle.unsettled.is_full()
            && self.connection.wants_read()
    }

    /// Whether [`Session::run`] has deliveries to encode at once.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() && self.out.len() < OUTPUT_HIGH
    }

    /// Whether the socket is to be closed, once the output is written.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// When [`Session::run`] is to be called even if nothing happens.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let refresh = self.handle.refresh_due();
        let rest = (self.rest_until > self.now).then_some(self.rest_until);
        self.connection.next_deadline().into_iter().chain(refresh).chain(rest).min()
    }

    /// Whether the client has logged in and opened its vhost, and is not on its way out.
    pub fn is_open(&self) -> bool {
        matches!(
            self.connection.state(),
            ConnectionState::Running | ConnectionState::Blocking | ConnectionState::Blocked
        )
    }

    /// Who the client is, for the log.
    pub fn info(&self) -> ConnectionInfo {
        self.connection.info()
    }

    /// How the connection ended, for the log.
    pub fn end(&self) -> ConnectionEnd {
        self.connection.end()
    }

    /// The socket is gone: everything unacked goes back, everything exclusive is deleted.
    pub fn disconnect(&mut self, now: Timestamp) {
        let was_open = self.was_open;
        self.node.forget_questions_of(&self.handle);
        // What has been answered meanwhile may be a message, which goes back with the others.
        self.handle.mailbox.drain(&mut self.mail, Waker::noop());
        let events = std::mem::take(&mut self.mail.events);
        self.hand_over(events, now);
        self.turn(now, |connection, ports, _| connection.closed(now, ports));
        let mut scope = Scope::of(self.handle.id, &mut self.own, now);
        let end = self.connection.end();
        self.node.connection_ended(&self.handle, &end, was_open, &mut scope);
        self.node.finish(&mut scope);
        self.node.disconnected(&self.handle, now);
    }

    fn turn<R>(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut Connection, &mut Ports<'_, '_>, &mut Output) -> R,
    ) -> R {
        let result = self.step(now, work);
        self.was_open |= self.is_open();
        while !self.own.events.is_empty() {
            let events = std::mem::take(&mut self.own.events);
            self.hand_over(events, now);
        }
        self.connection.batch_end(&mut self.out);
        self.ready.extend(self.own.ready.drain(..));
        self.handle.refresh(&self.connection, self.out.total(), now);
        result
    }

    fn hand_over(&mut self, events: Vec<Event>, now: Timestamp) {
        self.turn(now, |connection, ports, out| {
            for event in events {
                connection.event(event, now, ports, out);
            }
        });
    }

    /// Tries a `basic.get` again whose queue had to read from disk.
    fn retry(&mut self, retry: Retry, now: Timestamp) {
        let Retry { queue, channel, no_ack } = retry;
        let answer = self.step(now, |_, ports, _| ports.get_or_wait(&queue, channel, no_ack));
        if let Some(answer) = answer {
            self.hand_over(vec![Event::Answer { channel, answer }], now);
        }
    }

    fn step<R>(
        &mut self,
        now: Timestamp,
        work: impl FnOnce(&mut Connection, &mut Ports<'_, '_>, &mut Output) -> R,
    ) -> R {
        let mut scope = Scope::of(self.handle.id, &mut self.own, now);
        let mut ports = Ports::new(&self.node, &self.handle, &mut self.pending, &mut scope);
        let result = work(&mut self.connection, &mut ports, &mut self.out);
        ports.flush();
        self.node.finish(&mut scope);
        self.now = now;
        if scope.rest > 0 {
            self.rest_until = now.plus(scope.rest);
        }
        self.pending.end();
        result
    }

    fn deliver(&mut self, now: Timestamp) {
        if self.ready.is_empty() {
            return;
        }
        let traced = self.is_traced();
        let mut tapped = Vec::new();
        let mut scope = Scope::of(self.handle.id, &mut self.own, now);
        // Each once: what is written now is worked on by the client while more is encoded.
        let share = if self.ready.len() == 1 { OUTPUT_HIGH } else { SHARE_BYTES };
        for _ in 0..self.ready.len() {
            let room = OUTPUT_HIGH.saturating_sub(self.out.len());
            if room == 0 {
                break;
            }
            let Some(entry) = self.ready.pop_front() else { break };
            let bytes = room.min(share);
            let budget = Budget { records: SHARE_RECORDS, bytes: bytes as u32 };
            let taken = &mut self.deliveries;
            let more = match &entry.source {
                Source::Queue(cell) => self.node.with_queue(cell, &mut scope, |queue, fx| {
                    queue.take(entry.consumer, budget, now, taken, fx)
                }),
                Source::Far(consumer) => self.node.take_far(consumer, budget, taken),
            };
            for delivery in self.deliveries.drain(..) {
                // A consumer that was cancelled has nothing to take any more.
                let known = self.connection.deliver(&delivery, &mut self.out);
                debug_assert!(known, "a queue handed out messages for a consumer that is gone");
                if traced {
                    tapped.push(delivery);
                }
            }
            if more {
                self.ready.push_back(entry);
            }
        }
        self.node.finish(&mut scope);
        if !tapped.is_empty() {
            self.step(now, |connection, ports, _| {
                tapped.iter().for_each(|delivery| connection.tap(delivery, ports));
            });
        }
        self.ready.extend(self.own.ready.drain(..));
        self.handle.refresh(&self.connection, self.out.total(), now);
    }

    /// Whether what is delivered is copied to the firehose. Looked up again only when something was changed.
    fn is_traced(&mut self) -> bool {
        let version = self.node.routing_version();
        if self.traced.0 != version {
            self.traced = (version, self.connection.is_traced(&self.node.topology.read()));
        }
        self.traced.1
    }
}
