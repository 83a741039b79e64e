//! The messages of one producer that wait for their publisher confirm. Pure: time is an argument.

use std::collections::VecDeque;

/// A run of messages that were due at the same time.
#[derive(Debug, Clone, Copy)]
struct Run {
    first_tag: u64,
    n: u64,
    due_ns: u64,
}

/// Unconfirmed messages, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    limit: u64,
    next_tag: u64,
    in_flight: u64,
    runs: VecDeque<Run>,
}

impl Window {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.into(), next_tag: 1, in_flight: 0, runs: VecDeque::new() }
    }

    /// How many messages may be sent now.
    pub(super) fn room(&self) -> u64 {
        self.limit - self.in_flight
    }

    /// Whether every message has its confirm.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight == 0
    }

    /// `n` messages are about to be sent.
    pub(super) fn sent(&mut self, n: u64, due_ns: u64) {
        debug_assert!(n <= self.room());
        self.runs.push_back(Run { first_tag: self.next_tag, n, due_ns });
        self.next_tag += n;
        self.in_flight += n;
    }

    /// A confirm (ack or nack): calls `each(due_ns, n)` for the messages it settles and returns
    /// their number. Tags that were settled before or never sent settle nothing.
    // rabbitmq: confirms, the meaning of multiple
    pub(super) fn confirmed(
        &mut self,
        tag: u64,
        multiple: bool,
        mut each: impl FnMut(u64, u64),
    ) -> u64 {
        let settled = if multiple { self.up_to(tag, &mut each) } else { self.one(tag, &mut each) };
        self.in_flight -= settled;
        settled
    }

    fn up_to(&mut self, tag: u64, each: &mut impl FnMut(u64, u64)) -> u64 {
        let mut settled = 0;
        while let Some(run) = self.runs.front_mut() {
            if run.first_tag > tag {
                break;
            }
            let n = run.n.min(tag - run.first_tag + 1);
            each(run.due_ns, n);
            settled += n;
            if n == run.n {
                self.runs.pop_front();
            } else {
                run.first_tag += n;
                run.n -= n;
            }
        }
        settled
    }

    /// Confirms may come in any order: the run is split where the tag was.
    fn one(&mut self, tag: u64, each: &mut impl FnMut(u64, u64)) -> u64 {
        let at = self.runs.partition_point(|run| run.first_tag + run.n <= tag);
        let Some(run) = self.runs.get_mut(at) else { return 0 };
        if tag < run.first_tag {
            return 0;
        }
        each(run.due_ns, 1);
        let before = tag - run.first_tag;
        let after = Run { first_tag: tag + 1, n: run.n - before - 1, due_ns: run.due_ns };
        run.n = before;
        match (before, after.n) {
            (0, 0) => drop(self.runs.remove(at)),
            (0, _) => *run = after,
            (_, 0) => {}
            _ => self.runs.insert(at + 1, after),
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirm(window: &mut Window, tag: u64, multiple: bool) -> (u64, Vec<(u64, u64)>) {
        let mut seen = Vec::new();
        let n = window.confirmed(tag, multiple, |due, n| seen.push((due, n)));
        (n, seen)
    }

    #[test]
    fn room_shrinks_and_comes_back() {
        let mut window = Window::new(10);
        window.sent(4, 100);
        window.sent(6, 200);
        assert_eq!(window.room(), 0);
        assert_eq!(confirm(&mut window, 5, true), (5, vec![(100, 4), (200, 1)]));
        assert_eq!(window.room(), 5);
        assert_eq!(confirm(&mut window, 10, true), (5, vec![(200, 5)]));
        assert!(window.is_empty());
    }

    #[test]
    fn single_confirms_in_any_order() {
        let mut window = Window::new(5);
        window.sent(5, 7);
        for tag in [3, 1, 5, 2] {
            assert_eq!(confirm(&mut window, tag, false), (1, vec![(7, 1)]));
        }
        assert_eq!(window.room(), 4);
        assert_eq!(confirm(&mut window, 5, true), (1, vec![(7, 1)]));
        assert!(window.is_empty());
    }

    #[test]
    fn a_confirm_counts_once_and_only_for_what_was_sent() {
        let mut window = Window::new(5);
        window.sent(3, 7);
        assert_eq!(confirm(&mut window, 2, false).0, 1);
        assert_eq!(confirm(&mut window, 2, false).0, 0);
        assert_eq!(confirm(&mut window, 9, false).0, 0);
        assert_eq!(confirm(&mut window, 0, false).0, 0);
        assert_eq!(confirm(&mut window, 3, true).0, 2);
        assert_eq!(confirm(&mut window, 3, true).0, 0);
        assert_eq!(window.room(), 5);
    }

    /// Against a plain set of tags, over many random orders.
    #[test]
    fn agrees_with_a_set_of_tags() {
        let mut seed = 1u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut window = Window::new(50);
        let (mut open, mut sent) = (std::collections::BTreeSet::new(), 0u64);
        for _ in 0..20_000 {
            if next(2) == 0 {
                let n = next(10).min(window.room());
                if n > 0 {
                    window.sent(n, 1);
                    open.extend(sent + 1..=sent + n);
                    sent += n;
                }
            } else {
                let (tag, multiple) = ((sent + 3).saturating_sub(next(60)), next(3) == 0);
                let before = open.len();
                if multiple {
                    open.retain(|&t| t > tag);
                } else {
                    open.remove(&tag);
                }
                assert_eq!(confirm(&mut window, tag, multiple).0 as usize, before - open.len());
            }
            assert_eq!(window.room(), 50 - open.len() as u64);
        }
    }
}
