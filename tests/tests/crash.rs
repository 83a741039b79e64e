//! What was confirmed survives `kill -9` at any moment: brokers under load are killed at random, or end at named places
//! between writing, syncing, retiring and opening. `LEVERET_ROUNDS` and `LEVERET_SEED` say how many rounds and from
//! which seed; a failure names the seed that reproduces its plan.

use leveret_tests::Broker;
use leveret_tests::proof::{Round, Series, rounds, seeds};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Rounds on one folder.
const SERIES: u32 = 5;

/// Places where a broker may end, and how often it passes them in one round at least.
const PLACES: [(&str, u64); 14] = [
    ("before-write", 60),
    ("after-write", 60),
    ("after-sync", 60),
    ("after-confirm", 60),
    ("after-chunks", 6),
    ("after-retire", 4),
    ("after-slots", 1),
    ("after-meta", 4),
    ("marker-drafted", 2),
    ("open-kept", 1),
    ("open-opened", 1),
    ("open-renamed", 1),
    ("open-forgotten", 1),
    ("none", 1),
];

fn plan(rng: &mut StdRng) -> Round {
    // Small, so that what takes hours otherwise happens in every round.
    let mut failpoint =
        format!("window:{},buffers:{}", 1_u64 << rng.random_range(17..21), 128 << 10);
    let mut kill_after = u64::MAX;
    if rng.random_bool(0.5) {
        kill_after = rng.random_range(1..900);
    } else {
        let (place, times) = PLACES[rng.random_range(0..PLACES.len())];
        failpoint += &format!(",{place}:{}", rng.random_range(1..=times));
    }
    Round {
        environment: vec![("LEVERET_FAILPOINT", failpoint.into())],
        kill_after,
        ..Round::default()
    }
}

#[test]
fn nothing_confirmed_is_lost_when_a_broker_ends_at_any_moment() {
    if !Broker::may_start() {
        return;
    }
    let all = rounds(30);
    let (mut sent, mut confirmed, mut aborted) = (0, 0, 0);
    for seed in seeds(1, all.div_ceil(SERIES)) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut series = Series::new("crash", seed);
        for round in 1..=SERIES {
            let plan = plan(&mut rng);
            match series.round(&plan, &mut |_| {}) {
                Ok((status, _)) => aborted += u32::from(is_abort(status)),
                Err(broken) => panic!(
                    "round {round} of LEVERET_SEED={seed} ({plan:?}, folder {}):\n{}",
                    series.folder().display(),
                    broken.join("\n")
                ),
            }
        }
        sent += series.counts.0;
        confirmed += series.counts.1;
    }
    eprintln!("measured: {aborted} brokers ended at a failpoint; {confirmed} of {sent} confirmed");
    assert!(aborted * 10 > all, "the failpoints are not compiled in, or nobody passes them");
}

fn is_abort(status: std::process::ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(6)
}
