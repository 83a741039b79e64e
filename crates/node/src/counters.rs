//! Node-wide counts: what the connections that are gone have counted, so that totals never go down.

use leveret_protocol::{ConnectionCounters, MessageCounters};
use parking_lot::Mutex;

use crate::connections::Handle;
use crate::node::Node;

/// What ended connections leave behind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections_closed: u64,
    pub(crate) channels_opened: u64,
    pub(crate) channels_closed: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages: MessageCounters,
}

impl Tally {
    fn add(&mut self, (counters, sent): (ConnectionCounters, u64)) {
        self.channels_opened += counters.channels_opened;
        self.channels_closed += counters.channels_closed;
        self.bytes_received += counters.bytes_received;
        self.bytes_sent += sent;
        self.messages.add(&counters.messages);
    }
}

#[derive(Default)]
pub(crate) struct Retired(Mutex<Tally>);

impl Retired {
    pub(crate) fn add(&self, handle: &Handle) {
        let mut tally = self.0.lock();
        tally.connections_closed += 1;
        tally.add(handle.counters());
    }
}

impl Node {
    /// Everything counted since the start, by connections gone and present.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = *self.retired.0.lock();
        for handle in self.connections.all() {
            tally.add(handle.counters());
        }
        tally
    }
}
