//! The network: every pair of nodes has a connection each way. Packets come late, and in order; when a connection breaks,
//! what is on its way is lost.

use rand::Rng;
use rand::rngs::StdRng;

/// The connections.
#[derive(Debug)]
pub(super) struct Network {
    n: usize,
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    cut: bool,
    /// Grows when the connection breaks.
    generation: u32,
    /// When the last packet arrives.
    last: u64,
}

impl Network {
    pub(super) fn new(n: usize) -> Self {
        Self { n, links: vec![Link::default(); n * n] }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.n + to]
    }

    pub(super) fn is_up(&self, from: usize, to: usize) -> bool {
        from == to || !self.links[from * self.n + to].cut
    }

    /// Whether packets go both ways.
    pub(super) fn talk(&self, a: usize, b: usize) -> bool {
        self.is_up(a, b) && self.is_up(b, a)
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        let link = self.link(from, to);
        link.cut = true;
        link.generation += 1;
    }

    /// Everything works again; says which connections are new.
    pub(super) fn heal(&mut self) -> Vec<(usize, usize)> {
        let cut = (0..self.links.len()).filter(|at| self.links[*at].cut);
        let healed: Vec<_> = cut.map(|at| (at / self.n, at % self.n)).collect();
        self.links.iter_mut().for_each(|link| link.cut = false);
        healed
    }

    /// The connection is made anew.
    pub(super) fn reset(&mut self, from: usize, to: usize) {
        self.link(from, to).generation += 1;
    }

    /// When a packet that is sent now arrives, and on which connection; never if there is none.
    pub(super) fn send(
        &mut self,
        from: usize,
        to: usize,
        now: u64,
        random: &mut StdRng,
    ) -> Option<(u64, u32)> {
        let delay = match random.random_range(0..100) {
            0 => random.random_range(20..200),
            1..10 => random.random_range(3..20),
            _ => random.random_range(0..3),
        };
        let link = self.link(from, to);
        if link.cut && from != to {
            return None;
        }
        link.last = link.last.max(now + delay);
        Some((link.last, link.generation))
    }

    pub(super) fn arrives(&self, from: usize, to: usize, generation: u32) -> bool {
        let link = &self.links[from * self.n + to];
        from == to || !link.cut && link.generation == generation
    }
}
