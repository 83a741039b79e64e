//! A disk that is full or fails: the broker ends with code 74 and a clear message or goes on without confirming, and what it
//! had confirmed is there when the disk is well again. The library of `tests/power-loss` lets the n-th write or sync fail.
//! Some n are tried; with `LEVERET_ROUNDS` as many, from `LEVERET_SEED` or 1 on.

use std::os::unix::process::ExitStatusExt as _;

use leveret_tests::power::Power;
use leveret_tests::proof::{Round, Series, rounds, seeds};
use leveret_tests::{Broker, Ended};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// `EX_IOERR` of sysexits.h.
const DISK_FAILED: i32 = 74;

/// The calls tried by default: while it starts, while it is set up, under load.
const SOME: [u32; 5] = [1, 12, 70, 150, 400];

/// What a broker may say when it ends because of its disk.
const WORDS: [&str; 2] = ["No space left on device", "Input/output error"];

/// How the broker met the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// It ended by itself.
    Ended,
    /// It went on, or the failure did not come.
    WentOn,
}

fn met(what: &str, (status, log): &Ended) -> Met {
    assert!(!log.contains("panicked at"), "{what}: {log}");
    if status.signal() == Some(9) {
        return Met::WentOn;
    }
    // One that cannot even start says so as every program does.
    let refused = status.code() == Some(1) && log.contains("\nleveret: ");
    assert!(refused || status.code() == Some(DISK_FAILED), "{what}: {status}: {log}");
    let says_why = WORDS.iter().any(|words| log.contains(words));
    assert!(says_why, "{what}: ended with {status} and did not say why:\n{log}");
    Met::Ended
}

fn fails_with(kind: &str, sync: bool) {
    if !Broker::may_start() {
        return;
    }
    let all = rounds(0);
    let calls: Vec<u32> =
        if all == 0 { SOME.into() } else { seeds(1, all).map(|n| n as u32).collect() };
    let mut ended = 0;
    for n in &calls {
        let what = format!("{kind}:{n}");
        let seed = u64::from(*n);
        let mut series = Series::new(kind, seed);
        let power = Power::of(series.folder());
        let small = ("LEVERET_FAILPOINT", "window:262144,buffers:131072".into());
        let mut environment = power.environment();
        environment.extend([("LEVERET_POWER_FAIL", what.clone().into()), small]);
        let plan = Round { environment, kill_after: u64::MAX, ..Round::default() };
        let mut rng = StdRng::seed_from_u64(seed);
        // What a failed sync left is not on disk; what a failed write left may be.
        let cut = sync || n % 2 == 0;
        let mut between = |_: &std::path::Path| {
            if cut {
                power.cut(&mut rng);
            }
        };
        match series.round(&plan, &mut between) {
            Ok(how) => ended += usize::from(met(&what, &how) == Met::Ended),
            Err(broken) => panic!("{what}: {}", broken.join("\n")),
        }
    }
    eprintln!("measured: {kind}: {ended} of {} brokers ended by themselves", calls.len());
    assert!(ended > 0, "no failure reached a broker");
}

#[test]
fn a_full_disk_loses_nothing_confirmed() {
    fails_with("ENOSPC", false);
}

#[test]
fn a_write_that_fails_loses_nothing_confirmed() {
    fails_with("EIO", false);
}

#[test]
fn a_sync_that_fails_loses_nothing_confirmed() {
    fails_with("EIO-SYNC", true);
}
