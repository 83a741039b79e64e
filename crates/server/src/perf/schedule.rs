//! When each message of a producer with a fixed rate is due. Pure arithmetic: time is nanoseconds
//! since the start.

/// Messages that are due within this time are due together, which bounds what a high rate costs in
/// system calls.
const TICK_NS: f64 = 100_000.0;

/// The due times of one producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    offset_ns: f64,
    tick_ns: f64,
    /// Messages per tick, at least one; may be fractional.
    per_tick: f64,
}

impl Schedule {
    /// `rate` messages per second; producer `index` of `producers` is shifted so that they take
    /// turns.
    pub(super) fn new(rate: f64, index: usize, producers: usize) -> Self {
        let interval_ns = 1e9 / rate;
        let tick_ns = interval_ns.max(TICK_NS);
        let offset_ns = tick_ns * index as f64 / producers as f64;
        Self { offset_ns, tick_ns, per_tick: (tick_ns / interval_ns).max(1.0) }
    }

    /// How many messages are due at `elapsed_ns`, since the start.
    pub(super) fn due(&self, elapsed_ns: u64) -> u64 {
        let since = elapsed_ns as f64 - self.offset_ns;
        if since < 0.0 {
            return 0;
        }
        let ticks = (since / self.tick_ns).floor() + 1.0;
        (ticks * self.per_tick).floor() as u64
    }

    /// When message `index` is due (the first is 0).
    pub(super) fn due_at_ns(&self, index: u64) -> u64 {
        let tick = ((index + 1) as f64 / self.per_tick).ceil() - 1.0;
        (self.offset_ns + tick * self.tick_ns).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_rate_gives_every_message_its_own_time() {
        let schedule = Schedule::new(5_000.0, 0, 1);
        assert_eq!(schedule.due(0), 1);
        assert_eq!(schedule.due(199_999), 1);
        assert_eq!(schedule.due(200_000), 2);
        assert_eq!(schedule.due_at_ns(0), 0);
        assert_eq!(schedule.due_at_ns(3), 600_000);
        assert_eq!(schedule.due(1_000_000_000 - 1), 5_000);
    }

    #[test]
    fn a_high_rate_is_due_in_ticks() {
        let schedule = Schedule::new(1_000_000.0, 0, 1);
        assert_eq!(schedule.due(0), 100);
        assert_eq!(schedule.due(99_999), 100);
        assert_eq!(schedule.due_at_ns(99), 0);
        assert_eq!(schedule.due_at_ns(100), 100_000);
    }

    #[test]
    fn every_message_is_due_at_its_time_and_not_before() {
        for rate in [0.3, 7.0, 999.9, 33_333.0, 123_456.7, 3e6] {
            let schedule = Schedule::new(rate, 1, 3);
            for index in (0..2_000).chain(1_000_000..1_001_000) {
                let at = schedule.due_at_ns(index);
                assert!(schedule.due(at + 1) > index, "{rate} {index}");
                let before = at.saturating_sub(2);
                assert!(before == 0 || schedule.due(before) <= index, "{rate} {index}");
            }
        }
    }

    #[test]
    fn the_rate_holds_over_a_long_time() {
        for rate in [0.5, 5_000.0, 33_333.0, 2_500_000.0] {
            let hour = Schedule::new(rate, 0, 1).due(3_600_000_000_000) as f64;
            assert!((hour - rate * 3600.0).abs() <= rate * 0.001 + 1.0, "{rate}: {hour}");
        }
    }

    #[test]
    fn producers_take_turns() {
        assert_eq!(Schedule::new(1_000.0, 1, 4).due_at_ns(0), 250_000);
        assert_eq!(Schedule::new(1_000.0, 1, 4).due(249_999), 0);
    }
}
