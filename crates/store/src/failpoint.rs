//! Named places where a test ends the process as `kill -9` would, and settings that only a test needs. Compiled into
//! builds with debug assertions only: what users run has none of it. It must not be used for anything but tests.
//!
//! `LEVERET_FAILPOINT=after-write:17,window:1048576` aborts the process at the 17th passing of `after-write` and sets
//! `window`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the plan is read.
const VARIABLE: &str = "LEVERET_FAILPOINT";

/// Passes the place `name`, and ends the process if a test planned that.
#[inline]
pub fn pass(name: &str) {
    if cfg!(debug_assertions)
        && let Some(left) = planned(name)
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

/// What a test set `name` to.
#[must_use]
#[inline]
pub fn setting(name: &str) -> Option<u64> {
    if cfg!(debug_assertions) {
        planned(name).map(|value| value.load(Ordering::Relaxed))
    } else {
        None
    }
}

fn planned(name: &str) -> Option<&'static AtomicU64> {
    static PLAN: OnceLock<Vec<(String, AtomicU64)>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| parse(&std::env::var(VARIABLE).unwrap_or_default()));
    plan.iter().find(|(planned, _)| planned == name).map(|(_, value)| value)
}

/// What has no number is left out.
fn parse(text: &str) -> Vec<(String, AtomicU64)> {
    let one = |part: &str| {
        let (name, value) = part.split_once(':')?;
        Some((name.to_owned(), AtomicU64::new(value.parse().ok()?)))
    };
    text.split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_places_and_values() {
        let plan = parse("after-write:17,window:1048576,odd,odder:x");
        let plan: Vec<_> = plan.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(plan.len(), 2);
        assert_eq!((plan[0].0, plan[0].1.load(Ordering::Relaxed)), ("after-write", 17));
        assert_eq!((plan[1].0, plan[1].1.load(Ordering::Relaxed)), ("window", 1_048_576));
    }
}
