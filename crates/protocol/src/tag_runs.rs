//! Runs of consecutive tags, each with a value: what is unacked on a channel and what is
//! unconfirmed. Hot path: a batch is one run, whatever its length; taking tags from the front
//! trims, taking them from the middle splits.

use std::collections::BTreeMap;

/// What a run carries besides its tags.
pub(crate) trait RunValue: Copy {
    /// The value of the run that begins `n` tags later.
    fn advanced(self, n: u32) -> Self;

    /// Whether a run with `next`, which begins `n` tags after this one, merely continues it.
    fn continued_by(self, n: u32, next: Self) -> bool;
}

/// `n` consecutive tags from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run<V> {
    pub(crate) first: u64,
    pub(crate) n: u32,
    pub(crate) value: V,
}

impl<V: RunValue> Run<V> {
    fn last(&self) -> u64 {
        self.first + u64::from(self.n) - 1
    }

    fn contains(&self, tag: u64) -> bool {
        tag >= self.first && tag <= self.last()
    }

    /// The part from `first` to `last`, which must lie within.
    fn part(&self, first: u64, last: u64) -> Self {
        debug_assert!(first >= self.first && last <= self.last() && first <= last);
        Self {
            first,
            n: (last - first + 1) as u32,
            value: self.value.advanced((first - self.first) as u32),
        }
    }
}

/// A set of tags as runs in ascending order.
///
/// The oldest run is kept beside the tree, since most tags leave in the order in which they
/// came. The tree is keyed by the *last* tag of a run, so that trimming its front keeps the key.
#[derive(Debug)]
pub(crate) struct TagRuns<V> {
    front: Option<Run<V>>,
    rest: BTreeMap<u64, Run<V>>,
    tags: u64,
}

impl<V> Default for TagRuns<V> {
    fn default() -> Self {
        Self { front: None, rest: BTreeMap::new(), tags: 0 }
    }
}

impl<V: RunValue> TagRuns<V> {
    /// How many tags are in the set.
    pub(crate) fn len(&self) -> u64 {
        self.tags
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.tags == 0
    }

    /// How many runs hold them; what bounds the memory.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> usize {
        self.rest.len() + usize::from(self.front.is_some())
    }

    /// The lowest tag.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.front.map(|run| run.first)
    }

    /// The run with the lowest tags.
    pub(crate) fn front(&self) -> Option<&Run<V>> {
        self.front.as_ref()
    }

    /// Adds a run above all others.
    pub(crate) fn push(&mut self, run: Run<V>) {
        if run.n == 0 {
            return;
        }
        self.tags += u64::from(run.n);
        let Some(front) = &mut self.front else {
            self.front = Some(run);
            return;
        };
        if let Some(mut last) = self.rest.last_entry() {
            debug_assert!(last.get().last() < run.first, "tags ascend");
            if continues(last.get(), &run) {
                let mut merged = *last.get_mut();
                last.remove();
                merged.n += run.n;
                self.rest.insert(merged.last(), merged);
                return;
            }
        } else {
            debug_assert!(front.last() < run.first, "tags ascend");
            if continues(front, &run) {
                front.n += run.n;
                return;
            }
        }
        self.rest.insert(run.last(), run);
    }

    /// Puts back a run that was taken out.
    pub(crate) fn restore(&mut self, run: Run<V>) {
        if run.n == 0 {
            return;
        }
        self.tags += u64::from(run.n);
        match &mut self.front {
            None => self.front = Some(run),
            Some(front) if run.first < front.first => {
                let old = std::mem::replace(front, run);
                self.rest.insert(old.last(), old);
            }
            Some(_) => {
                self.rest.insert(run.last(), run);
            }
        }
    }

    /// Whether the tag is in the set.
    pub(crate) fn contains(&self, tag: u64) -> bool {
        match &self.front {
            Some(front) if tag <= front.last() => front.contains(tag),
            Some(_) => self.rest.range(tag..).next().is_some_and(|(_, run)| run.contains(tag)),
            None => false,
        }
    }

    /// Takes one tag out.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Run<V>> {
        let front = self.front.as_mut()?;
        if tag > front.last() {
            return self.take_from_rest(tag);
        }
        if !front.contains(tag) {
            return None;
        }
        let part = front.part(tag, tag);
        self.tags -= 1;
        if tag == front.first {
            self.trim_front(1);
        } else {
            let run = *front;
            let lower = run.part(run.first, tag - 1);
            *front = lower;
            if tag < run.last() {
                let upper = run.part(tag + 1, run.last());
                self.rest.insert(upper.last(), upper);
            }
        }
        Some(part)
    }

    /// Takes every tag from the lowest up to and including `tag`, run by run.
    pub(crate) fn take_through(&mut self, tag: u64, mut take: impl FnMut(Run<V>)) {
        while let Some(front) = self.front {
            if front.first > tag {
                break;
            }
            let n = (front.last().min(tag) - front.first + 1) as u32;
            take(front.part(front.first, front.first + u64::from(n) - 1));
            self.tags -= u64::from(n);
            self.trim_front(n);
        }
    }

    /// Takes every tag from `first` on that lies within the `n` tags, run by run.
    pub(crate) fn take_range(&mut self, first: u64, n: u32, mut take: impl FnMut(Run<V>)) {
        let last = first + u64::from(n).saturating_sub(1);
        if let Some(front) = self.front
            && front.first >= first
        {
            self.take_through(last, take);
            return;
        }
        let mut next = first;
        while next <= last {
            let Some(run) = self.run_at_or_above(next) else { return };
            let (from, to) = (run.first.max(next), run.last().min(last));
            if from > to {
                return;
            }
            take(run.part(from, to));
            self.cut(run, from, to);
            next = to + 1;
        }
    }

    /// Takes everything out.
    pub(crate) fn take_all(&mut self, take: impl FnMut(Run<V>)) {
        self.take_through(u64::MAX, take);
    }

    fn run_at_or_above(&self, tag: u64) -> Option<Run<V>> {
        match self.front {
            Some(front) if tag <= front.last() => Some(front),
            _ => self.rest.range(tag..).next().map(|(_, run)| *run),
        }
    }

    /// Removes `from..=to` from the stored `run`, keeping what is left of it on either side.
    fn cut(&mut self, run: Run<V>, from: u64, to: u64) {
        let is_front = self.front.is_some_and(|front| front.first == run.first);
        if is_front {
            self.front = None;
        } else {
            self.rest.remove(&run.last());
        }
        self.tags -= to - from + 1;
        if to < run.last() {
            let upper = run.part(to + 1, run.last());
            self.rest.insert(upper.last(), upper);
        }
        if from > run.first {
            let lower = run.part(run.first, from - 1);
            if is_front {
                self.front = Some(lower);
            } else {
                self.rest.insert(lower.last(), lower);
            }
        }
        if self.front.is_none() {
            self.front = self.rest.pop_first().map(|(_, run)| run);
        }
    }

    fn take_from_rest(&mut self, tag: u64) -> Option<Run<V>> {
        let (_, run) = self.rest.range(tag..).next()?;
        let run = *run;
        if !run.contains(tag) {
            return None;
        }
        self.cut(run, tag, tag);
        Some(run.part(tag, tag))
    }

    fn trim_front(&mut self, n: u32) {
        let Some(front) = &mut self.front else { return };
        if n == front.n {
            self.front = self.rest.pop_first().map(|(_, run)| run);
        } else {
            front.first += u64::from(n);
            front.n -= n;
            front.value = front.value.advanced(n);
        }
    }
}

fn continues<V: RunValue>(run: &Run<V>, next: &Run<V>) -> bool {
    run.last() + 1 == next.first
        && run.n.checked_add(next.n).is_some()
        && run.value.continued_by(run.n, next.value)
}

#[cfg(test)]
mod tests;
