//! The headers exchange: destinations by header values. Hot path.
//!
//! Every binding stands in a bucket of the index: one that wants all its criteria in the bucket of
//! the rarest of them, one that wants any in the bucket of each. A message looks into the buckets of
//! its own headers and checks what it finds there.
// rabbitmq: headers exchange

mod criteria;
mod value;

use super::targets::{Target, TargetSet};
use crate::slab::Slab;
use criteria::{Criteria, Criterion, Mode};
use foldhash::HashMap;
use leveret_codec::{Table, TableView, ValueView};
use smallvec::SmallVec;
use std::hash::BuildHasher;

pub(crate) use criteria::check_arguments;

/// Bindings by their criteria.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadersIndex {
    bindings: Slab<HeadersBinding>,
    /// Bindings that want nothing, and so match everything.
    always: TargetSet,
    /// By the hash of name and value. What is found is checked in full, so hashes may collide.
    buckets: HashMap<u64, Bucket>,
    hasher: foldhash::fast::RandomState,
    /// Registered criteria that want mere presence; without any, one look-up per header is saved.
    n_presence: u32,
}

type Bucket = SmallVec<[Entry; 1]>;

/// A criterion of a binding.
#[derive(Clone, Copy, Debug)]
struct Entry {
    binding: u32,
    criterion: u32,
}

#[derive(Clone, Debug)]
struct HeadersBinding {
    target: Target,
    mode: Mode,
    criteria: Box<[Registered]>,
}

#[derive(Clone, Debug)]
struct Registered {
    criterion: Criterion,
    hash: u64,
    /// Where in the bucket of `hash`, if it is there.
    position: Option<u32>,
}

/// The headers of a message by name; of repeated names the first counts.
type Fields<'a> = SmallVec<[(&'a [u8], u32, ValueView<'a>); 16]>;

impl HeadersIndex {
    /// Adds a binding and answers with the number to remove it by.
    pub(crate) fn add(&mut self, arguments: &Table, target: Target) -> u32 {
        let Criteria { mode, criteria } = Criteria::read(arguments);
        if criteria.is_empty() && mode == Mode::All {
            self.always.add(target);
        }
        let registered = |criterion: Criterion| {
            let hash = criterion.hash(&self.hasher);
            Registered { criterion, hash, position: None }
        };
        let criteria: Box<[_]> = criteria.into_iter().map(registered).collect();
        let anchor = self.rarest(&criteria);
        let n = criteria.len();
        let binding = self.bindings.insert(HeadersBinding { target, mode, criteria });
        match mode {
            Mode::All => anchor.into_iter().for_each(|i| self.register(binding, i)),
            Mode::Any => (0..n as u32).for_each(|i| self.register(binding, i)),
        }
        binding
    }

    pub(crate) fn remove(&mut self, binding: u32) {
        let Some(HeadersBinding { target, mode, criteria }) = self.bindings.remove(binding) else {
            return;
        };
        if criteria.is_empty() && mode == Mode::All {
            self.always.remove(target);
        }
        for Registered { criterion, hash, position } in criteria {
            let Some(position) = position else { continue };
            self.n_presence -= u32::from(criterion.is_presence());
            self.leave_bucket(hash, position);
        }
    }

    /// Of the criteria the one whose bucket is smallest; presence only if there is nothing better.
    fn rarest(&self, criteria: &[Registered]) -> Option<u32> {
        let cost = |(i, registered): &(usize, &Registered)| {
            let len = self.buckets.get(&registered.hash).map_or(0, |bucket| bucket.len());
            (registered.criterion.is_presence(), len, *i)
        };
        let (i, _) = criteria.iter().enumerate().min_by_key(cost)?;
        Some(i as u32)
    }

    fn register(&mut self, binding: u32, criterion: u32) {
        let Some(registered) = self
            .bindings
            .get_mut(binding)
            .and_then(|binding| binding.criteria.get_mut(criterion as usize))
        else {
            return;
        };
        let bucket = self.buckets.entry(registered.hash).or_default();
        registered.position = Some(bucket.len() as u32);
        bucket.push(Entry { binding, criterion });
        self.n_presence += u32::from(registered.criterion.is_presence());
    }

    fn leave_bucket(&mut self, hash: u64, position: u32) {
        let Some(bucket) = self.buckets.get_mut(&hash) else { return };
        bucket.swap_remove(position as usize);
        match bucket.get(position as usize).copied() {
            Some(moved) => {
                if let Some(binding) = self.bindings.get_mut(moved.binding)
                    && let Some(registered) = binding.criteria.get_mut(moved.criterion as usize)
                {
                    registered.position = Some(position);
                }
            }
            None if bucket.is_empty() => {
                self.buckets.remove(&hash);
            }
            None => {}
        }
    }

    /// Appends the destinations of every binding that matches, with repetitions; says whether there
    /// may be any.
    pub(crate) fn route(&self, headers: Option<TableView<'_>>, out: &mut Vec<Target>) -> bool {
        let before = out.len();
        out.extend_from_slice(self.always.as_slice());
        if !self.buckets.is_empty() {
            let fields = fields(headers.unwrap_or_default());
            for &(name, _, value) in &fields {
                if self.n_presence > 0 {
                    self.look(value::hash_presence(&self.hasher, name), &fields, out);
                }
                self.look(value::hash(&self.hasher, name, value), &fields, out);
            }
        }
        out.len() - before > 1
    }

    #[inline]
    fn look(&self, hash: u64, fields: &Fields<'_>, out: &mut Vec<Target>) {
        let Some(bucket) = self.buckets.get(&hash) else { return };
        for entry in bucket {
            if let Some(binding) = self.bindings.get(entry.binding)
                && binding.matches(entry.criterion, fields)
            {
                out.push(binding.target);
            }
        }
    }
}

impl HeadersBinding {
    /// Whether the message matches, given that it seems to fulfil one criterion.
    fn matches(&self, criterion: u32, fields: &Fields<'_>) -> bool {
        match self.mode {
            Mode::All => {
                self.criteria.iter().all(|registered| registered.criterion.holds_in(fields))
            }
            Mode::Any => self
                .criteria
                .get(criterion as usize)
                .is_some_and(|registered| registered.criterion.holds_in(fields)),
        }
    }
}

impl Criterion {
    fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        match &self.value {
            None => value::hash_presence(hasher, &self.name),
            Some(value) => value.hash(hasher, &self.name),
        }
    }

    #[inline]
    fn holds_in(&self, fields: &Fields<'_>) -> bool {
        let found = if fields.len() <= 8 {
            fields.iter().find(|(name, ..)| *name == &*self.name)
        } else {
            fields
                .binary_search_by(|(name, ..)| (*name).cmp(&self.name))
                .ok()
                .and_then(|position| fields.get(position))
        };
        match (found, &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((_, _, found)), Some(wanted)) => wanted.equals(*found),
        }
    }
}

/// Sorted by name, so that a hostile table of many headers costs no more than a sort. Fields behind
/// damage are not seen.
fn fields(headers: TableView<'_>) -> Fields<'_> {
    let mut fields: Fields<'_> = headers
        .iter()
        .map_while(Result::ok)
        .enumerate()
        .map(|(i, (name, value))| (name, i as u32, value))
        .collect();
    if fields.len() > 1 {
        fields.sort_unstable_by_key(|&(name, i, _)| (name, i));
        fields.dedup_by_key(|&mut (name, ..)| name);
    }
    fields
}

#[cfg(test)]
mod tests;
