//! Even spread, weights, and few keys that move.

use super::*;
use leveret_codec::PropertiesWriter;

const N: u32 = 20_000;

fn index(weights: &[&str]) -> ConsistentHashIndex {
    let mut index = ConsistentHashIndex::default();
    for (n, weight) in weights.iter().enumerate() {
        add(&mut index, n as u32, weight);
    }
    index
}

fn add(index: &mut ConsistentHashIndex, n: u32, weight: &str) {
    let destination = Destination::Queue(format!("queue-{n}").into());
    index.add(&weight.as_bytes().into(), &destination, Target::queue(n));
}

fn choice(index: &ConsistentHashIndex, message: &Routable<'_>) -> Option<u32> {
    let mut out = Vec::new();
    index.route(message, &mut out);
    assert!(out.len() <= 1);
    out.first().map(|target| target.slot())
}

fn choices(index: &ConsistentHashIndex) -> Vec<u32> {
    let of_key = |n: u32| {
        let key = format!("user-{n}");
        choice(index, &Routable::by_keys(&[key.as_bytes()])).unwrap()
    };
    (0..N).map(of_key).collect()
}

fn share_of(choices: &[u32], n: u32) -> f64 {
    choices.iter().filter(|choice| **choice == n).count() as f64 / choices.len() as f64
}

#[test]
fn equal_weights_share_evenly() {
    for weight in ["1", "20", "1000000"] {
        let choices = choices(&index(&[weight; 10]));
        for n in 0..10 {
            let share = share_of(&choices, n);
            assert!((0.09..0.11).contains(&share), "weight {weight}, queue {n}: {share}");
        }
    }
}

#[test]
fn shares_are_as_the_weights() {
    let choices = choices(&index(&["1", "2", "5"]));
    for (n, share) in [(0, 1.0 / 8.0), (1, 2.0 / 8.0), (2, 5.0 / 8.0)] {
        let found = share_of(&choices, n);
        assert!((found - share).abs() < 0.012, "queue {n}: {found}");
    }
}

#[test]
fn a_new_destination_takes_its_share_and_moves_nothing_else() {
    let mut index = index(&["10"; 9]);
    let before = choices(&index);
    add(&mut index, 9, "10");
    let after = choices(&index);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert!(moved.iter().all(|(_, to)| **to == 9));
    let share = moved.len() as f64 / f64::from(N);
    assert!((0.09..0.11).contains(&share), "{share} of the keys moved");
    index.remove(b"10", Target::queue(9));
    assert_eq!(choices(&index), before);
}

#[test]
fn the_order_of_binding_does_not_matter() {
    let up = index(&["1", "2", "3"]);
    let mut down = ConsistentHashIndex::default();
    for (n, weight) in [(2, "3"), (0, "1"), (1, "2")] {
        add(&mut down, n, weight);
    }
    assert_eq!(choices(&up), choices(&down));
}

#[test]
fn one_binding_of_a_destination_counts() {
    let mut index = index(&["1", "1"]);
    let before = choices(&index);
    add(&mut index, 1, "5");
    assert_eq!(choices(&index), before);
    index.remove(b"1", Target::queue(1));
    assert!(share_of(&choices(&index), 1) > 0.8);
    index.remove(b"5", Target::queue(1));
    assert!(choices(&index).iter().all(|choice| *choice == 0));
    index.remove(b"1", Target::queue(0));
    assert_eq!(choice(&index, &Routable::by_keys(&[b"a"])), None);
}

#[test]
fn only_the_first_key_is_hashed() {
    let index = index(&["1"; 10]);
    for n in 0..50 {
        let key = format!("user-{n}");
        let keys: &[&[u8]] = &[key.as_bytes(), b"other"];
        let with_cc = choice(&index, &Routable::by_keys(keys));
        assert_eq!(with_cc, choice(&index, &Routable::by_keys(&keys[..1])));
    }
}

fn with_argument(name: &str, value: &str) -> ConsistentHashIndex {
    let arguments = Table(vec![(name.into(), Value::LongString(value.into()))]);
    let mut index = ConsistentHashIndex::new(&arguments);
    (0..10).for_each(|n| add(&mut index, n, "1"));
    assert!(!index.by_key_alone());
    index
}

/// How many destinations messages reach that differ in what `properties` makes of a number.
fn reached(index: &ConsistentHashIndex, properties: impl Fn(u32) -> Vec<u8>) -> usize {
    let mut reached = std::collections::BTreeSet::new();
    for n in 0..200 {
        let properties = properties(n);
        let headers = Properties::new(&properties).headers();
        let keys: &[&[u8]] = &[b"same"];
        let message = Routable { headers, properties: &properties, ..Routable::by_keys(keys) };
        let found = choice(index, &message);
        assert_eq!(found, choice(index, &message));
        reached.insert(found);
    }
    reached.len()
}

#[test]
fn a_header_can_be_hashed() {
    let index = with_argument("hash-header", "tenant");
    let header = |name: &'static str, value: fn(u32) -> Value| {
        move |n| {
            let table = Table(vec![(name.into(), value(n))]).to_bytes();
            PropertiesWriter { headers: Some(&table), ..Default::default() }.to_bytes().unwrap()
        }
    };
    assert_eq!(reached(&index, header("tenant", |n| Value::Int(n as i32))), 10);
    assert_eq!(reached(&index, header("tenant", |n| Value::LongString(n.to_string().into()))), 10);
    assert_eq!(reached(&index, header("other", |n| Value::Int(n as i32))), 1);
    assert_eq!(reached(&index, header("tenant", |_| Value::Void)), 1);
}

#[test]
fn a_property_can_be_hashed() {
    let text = |n: u32| n.to_string().into_bytes();
    let by_message_id = with_argument("hash-property", "message_id");
    let message_id = |n| {
        PropertiesWriter { message_id: Some(&text(n)), ..Default::default() }.to_bytes().unwrap()
    };
    let correlation_id = |n| {
        PropertiesWriter { correlation_id: Some(&text(n)), ..Default::default() }
            .to_bytes()
            .unwrap()
    };
    let timestamp = |n| {
        PropertiesWriter { timestamp: Some(u64::from(n)), ..Default::default() }.to_bytes().unwrap()
    };
    assert_eq!(reached(&by_message_id, message_id), 10);
    assert_eq!(reached(&by_message_id, correlation_id), 1);
    assert_eq!(reached(&with_argument("hash-property", "correlation_id"), correlation_id), 10);
    assert_eq!(reached(&with_argument("hash-property", "timestamp"), timestamp), 10);
}
