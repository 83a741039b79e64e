//! What was confirmed survives a power cut: what a broker under load had written and not synced is dropped or torn when it is
//! killed, and the next one has to make do with the rest. `LEVERET_ROUNDS` and `LEVERET_SEED` say how many rounds and from
//! which seed. That a broker without the sync is found out is shown first.

use std::path::Path;

use leveret_tests::Broker;
use leveret_tests::power::{Power, Taken};
use leveret_tests::proof::{Round, Series, rounds, seeds};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Rounds on one folder.
const SERIES: u32 = 5;

/// Small buffers, so that tables are written and files come and go in every round.
const BUFFERS: &str = "window:262144,buffers:131072";

/// A series whose folder loses power after its brokers; what broke first, and what the cuts took.
fn series(name: &str, seed: u64, failpoints: &str) -> (Result<(), String>, Taken) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut series = Series::new(name, seed);
    let power = Power::of(series.folder());
    let mut taken = Taken::default();
    for round in 1..=SERIES {
        let mut environment = power.environment();
        environment.push(("LEVERET_FAILPOINT", failpoints.into()));
        let kill_after = rng.random_range(1..900);
        let plan = Round { environment: environment.clone(), checking: environment, kill_after };
        // Without a cut, what was only written is there after the kill and may go with the next cut.
        let mut between = |_: &Path| {
            if rng.random_bool(0.75) {
                let now = power.cut(&mut rng);
                taken.writes += now.writes;
                taken.names += now.names;
            }
        };
        if let Err(broken) = series.round(&plan, &mut between) {
            let all = broken.join("\n");
            let what = format!("round {round} of LEVERET_SEED={seed} ({kill_after}):\n{all}");
            return (Err(what), taken);
        }
    }
    (Ok(()), taken)
}

#[test]
fn a_broker_that_leaves_the_sync_out_is_found_out() {
    if !Broker::may_start() {
        return;
    }
    let failpoints = format!("{BUFFERS},no-sync:1");
    let found = (1..=4).find_map(|seed| series("unsynced", seed, &failpoints).0.err());
    let found = found.expect("without syncs nothing was lost: this test proves nothing");
    eprintln!("without the sync: {}", found.lines().take(4).collect::<Vec<_>>().join("\n"));
}

#[test]
fn nothing_confirmed_is_lost_when_the_power_fails() {
    if !Broker::may_start() {
        return;
    }
    let mut taken = Taken::default();
    for seed in seeds(1, rounds(10).div_ceil(SERIES)) {
        let (held, now) = series("power", seed, BUFFERS);
        taken.writes += now.writes;
        taken.names += now.names;
        if let Err(what) = held {
            panic!("{what}");
        }
    }
    eprintln!("measured: {taken:?}");
    assert!(taken.writes > 0 && taken.names > 0, "the cuts took nothing: {taken:?}");
}
