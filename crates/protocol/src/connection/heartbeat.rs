//! Heartbeats in both directions. Sending looks each half interval whether anything was sent;
//! watching looks each interval whether anything came, and gives up when twice nothing did.
// rabbitmq: heartbeats

use leveret_engine::Timestamp;

/// What a tick has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Send a heartbeat.
    pub(crate) send: bool,
    /// The peer is silent for too long.
    pub(crate) lost: bool,
}

/// The heartbeats of a connection. Off before tuning and with an interval of 0.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    interval_ms: u64,
    next_send: Timestamp,
    sent: u64,
    next_check: Timestamp,
    received: u64,
    silent_checks: u32,
    paused: bool,
}

impl Heartbeat {
    pub(crate) fn start(&mut self, seconds: u16, now: Timestamp) {
        self.interval_ms = u64::from(seconds) * 1000;
        self.next_send = now.plus(self.interval_ms / 2);
        self.next_check = now.plus(self.interval_ms);
    }

    pub(crate) fn seconds(&self) -> u16 {
        (self.interval_ms / 1000) as u16
    }

    /// While the socket is not read the peer's silence means nothing.
    pub(crate) fn pause(&mut self, paused: bool, now: Timestamp) {
        if self.paused && !paused {
            self.silent_checks = 0;
            self.next_check = now.plus(self.interval_ms);
        }
        self.paused = paused;
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        if self.interval_ms == 0 {
            return None;
        }
        Some(if self.paused { self.next_send } else { self.next_send.min(self.next_check) })
    }

    /// `sent` and `received` count bytes since the connection began.
    pub(crate) fn tick(&mut self, now: Timestamp, sent: u64, received: u64) -> Due {
        let mut due = Due::default();
        if self.interval_ms == 0 {
            return due;
        }
        if now >= self.next_send {
            due.send = sent == self.sent;
            self.sent = sent;
            self.next_send = now.plus(self.interval_ms / 2);
        }
        if now >= self.next_check && !self.paused {
            self.silent_checks = if received == self.received { self.silent_checks + 1 } else { 0 };
            self.received = received;
            self.next_check = now.plus(self.interval_ms);
            due.lost = self.silent_checks >= 2;
        }
        due
    }

    /// A heartbeat was sent: it does not count as traffic.
    pub(crate) fn note_sent(&mut self, sent: u64) {
        self.sent = sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_goes_out_after_each_silent_half_interval() {
        let mut heartbeat = Heartbeat::default();
        heartbeat.start(10, Timestamp(0));
        assert_eq!(heartbeat.next_deadline(), Some(Timestamp(5000)));
        assert!(!heartbeat.tick(Timestamp(5000), 100, 1).send);
        assert!(heartbeat.tick(Timestamp(10_000), 100, 2).send);
        heartbeat.note_sent(108);
        assert!(heartbeat.tick(Timestamp(15_000), 108, 3).send);
    }

    #[test]
    fn a_silent_peer_is_lost_between_two_and_three_intervals() {
        let mut heartbeat = Heartbeat::default();
        heartbeat.start(1, Timestamp(0));
        assert!(!heartbeat.tick(Timestamp(1000), 0, 5).lost);
        assert!(!heartbeat.tick(Timestamp(2000), 0, 5).lost);
        assert!(heartbeat.tick(Timestamp(3000), 0, 5).lost);
    }

    #[test]
    fn no_peer_is_lost_while_it_is_not_read() {
        let mut heartbeat = Heartbeat::default();
        heartbeat.start(1, Timestamp(0));
        heartbeat.pause(true, Timestamp(0));
        for second in 1..10 {
            assert!(!heartbeat.tick(Timestamp(second * 1000), 0, 0).lost);
        }
        heartbeat.pause(false, Timestamp(10_000));
        assert!(!heartbeat.tick(Timestamp(11_000), 0, 5).lost);
    }

    #[test]
    fn interval_zero_is_no_heartbeat() {
        let mut heartbeat = Heartbeat::default();
        heartbeat.start(0, Timestamp(0));
        assert_eq!(heartbeat.next_deadline(), None);
        assert_eq!(heartbeat.tick(Timestamp(1 << 40), 0, 0), Due::default());
    }
}
