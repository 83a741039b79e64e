//! Sets of positions within one priority level of a queue, kept as ranges: what was returned, what
//! was delivered before. Cost is per range, not per message.

use std::collections::BTreeMap;
use std::ops::Range;

/// Positions as disjoint ranges that do not touch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start of a range to its end.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: BTreeMap::new(), len: 0 }
    }

    /// How many positions.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many ranges.
    #[must_use]
    pub fn n_ranges(&self) -> usize {
        self.ranges.len()
    }

    /// The lowest range.
    #[must_use]
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.first_key_value().map(|(start, end)| *start..*end)
    }

    /// The highest range.
    #[must_use]
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.last_key_value().map(|(start, end)| *start..*end)
    }

    /// The ranges, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// Whether `at` is in the set.
    #[must_use]
    pub fn contains(&self, at: u64) -> bool {
        self.ranges.range(..=at).next_back().is_some_and(|(_, end)| at < *end)
    }

    /// Adds positions; those that are there already stay.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut merged = range.clone();
        while let Some((start, end)) = self.last_touching(&merged) {
            self.ranges.remove(&start);
            self.len -= end - start;
            merged = merged.start.min(start)..merged.end.max(end);
        }
        self.len += merged.end - merged.start;
        self.ranges.insert(merged.start, merged.end);
    }

    /// The highest range that overlaps or touches `range`.
    fn last_touching(&self, range: &Range<u64>) -> Option<(u64, u64)> {
        let (start, end) = self.ranges.range(..=range.end).next_back()?;
        (*end >= range.start).then_some((*start, *end))
    }

    /// Removes positions and says how many of them were there.
    pub fn remove(&mut self, range: Range<u64>) -> u64 {
        let before = self.len;
        while let Some((start, end)) = self.last_overlapping(&range) {
            self.ranges.remove(&start);
            self.len -= end - start;
            self.keep(start..range.start.min(end));
            self.keep(range.end.max(start)..end);
        }
        before - self.len
    }

    fn last_overlapping(&self, range: &Range<u64>) -> Option<(u64, u64)> {
        if range.is_empty() {
            return None;
        }
        let (start, end) = self.ranges.range(..range.end).next_back()?;
        (*end > range.start).then_some((*start, *end))
    }

    fn keep(&mut self, rest: Range<u64>) {
        if !rest.is_empty() {
            self.len += rest.end - rest.start;
            self.ranges.insert(rest.start, rest.end);
        }
    }

    /// The longest stretch from the start of `range` that is wholly in the set or wholly outside
    /// it: its end, and whether it is inside.
    #[must_use]
    pub fn stretch(&self, range: Range<u64>) -> (u64, bool) {
        if self.is_empty() {
            return (range.end, false);
        }
        if let Some((_, end)) = self.ranges.range(..=range.start).next_back()
            && *end > range.start
        {
            return (range.end.min(*end), true);
        }
        let next = self.ranges.range(range.start..).next().map_or(range.end, |(start, _)| *start);
        (range.end.min(next), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 1..80)
        ) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for (insert, start, n) in steps {
                let range = start..start + n;
                if insert {
                    set.insert(range.clone());
                    model.extend(range);
                } else {
                    let removed = set.remove(range.clone());
                    let before = model.len();
                    model.retain(|at| !range.contains(at));
                    prop_assert_eq!(removed as usize, before - model.len());
                }
                prop_assert_eq!(set.len() as usize, model.len());
                let flat: Vec<u64> = set.iter().flatten().collect();
                prop_assert_eq!(&flat, &model.iter().copied().collect::<Vec<_>>());
                let ranges: Vec<_> = set.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
                for at in 0..75 {
                    prop_assert_eq!(set.contains(at), model.contains(&at));
                    let (end, inside) = set.stretch(at..75);
                    prop_assert!((at..end).all(|x| model.contains(&x) == inside));
                    prop_assert!(end == 75 || model.contains(&end) != inside);
                }
            }
        }
    }
}
