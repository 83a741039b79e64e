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
/// The oldest run and the newest are kept beside the tree, since most tags leave in the order in
/// which they came and new ones continue the newest. The tree is keyed by the *last* tag of a run,
/// so that trimming its front keeps the key.
///
/// Invariant: every tag of `front` is below those of `rest`, and those are below `back`; `rest` and
/// `back` are empty if `front` is.
#[derive(Debug)]
pub(crate) struct TagRuns<V> {
    front: Option<Run<V>>,
    rest: BTreeMap<u64, Run<V>>,
    back: Option<Run<V>>,
    tags: u64,
}

impl<V> Default for TagRuns<V> {
    fn default() -> Self {
        Self { front: None, rest: BTreeMap::new(), back: None, tags: 0 }
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
        self.rest.len() + usize::from(self.front.is_some()) + usize::from(self.back.is_some())
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
    #[inline]
    pub(crate) fn push(&mut self, run: Run<V>) {
        if run.n == 0 {
            return;
        }
        self.tags += u64::from(run.n);
        if let Some(back) = &mut self.back {
            debug_assert!(back.last() < run.first, "tags ascend");
            if continues(back, &run) {
                back.n += run.n;
            } else {
                self.rest.insert(back.last(), *back);
                *back = run;
            }
            return;
        }
        match &mut self.front {
            None => self.front = Some(run),
            Some(front) if self.rest.is_empty() && continues(front, &run) => front.n += run.n,
            Some(_) => self.back = Some(run),
        }
    }

    /// Puts back a run that was taken out.
    pub(crate) fn restore(&mut self, run: Run<V>) {
        if run.n == 0 {
            return;
        }
        self.tags += u64::from(run.n);
        let mut middle = run;
        match &mut self.front {
            None => {
                self.front = Some(run);
                return;
            }
            Some(front) if run.first < front.first => middle = std::mem::replace(front, run),
            Some(_) => {}
        }
        if let Some(back) = &mut self.back
            && middle.first > back.first
        {
            middle = std::mem::replace(back, middle);
        }
        self.rest.insert(middle.last(), middle);
    }

    /// Whether the tag is in the set.
    pub(crate) fn contains(&self, tag: u64) -> bool {
        self.at_or_above(tag).is_some_and(|run| run.contains(tag))
    }

    /// Takes one tag out.
    #[inline]
    pub(crate) fn take(&mut self, tag: u64) -> Option<Run<V>> {
        let front = self.front.as_mut()?;
        if tag == front.first {
            let part = front.part(tag, tag);
            self.tags -= 1;
            self.trim_front(1);
            return Some(part);
        }
        let run = self.at_or_above(tag).filter(|run| run.contains(tag))?;
        self.cut(run, tag, tag);
        Some(run.part(tag, tag))
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
        if self.front.is_some_and(|front| front.first >= first) {
            return self.take_through(last, take);
        }
        let mut next = first;
        while next <= last {
            let Some(run) = self.at_or_above(next) else { return };
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

    /// The run that holds `tag`, or else the next one above it.
    fn at_or_above(&self, tag: u64) -> Option<Run<V>> {
        if let Some(front) = self.front
            && tag <= front.last()
        {
            return Some(front);
        }
        match self.back {
            Some(back) if tag >= back.first => (tag <= back.last()).then_some(back),
            _ => self.rest.range(tag..).next().map(|(_, run)| *run).or(self.back),
        }
    }

    /// Removes `from..=to` from the stored `run`, keeping what is left of it on either side.
    fn cut(&mut self, run: Run<V>, from: u64, to: u64) {
        self.tags -= to - from + 1;
        let lower = (from > run.first).then(|| run.part(run.first, from - 1));
        let upper = (to < run.last()).then(|| run.part(to + 1, run.last()));
        let holds = |place: &Option<Run<V>>| place.is_some_and(|at| at.first == run.first);
        if holds(&self.front) {
            self.front = lower;
            self.keep(upper);
            if self.front.is_none() {
                self.front = self.next_front();
            }
        } else if holds(&self.back) {
            self.back = upper;
            self.keep(lower);
        } else {
            self.rest.remove(&run.last());
            self.keep(lower);
            self.keep(upper);
        }
    }

    fn keep(&mut self, run: Option<Run<V>>) {
        if let Some(run) = run {
            self.rest.insert(run.last(), run);
        }
    }

    fn next_front(&mut self) -> Option<Run<V>> {
        self.rest.pop_first().map(|(_, run)| run).or_else(|| self.back.take())
    }

    #[inline]
    fn trim_front(&mut self, n: u32) {
        let Some(front) = &mut self.front else { return };
        if n == front.n {
            self.front = self.next_front();
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
