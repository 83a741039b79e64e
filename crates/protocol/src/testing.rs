//! A world for tests: connections around a node of one thread, with virtual time. What is real is
//! everything but the node's wiring: the protocol, the topology and the queues.

mod fake_node;
mod fuzz;

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_engine::{ConnectionId, Timestamp};

use crate::{Connection, ConnectionConfig, Event, Output, Peer};

pub use fake_node::{Deliveries, FakeNode};
pub use fuzz::fuzz_connection;

/// What a client sends to log in as `guest`, without heartbeats, in the parts that wait for an answer.
#[must_use]
pub fn login(vhost: &str) -> [Vec<u8>; 4] {
    let method = |class: u16, id: u16, arguments: &[u8]| {
        let payload = [&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat();
        let head = [&[1, 0, 0][..], &(payload.len() as u32).to_be_bytes()].concat();
        [head, payload, vec![leveret_codec::FRAME_END]].concat()
    };
    let start_ok = b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
    let tune_ok = [&2047u16.to_be_bytes()[..], &131_072u32.to_be_bytes(), &[0, 0]].concat();
    let open = [&[vhost.len() as u8][..], vhost.as_bytes(), &[0, 0]].concat();
    [
        leveret_codec::REFUSAL.to_vec(),
        method(10, 11, start_ok),
        method(10, 31, &tune_ok),
        method(10, 40, &open),
    ]
}

/// Bytes of one write to a fake socket.
const SOCKET_BYTES: usize = 64 * 1024;

/// A connection and both directions of its socket.
#[derive(Debug)]
pub struct Client {
    /// The machine under test.
    pub connection: Connection,
    out: Output,
    /// Bytes that the connection has not taken yet.
    unread: Vec<u8>,
    /// Bytes that arrived at the client and nobody looked at yet.
    pub received: Vec<u8>,
    /// Whether the server has closed the socket.
    pub closed: bool,
}

/// Connections, their node, and the time.
#[derive(Debug)]
pub struct World {
    /// The node.
    pub node: FakeNode,
    /// The time.
    pub now: Timestamp,
    config: Arc<ConnectionConfig>,
    clients: BTreeMap<ConnectionId, Client>,
    next: u64,
}

impl Default for World {
    fn default() -> Self {
        Self::new(ConnectionConfig::default())
    }
}

impl World {
    /// A node with the vhost `/` and the user `guest`, no connections.
    #[must_use]
    pub fn new(config: ConnectionConfig) -> Self {
        // An hour past a round number of days, so that nothing is 0 by chance.
        let now = Timestamp(1_700_003_600_000);
        Self {
            node: FakeNode::new(now),
            now,
            config: Arc::new(config),
            clients: BTreeMap::new(),
            next: 0,
        }
    }

    /// Accepts a socket from this machine.
    pub fn connect(&mut self) -> ConnectionId {
        self.connect_from(Peer { address: "127.0.0.1:1".into(), loopback: true, ..Peer::default() })
    }

    /// Accepts a socket.
    pub fn connect_from(&mut self, peer: Peer) -> ConnectionId {
        self.next += 1;
        let id = ConnectionId(self.next);
        let connection = Connection::new(id, self.config.clone(), peer, self.now);
        let client = Client {
            connection,
            out: Output::new(),
            unread: Vec::new(),
            received: Vec::new(),
            closed: false,
        };
        self.clients.insert(id, client);
        id
    }

    /// The connection of an id.
    pub fn client(&mut self, id: ConnectionId) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Sends bytes to a connection and lets everything that follows happen.
    pub fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.unread.extend_from_slice(bytes);
        }
        self.settle();
    }

    /// Lets `ms` pass, stopping wherever anything has a deadline.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        loop {
            let connections = self.clients.values().filter(|client| !client.closed);
            let deadlines = connections.filter_map(|client| client.connection.next_deadline());
            let next = deadlines.chain(self.node.next_deadline()).min();
            self.now = next.unwrap_or(end).max(self.now).min(end);
            let before = self.now;
            self.tick();
            if before == end {
                return;
            }
            // A deadline that stays where it is would stop the time.
            self.now = self.now.plus(1).min(end);
        }
    }

    /// The client's end of a socket goes.
    pub fn drop_socket(&mut self, id: ConnectionId) {
        if let Some(mut client) = self.clients.remove(&id) {
            client.connection.closed(self.now, &mut self.node);
            self.node.connection_gone(id);
        }
        self.settle();
    }

    /// Something the node says to every connection.
    pub fn tell_all(&mut self, event: impl Fn() -> Event) {
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            self.node.post(id, event());
        }
        self.settle();
    }

    /// Lets everything happen that can happen now.
    pub fn settle(&mut self) {
        self.node.now = self.now;
        while self.step() {}
    }

    fn tick(&mut self) {
        self.node.now = self.now;
        self.node.tick();
        for client in self.clients.values_mut().filter(|client| !client.closed) {
            client.connection.tick(self.now, &mut self.node, &mut client.out);
            client.connection.batch_end(&mut client.out);
        }
        self.settle();
    }

    /// One turn of every connection; false when nothing happened.
    fn step(&mut self) -> bool {
        let mut active = false;
        for client in self.clients.values_mut().filter(|client| !client.closed) {
            active |= client.read(self.now, &mut self.node);
            self.node.flush();
        }
        while let Some((id, event)) = self.node.next_event() {
            active = true;
            if let Some(client) = self.clients.get_mut(&id) {
                client.connection.event(event, self.now, &mut self.node, &mut client.out);
            } else {
                self.node.undeliverable(&event);
            }
            self.node.flush();
        }
        for client in self.clients.values_mut() {
            client.connection.batch_end(&mut client.out);
        }
        active |= self.deliver();
        for client in self.clients.values_mut() {
            client.write();
        }
        active
    }

    fn deliver(&mut self) -> bool {
        let mut active = false;
        while let Some((id, queue, deliveries)) = self.node.next_deliveries() {
            active = true;
            for delivery in deliveries {
                let client = self.clients.get_mut(&id);
                let taken = client
                    .is_some_and(|client| client.connection.deliver(&delivery, &mut client.out));
                if !taken {
                    self.node.give_back(queue, &delivery);
                }
            }
        }
        active
    }
}

impl Client {
    fn read(&mut self, now: Timestamp, node: &mut FakeNode) -> bool {
        if self.unread.is_empty() || !self.connection.wants_read() {
            return false;
        }
        let used = self.connection.receive(&self.unread, now, node, &mut self.out);
        self.unread.drain(..used);
        used > 0
    }

    fn write(&mut self) {
        while !self.out.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let n = self.out.chunks(&mut slices);
            let mut written = 0;
            for slice in slices.iter().take(n) {
                let part = slice.get(..slice.len().min(SOCKET_BYTES - written)).unwrap_or(slice);
                self.received.extend_from_slice(part);
                written += part.len();
                if part.len() < slice.len() {
                    break;
                }
            }
            self.out.advance(written);
        }
        self.closed |= self.connection.is_closed();
    }
}
