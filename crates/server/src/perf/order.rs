//! Whether the messages of each producer arrive in the order they were sent.

/// The last sequence number of each producer that one consumer of one queue has seen.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Vec<Option<u32>>,
    violations: u64,
}

impl Order {
    /// A delivery that is not a redelivery. Sequence numbers wrap; gaps are other consumers'
    /// messages, or untimed ones.
    pub(super) fn see(&mut self, producer: u16, sequence: u32) {
        let producer = usize::from(producer);
        if producer >= self.last.len() {
            self.last.resize(producer + 1, None);
        }
        let last = &mut self.last[producer];
        let behind =
            last.is_some_and(|last| sequence.wrapping_sub(last).wrapping_sub(1) > u32::MAX / 2);
        self.violations += u64::from(behind);
        *last = Some(sequence);
    }

    /// Messages that came after a later one, or twice.
    pub(super) fn violations(&self) -> u64 {
        self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seen: &[(u16, u32)], violations: u64) {
        let mut order = Order::default();
        for &(producer, sequence) in seen {
            order.see(producer, sequence);
        }
        assert_eq!(order.violations(), violations, "{seen:?}");
    }

    #[test]
    fn gaps_and_wrapping_are_in_order() {
        check(&[(0, 0), (0, 1), (0, 7)], 0);
        check(&[(0, u32::MAX - 1), (0, u32::MAX), (0, 0), (0, 5)], 0);
    }

    #[test]
    fn producers_are_apart() {
        check(&[(0, 5), (1, 1), (0, 6), (1, 2)], 0);
    }

    #[test]
    fn backwards_and_twice_are_violations() {
        check(&[(0, 5), (0, 4)], 1);
        check(&[(0, 5), (0, 5)], 1);
    }
}
