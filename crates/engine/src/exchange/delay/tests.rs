//! The delay log against a sorted list, and its ops against itself.

use super::*;
use crate::record::Body;
use leveret_codec::{PropertiesWriter, Table, Value};
use proptest::prelude::*;

fn message(body: u64, expires_at: Option<u64>) -> Block {
    let headers = Table(vec![("x-delay".into(), Value::Int(5))]).to_bytes();
    let properties =
        PropertiesWriter { headers: Some(&headers), ..Default::default() }.to_bytes().unwrap();
    let mut block = Block::with_capacity(64, 1);
    block.push(&NewRecord {
        address: b"\x01x\x01k",
        properties: &properties,
        persistent: true,
        priority: 3,
        expires_at: expires_at.map(Timestamp),
        body: Body::Inline(&body.to_le_bytes()),
    });
    block
}

fn body(message: &Kept) -> u64 {
    u64::from_le_bytes(message.record().body().bytes().try_into().unwrap())
}

fn log() -> DelayLog {
    DelayLog::new(DelayLimit::default())
}

fn bodies(due: &[Delayed]) -> Vec<u64> {
    due.iter().map(|delayed| body(&delayed.message)).collect()
}

#[test]
fn messages_come_out_in_the_order_of_their_times_and_never_early() {
    let mut log = log();
    for (n, delay) in [(0, 300), (1, 100), (2, 200), (3, 100)] {
        log.delay(message(n, None), delay, Timestamp(1000)).unwrap();
    }
    assert_eq!(log.next_due(), Some(Timestamp(1100)));
    assert!(log.take_due(Timestamp(1099), 10).is_empty());
    assert_eq!(bodies(&log.take_due(Timestamp(1100), 10)), [1, 3]);
    assert_eq!(bodies(&log.take_due(Timestamp(9999), 1)), [2]);
    assert_eq!(bodies(&log.take_due(Timestamp(9999), 1)), [0]);
    assert!(log.next_due().is_none() && log.len() == 4);
}

#[test]
fn a_message_is_there_until_its_queues_have_it() {
    let mut log = log();
    log.keep_ops();
    let number = log.delay(message(1, None), 5, Timestamp(0)).unwrap();
    let due = log.take_due(Timestamp(5), 10);
    assert_eq!((log.len(), log.take_ops().len()), (1, 1));
    assert!(log.bytes() > 0 && log.cancel(number, due[0].due).is_none());
    log.done(number);
    log.done(number);
    assert_eq!((log.len(), log.bytes(), log.take_ops().len()), (0, 0, 1));
}

#[test]
fn messages_can_be_listed_and_cancelled() {
    let mut log = log();
    for n in 0..5 {
        log.delay(message(n, None), 10 - n, Timestamp(0)).unwrap();
    }
    let listed: Vec<_> = log.waiting().collect();
    assert_eq!(bodies(&listed), [4, 3, 2, 1, 0]);
    assert_eq!(log.cancel(listed[1].number, listed[1].due).map(|kept| body(&kept)), Some(3));
    assert!(log.cancel(listed[1].number, listed[1].due).is_none());
    assert_eq!(bodies(&log.take_due(Timestamp(10), 10)), [4, 2, 1, 0]);
    assert_eq!(log.purge(), 4);
    assert!(log.is_empty() && log.bytes() == 0);
}

#[test]
fn a_full_log_takes_no_more() {
    let one = Kept::new(message(0, None), Timestamp(0)).unwrap().memory();
    let mut few = DelayLog::new(DelayLimit { messages: 2, bytes: usize::MAX });
    let mut small = DelayLog::new(DelayLimit { messages: 100, bytes: 2 * one });
    for log in [&mut few, &mut small] {
        assert!(log.delay(message(0, None), 1, Timestamp(0)).is_ok());
        assert!(log.delay(message(1, None), 1, Timestamp(0)).is_ok());
        assert_eq!(log.delay(message(2, None), 1, Timestamp(0)), Err(DelayFull));
        let due = log.take_due(Timestamp(1), 1);
        assert_eq!(log.delay(message(2, None), 1, Timestamp(0)), Err(DelayFull));
        log.done(due[0].number);
        assert!(log.delay(message(2, None), 1, Timestamp(0)).is_ok());
    }
}

#[test]
fn what_is_released_is_the_message_with_a_negative_delay() {
    let mut log = log();
    log.delay(message(1, Some(1700)), 100, Timestamp(1000)).unwrap();
    let due = log.take_due(Timestamp(1130), 1);
    let block = due[0].released(Timestamp(1130));
    let record = block.record(0);
    assert_eq!((record.exchange(), record.routing_key()), (&b"x"[..], &b"k"[..]));
    assert!(record.persistent() && record.priority() == 3);
    // The time to live of 700 ms begins when the message reaches its queue.
    assert_eq!(record.expires_at(), Some(Timestamp(1830)));
    let headers = Properties::new(record.properties()).headers().unwrap();
    assert_eq!(headers.get("x-delay").unwrap().as_i64(), Some(-5));
    assert_eq!(delay_of(Some(headers)), None);
}

#[derive(Clone, Debug)]
enum Step {
    Delay(u64),
    Pass(u64),
    Take(usize),
    Done(usize),
    Cancel(usize),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..50).prop_map(Step::Delay),
        3 => (0u64..30).prop_map(Step::Pass),
        3 => (0usize..4).prop_map(Step::Take),
        3 => any::<usize>().prop_map(Step::Done),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => Just(Step::Purge),
    ]
}

fn pick<T: Copy>(list: &[T], at: usize) -> Option<T> {
    (!list.is_empty()).then(|| list[at % list.len()])
}

/// Number, due.
type Entry = (DelayNumber, Timestamp);

proptest! {
    #[test]
    fn the_log_is_a_sorted_list_and_its_ops_make_it_again(
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let (mut log, mut again) = (log(), log());
        log.keep_ops();
        let (mut waiting, mut taken): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        let mut now = Timestamp(0);
        for step in steps {
            match step {
                Step::Delay(ms) => {
                    let number = log.delay(message(ms, None), ms, now).unwrap();
                    waiting.push((number, now.plus(ms)));
                    waiting.sort_by_key(|(number, due)| (*due, *number));
                }
                Step::Pass(ms) => now = now.plus(ms),
                Step::Take(n) => {
                    let due = waiting.iter().take(n).take_while(|(_, due)| *due <= now).count();
                    let expected: Vec<_> = waiting.drain(..due).collect();
                    let found = log.take_due(now, n);
                    let found: Vec<_> = found.iter().map(|d| (d.number, d.due)).collect();
                    prop_assert_eq!(&found, &expected);
                    taken.extend(found);
                }
                Step::Done(at) => if let Some((number, _)) = pick(&taken, at) {
                    log.done(number);
                    taken.retain(|(other, _)| *other != number);
                },
                Step::Cancel(at) => if let Some((number, due)) = pick(&waiting, at) {
                    prop_assert!(log.cancel(number, due).is_some());
                    waiting.retain(|(other, _)| *other != number);
                },
                Step::Purge => {
                    prop_assert_eq!(log.purge(), waiting.len() + taken.len());
                    (waiting, taken) = (Vec::new(), Vec::new());
                }
            }
            prop_assert_eq!(log.next_due(), waiting.first().map(|(_, due)| *due));
            for op in log.take_ops() {
                again.apply(&op);
            }
            // After a restart what was under way waits again.
            let mut all: Vec<_> = waiting.iter().chain(&taken).copied().collect();
            all.sort_by_key(|(number, due)| (*due, *number));
            let restored: Vec<_> = again.waiting().map(|d| (d.number, d.due)).collect();
            prop_assert_eq!(restored, all);
            prop_assert_eq!((again.len(), again.bytes()), (log.len(), log.bytes()));
        }
    }
}
