//! Connections between nodes: frames of one come in order, after a delay; what is under way when it is cut is lost.

use std::collections::BTreeMap;

/// The connections, each in both directions.
#[derive(Default)]
pub(super) struct Network {
    links: BTreeMap<(usize, usize), Link>,
}

#[derive(Clone, Copy, Default)]
struct Link {
    cut: bool,
    /// The how-manieth connection it is: frames of one before are lost.
    number: u32,
    /// When the last frame arrives.
    last: u64,
}

impl Network {
    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    pub(super) fn is_cut(&mut self, a: usize, b: usize) -> bool {
        self.link(a, b).cut
    }

    /// Cuts or mends both directions.
    pub(super) fn set(&mut self, a: usize, b: usize, cut: bool) {
        for (from, to) in [(a, b), (b, a)] {
            let link = self.link(from, to);
            link.cut = cut;
            link.number += 1;
        }
    }

    /// A new connection takes the place of the one before.
    pub(super) fn reset(&mut self, a: usize, b: usize) {
        let cut = self.is_cut(a, b);
        self.set(a, b, cut);
    }

    /// When a frame that is sent now arrives, and on which connection; `None` if it is lost.
    pub(super) fn send(
        &mut self,
        from: usize,
        to: usize,
        now: u64,
        delay: u64,
    ) -> Option<(u64, u32)> {
        let link = self.link(from, to);
        if link.cut {
            return None;
        }
        link.last = link.last.max(now + delay);
        Some((link.last, link.number))
    }

    /// Whether a connection is still the one that a frame was sent on.
    pub(super) fn arrives(&mut self, from: usize, to: usize, number: u32) -> bool {
        let link = self.link(from, to);
        !link.cut && link.number == number
    }
}
