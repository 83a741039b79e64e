//! Runs against a plain set of tags.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap as Model;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u64);

impl RunValue for At {
    fn advanced(self, n: u32) -> Self {
        Self(self.0 + u64::from(n))
    }

    fn continued_by(self, n: u32, next: Self) -> bool {
        self.0 + u64::from(n) == next.0
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { gap: u64, n: u32, value: u64 },
    Take(u64),
    Through(u64),
    Range(u64, u32),
    TakeAndRestore(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2u64, 1..6u32, 0..3u64).prop_map(|(gap, n, value)| Step::Push { gap, n, value }),
        (0..60u64).prop_map(Step::Take),
        (0..60u64).prop_map(Step::Through),
        (0..60u64, 1..8u32).prop_map(|(first, n)| Step::Range(first, n)),
        (0..60u64).prop_map(Step::TakeAndRestore),
    ]
}

fn expand(run: Run<At>) -> Vec<(u64, u64)> {
    (0..run.n).map(|i| (run.first + u64::from(i), run.value.0 + u64::from(i))).collect()
}

proptest! {
    #[test]
    fn runs_behave_as_a_map_of_tags(steps in proptest::collection::vec(step(), 1..60)) {
        let mut runs = TagRuns::default();
        let mut model: Model<u64, u64> = Model::new();
        let mut next = 1;
        for step in steps {
            let mut taken = Vec::new();
            let mut expected = Vec::new();
            match step {
                Step::Push { gap, n, value } => {
                    next += gap;
                    let value = At(next + value * 1000);
                    runs.push(Run { first: next, n, value });
                    for i in 0..u64::from(n) {
                        model.insert(next + i, value.0 + i);
                    }
                    next += u64::from(n);
                }
                Step::Take(tag) => {
                    taken.extend(runs.take(tag).into_iter().flat_map(expand));
                    expected.extend(model.remove_entry(&tag));
                }
                Step::Through(tag) => {
                    runs.take_through(tag, |run| taken.extend(expand(run)));
                    let above = model.split_off(&(tag + 1));
                    expected.extend(std::mem::replace(&mut model, above));
                }
                Step::Range(first, n) => {
                    runs.take_range(first, n, |run| taken.extend(expand(run)));
                    let mut above = model.split_off(&first);
                    let keep = above.split_off(&(first + u64::from(n)));
                    expected.extend(above);
                    model.extend(keep);
                }
                Step::TakeAndRestore(tag) => {
                    if let Some(run) = runs.take(tag) {
                        prop_assert!(!runs.contains(tag));
                        runs.restore(run);
                    }
                }
            }
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(runs.len(), model.len() as u64);
            prop_assert_eq!(runs.is_empty(), model.is_empty());
            prop_assert_eq!(runs.lowest(), model.keys().next().copied());
            for tag in 0..next {
                prop_assert_eq!(runs.contains(tag), model.contains_key(&tag));
            }
        }
        let mut all = Vec::new();
        runs.take_all(|run| all.extend(expand(run)));
        prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(runs.runs(), 0);
    }
}

#[test]
fn tags_taken_in_order_stay_one_run() {
    let mut runs = TagRuns::default();
    runs.push(Run { first: 1, n: 1000, value: At(1) });
    runs.push(Run { first: 1001, n: 1000, value: At(1001) });
    assert_eq!(runs.runs(), 1);
    for tag in 1..=1999 {
        assert_eq!(runs.take(tag).map(|run| run.value), Some(At(tag)));
        assert_eq!(runs.runs(), 1);
    }
}
