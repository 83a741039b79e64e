//! Each thing that can break is found and named, and nothing is said when all is well.

use super::*;

fn id(number: u32) -> Id {
    Id::new(1, number)
}

/// Messages 0 to 4 confirmed in `work`, 5 on its way.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for number in 0..6 {
        ledger.send(id(number), &[WORK], true);
    }
    (0..5).for_each(|number| ledger.confirm(id(number)));
    ledger
}

fn found(work: &[u32], dead: &[u32]) -> Found {
    let mut found = Found::default();
    found[WORK] = work.iter().map(|number| id(*number)).collect();
    found[DEAD] = dead.iter().map(|number| id(*number)).collect();
    found
}

#[track_caller]
fn breaks(mut ledger: Ledger, found: Found, what: &str) {
    let broken = ledger.close_round(found);
    assert!(broken.iter().any(|line| line.contains(what)), "{what}: {broken:?}");
}

#[test]
fn all_that_was_confirmed_is_well_with_or_without_what_was_on_its_way() {
    assert_eq!(ledger().close_round(found(&[0, 1, 2, 3, 4], &[])), [""; 0]);
    let mut ledger = ledger();
    assert_eq!(ledger.close_round(found(&[0, 1, 2, 3, 4, 5], &[])), [""; 0]);
    assert_eq!(ledger.close_round(found(&[0, 1, 2, 3, 4, 5], &[])), [""; 0]);
    breaks(ledger, found(&[0, 1, 2, 3, 4], &[]), "D1: 1/5");
}

#[test]
fn what_is_lost_doubled_or_invented_is_named() {
    breaks(ledger(), found(&[0, 1, 3, 4], &[]), "D1: 1/2");
    breaks(ledger(), found(&[0, 1, 2, 3, 4, 4], &[]), "D2: 1/4 is there twice");
    breaks(ledger(), found(&[0, 1, 2, 3, 4, 7], &[]), "D2: 1/7");
    breaks(ledger(), found(&[0, 1, 2, 3, 4], &[5]), "D2: 1/5");
}

#[test]
fn order_and_gaps_are_named() {
    breaks(ledger(), found(&[0, 2, 1, 3, 4], &[]), "O1: 1/1");
    let mut gap = ledger();
    gap.send(id(6), &[WORK], true);
    breaks(gap, found(&[0, 1, 2, 3, 4, 6], &[]), "O1: 1/5 is lost and a later one");
    let mut later = ledger();
    later.close_round(found(&[0, 1, 2, 3, 4], &[]));
    later.send(Id::new(2, 0), &[WORK], true);
    let mut behind = found(&[0, 1, 2, 3, 4], &[]);
    behind[WORK].insert(4, Id::new(2, 0));
    breaks(later, behind, "O1: 1/4");
}

#[test]
fn an_ack_may_be_lost_until_it_is_durable() {
    let acked = |durable: bool| {
        let mut ledger = ledger();
        ledger.settle(WORK, id(2), false);
        if durable {
            ledger.durable(WORK, &[id(2)]);
        }
        ledger
    };
    assert_eq!(acked(false).close_round(found(&[0, 1, 2, 3, 4], &[])), [""; 0]);
    assert_eq!(acked(false).close_round(found(&[0, 1, 3, 4], &[])), [""; 0]);
    assert_eq!(acked(true).close_round(found(&[0, 1, 3, 4], &[])), [""; 0]);
    breaks(acked(true), found(&[0, 1, 2, 3, 4], &[]), "D3: 1/2");
}

#[test]
fn a_dead_letter_is_in_exactly_one_place() {
    let rejected = |durable: bool| {
        let mut ledger = ledger();
        ledger.settle(WORK, id(2), true);
        if durable {
            ledger.durable(WORK, &[id(2)]);
        }
        ledger
    };
    assert_eq!(rejected(false).close_round(found(&[0, 1, 2, 3, 4], &[])), [""; 0]);
    assert_eq!(rejected(true).close_round(found(&[0, 1, 3, 4], &[2])), [""; 0]);
    breaks(rejected(false), found(&[0, 1, 3, 4], &[]), "D8: 1/2 was rejected and is in 0");
    breaks(rejected(false), found(&[0, 1, 2, 3, 4], &[2]), "D8: 1/2 was rejected and is in 2");
    breaks(rejected(true), found(&[0, 1, 2, 3, 4], &[]), "D8: 1/2 was rejected durably");
}

#[test]
fn a_transient_message_ends_with_the_broker() {
    let mut ledger = ledger();
    ledger.send(id(8), &[WORK], false);
    ledger.confirm(id(8));
    breaks(ledger, found(&[0, 1, 2, 3, 4, 8], &[]), "T2: 1/8");
}
