//! Which records are not retired and how large they are, so that retiring names keys and never looks
//! for them: looking would walk what was deleted before.

use std::collections::VecDeque;

use crate::Gcn;

/// Twelve to sixteen bytes per record that is not retired.
#[derive(Debug, Default)]
pub(super) struct Window {
    records: VecDeque<(Gcn, u32)>,
    bytes: u64,
}

impl Window {
    pub(super) fn push(&mut self, gcn: Gcn, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.records.push_back((gcn, bytes));
        self.bytes += u64::from(bytes);
    }

    /// The records up to `upto` that exist, oldest first.
    pub(super) fn upto(&self, upto: Gcn) -> impl Iterator<Item = Gcn> {
        self.records.iter().map(|(gcn, _)| *gcn).take_while(move |gcn| *gcn <= upto)
    }

    pub(super) fn retire(&mut self, upto: Gcn) {
        while let Some((_, bytes)) = self.records.pop_front_if(|(gcn, _)| *gcn <= upto) {
            self.bytes -= u64::from(bytes);
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn last(&self) -> Option<Gcn> {
        self.records.back().map(|(gcn, _)| *gcn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_that_exist_are_retired() {
        let mut window = Window::default();
        for (gcn, bytes) in [(1, 10), (2, 20), (5, 30)] {
            window.push(Gcn(gcn), bytes);
        }
        assert_eq!(window.upto(Gcn(4)).collect::<Vec<_>>(), [Gcn(1), Gcn(2)]);
        window.retire(Gcn(4));
        assert_eq!((window.len(), window.bytes(), window.last()), (1, 30, Some(Gcn(5))));
    }
}
