//! The topic exchange: patterns of words. Hot path.
//!
//! A pattern without wildcards is looked up whole, as in a direct exchange. The others are in a trie:
//! a node of the trie is the end of a prefix of patterns. Words are numbered, and an edge is found
//! by the numbers of its node and its word, so a step costs one look-up of integers.
//!
//! A message is matched like by an automaton: word by word, with the set of nodes reached so far. A
//! node behind a `#` stays reached for all the words that follow. Every node is reached at most once
//! for each word, so no pattern takes more than (words of the key) × (nodes of the trie) steps.
// rabbitmq: topic exchange

mod words;

use super::direct::DirectIndex;
use super::targets::{Target, TargetSet};
use crate::slab::Slab;
use foldhash::HashMap;
use std::sync::Arc;
use words::Words;

pub(crate) use words::split;

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;
const STAR: &[u8] = b"*";
const HASH: &[u8] = b"#";

/// Bindings by their patterns.
#[derive(Clone, Debug)]
pub(crate) struct TopicIndex {
    /// Patterns without wildcards.
    exact: DirectIndex,
    /// The trie of the others.
    nodes: Slab<Node>,
    /// From a node by a plain word.
    edges: HashMap<u64, u32>,
    words: Words,
    /// Nodes behind a `#`: the slot is the bit in [`TopicScratch::bits`].
    hashes: Slab<()>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    step: Step,
    /// The child behind `*`.
    star: u32,
    /// The child behind `#`.
    hash: u32,
    /// Children of every kind.
    children: u32,
    /// The bit of a node behind `#`, else `NONE`.
    bit: u32,
    targets: TargetSet,
}

/// How a node is reached from its parent.
#[derive(Clone, Copy, Debug)]
enum Step {
    Root,
    Star,
    Hash,
    Word(u32),
}

/// What matching needs for a while; reused from message to message.
#[derive(Debug, Default)]
pub(crate) struct TopicScratch {
    /// Nodes reached by exactly the words so far.
    here: Vec<u32>,
    next: Vec<u32>,
    /// Nodes behind `#` that stay reached.
    staying: Vec<u32>,
    /// Which of those are in `staying`.
    bits: Vec<u64>,
}

impl Default for TopicIndex {
    fn default() -> Self {
        let mut nodes = Slab::default();
        nodes.insert(Node::new(NONE, Step::Root, NONE));
        let exact = DirectIndex::default();
        let (edges, words, hashes) = (HashMap::default(), Words::default(), Slab::default());
        Self { exact, nodes, edges, words, hashes }
    }
}

impl Node {
    fn new(parent: u32, step: Step, bit: u32) -> Self {
        let targets = TargetSet::default();
        Self { parent, step, star: NONE, hash: NONE, children: 0, bit, targets }
    }
}

impl TopicIndex {
    pub(crate) fn add(&mut self, pattern: &Arc<[u8]>, target: Target) {
        if !has_wildcard(pattern) {
            return self.exact.add(pattern, target);
        }
        let mut at = ROOT;
        for word in split(pattern) {
            at = match self.child(at, word) {
                Some(child) => child,
                None => self.grow(at, word),
            };
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.add(target);
        }
    }

    pub(crate) fn remove(&mut self, pattern: &[u8], target: Target) {
        if !has_wildcard(pattern) {
            return self.exact.remove(pattern, target);
        }
        let Some(mut at) = split(pattern).try_fold(ROOT, |at, word| self.child(at, word)) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.remove(target);
        }
        while let Some(parent) = self.prune(at) {
            at = parent;
        }
    }

    fn child(&self, at: u32, word: &[u8]) -> Option<u32> {
        let node = self.nodes.get(at)?;
        match word {
            STAR => some(node.star),
            HASH => some(node.hash),
            word => self.edges.get(&edge(at, self.words.number(word)?)).copied(),
        }
    }

    fn grow(&mut self, at: u32, word: &[u8]) -> u32 {
        let (step, bit) = match word {
            STAR => (Step::Star, NONE),
            HASH => (Step::Hash, self.hashes.insert(())),
            word => (Step::Word(self.words.take(word)), NONE),
        };
        let child = self.nodes.insert(Node::new(at, step, bit));
        if let Some(node) = self.nodes.get_mut(at) {
            node.children += 1;
            match step {
                Step::Star => node.star = child,
                Step::Hash => node.hash = child,
                Step::Root | Step::Word(_) => {}
            }
        }
        if let Step::Word(number) = step {
            self.edges.insert(edge(at, number), child);
        }
        child
    }

    /// Removes a node that leads nowhere, and answers with its parent.
    fn prune(&mut self, at: u32) -> Option<u32> {
        let node = self.nodes.get(at)?;
        if at == ROOT || node.children > 0 || !node.targets.is_empty() {
            return None;
        }
        let Node { parent, step, bit, .. } = self.nodes.remove(at)?;
        let above = self.nodes.get_mut(parent)?;
        above.children -= 1;
        match step {
            Step::Root => {}
            Step::Star => above.star = NONE,
            Step::Hash => {
                above.hash = NONE;
                self.hashes.remove(bit);
            }
            Step::Word(number) => {
                self.edges.remove(&edge(parent, number));
                self.words.release(number);
            }
        }
        Some(parent)
    }

    /// Appends the destinations of every pattern that matches `key`; says whether there may be
    /// repetitions.
    pub(crate) fn route(
        &self,
        key: &[u8],
        scratch: &mut TopicScratch,
        out: &mut Vec<Target>,
    ) -> bool {
        let before = out.len();
        self.exact.route(key, out);
        let mut sources = usize::from(out.len() > before);
        if self.is_trivial() {
            return false;
        }
        scratch.start(self.hashes.slots());
        self.reach(ROOT, scratch);
        std::mem::swap(&mut scratch.here, &mut scratch.next);
        for word in split(key) {
            self.step(word, scratch);
        }
        for &at in scratch.here.iter().chain(&scratch.staying) {
            if let Some(node) = self.nodes.get(at)
                && !node.targets.is_empty()
            {
                out.extend_from_slice(node.targets.as_slice());
                sources += 1;
            }
        }
        scratch.end(|at| self.nodes.get(at).map_or(0, |node| node.bit));
        sources > 1
    }

    /// Whether no pattern has a wildcard.
    fn is_trivial(&self) -> bool {
        self.nodes.len() == 1
    }

    /// From the nodes reached before a word to those reached after it.
    fn step(&self, word: &[u8], scratch: &mut TopicScratch) {
        let number = self.words.number(word);
        scratch.next.clear();
        let before = scratch.staying.len();
        for i in 0..scratch.here.len() {
            self.leave(scratch.here.get(i).copied(), number, scratch);
        }
        for i in 0..before {
            self.leave(scratch.staying.get(i).copied(), number, scratch);
        }
        std::mem::swap(&mut scratch.here, &mut scratch.next);
    }

    #[inline]
    fn leave(&self, at: Option<u32>, word: Option<u32>, scratch: &mut TopicScratch) {
        let Some(at) = at else { return };
        let Some(node) = self.nodes.get(at) else { return };
        if node.children == 0 {
            return;
        }
        if node.star != NONE {
            self.reach(node.star, scratch);
        }
        if let Some(word) = word
            && let Some(&child) = self.edges.get(&edge(at, word))
        {
            self.reach(child, scratch);
        }
    }

    /// Reaches a node, and with it what a `#` right behind it reaches without a word.
    fn reach(&self, at: u32, scratch: &mut TopicScratch) {
        scratch.next.push(at);
        let mut at = at;
        while let Some(node) = self.nodes.get(at)
            && let Some(behind) = self.nodes.get(node.hash)
            && scratch.set(behind.bit)
        {
            at = node.hash;
            scratch.staying.push(at);
        }
    }
}

fn has_wildcard(pattern: &[u8]) -> bool {
    split(pattern).any(|word| matches!(word, STAR | HASH))
}

/// A node and a word as one number, which is hashed in one step.
fn edge(at: u32, word: u32) -> u64 {
    u64::from(at) << 32 | u64::from(word)
}

fn some(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}

impl TopicScratch {
    fn start(&mut self, bits: usize) {
        self.here.clear();
        self.next.clear();
        self.staying.clear();
        if self.bits.len() * 64 < bits {
            self.bits.resize(bits.div_ceil(64), 0);
        }
    }

    /// Sets a bit; false if it was set.
    fn set(&mut self, bit: u32) -> bool {
        let Some(word) = self.bits.get_mut(bit as usize / 64) else { return false };
        let mask = 1 << (bit % 64);
        let new = *word & mask == 0;
        *word |= mask;
        new
    }

    /// Clears the bits that were set.
    fn end(&mut self, bit_of: impl Fn(u32) -> u32) {
        for &at in &self.staying {
            if let Some(word) = self.bits.get_mut(bit_of(at) as usize / 64) {
                *word = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
