//! The trie against a matcher that knows nothing of tries, and RabbitMQ's own answers.

use super::*;
use proptest::prelude::*;

fn routed(index: &TopicIndex, key: &str) -> Vec<u32> {
    let (mut scratch, mut out) = (TopicScratch::default(), Vec::new());
    index.route(key.as_bytes(), &mut scratch, &mut out);
    let mut slots: Vec<_> = out.into_iter().map(Target::slot).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// The rule as the specification says it.
fn matches(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        ([b"#", rest @ ..], _) => {
            matches(rest, key) || key.split_first().is_some_and(|(_, key)| matches(pattern, key))
        }
        ([b"*", pattern @ ..], [_, key @ ..]) => matches(pattern, key),
        ([word, pattern @ ..], [same, key @ ..]) => word == same && matches(pattern, key),
        _ => false,
    }
}

fn naive(pattern: &str, key: &str) -> bool {
    let pattern: Vec<_> = split(pattern.as_bytes()).collect();
    let key: Vec<_> = split(key.as_bytes()).collect();
    matches(&pattern, &key)
}

/// What RabbitMQ 4.3 answered: every key, and the patterns it reached.
#[test]
fn the_matrix_of_rabbitmq() {
    let patterns = [
        "#", "*", "", "a", "a.*", "a.#", "#.a", "*.a", "a.*.b", "a.#.b", "*.*", "*.#", "#.*",
        "#.a.#", "a.b", "a..b", ".", "a*", "#b", "*.#.*", "A",
    ];
    let mut index = TopicIndex::default();
    for (slot, pattern) in patterns.iter().enumerate() {
        index.add(&pattern.as_bytes().into(), Target::queue(slot as u32));
    }
    let rows: [(&str, &[&str]); 23] = [
        ("", &["#", ""]),
        ("a", &["#", "*", "a", "a.#", "#.a", "*.#", "#.*", "#.a.#"]),
        ("b", &["#", "*", "*.#", "#.*"]),
        ("a.b", &["#", "a.*", "a.#", "a.#.b", "*.*", "*.#", "#.*", "#.a.#", "a.b", "*.#.*"]),
        ("a.", &["#", "a.*", "a.#", "*.*", "*.#", "#.*", "#.a.#", "*.#.*"]),
        (".a", &["#", "#.a", "*.a", "*.*", "*.#", "#.*", "#.a.#", "*.#.*"]),
        (".", &["#", "*.*", "*.#", "#.*", ".", "*.#.*"]),
        ("..", &["#", "*.#", "#.*", "*.#.*"]),
        ("a.c.b", &["#", "a.#", "a.*.b", "a.#.b", "*.#", "#.*", "#.a.#", "*.#.*"]),
        ("a.c.d.b", &["#", "a.#", "a.#.b", "*.#", "#.*", "#.a.#", "*.#.*"]),
        ("a..b", &["#", "a.#", "a.*.b", "a.#.b", "*.#", "#.*", "#.a.#", "a..b", "*.#.*"]),
        ("b.a", &["#", "#.a", "*.a", "*.*", "*.#", "#.*", "#.a.#", "*.#.*"]),
        ("b.a.b", &["#", "*.#", "#.*", "#.a.#", "*.#.*"]),
        ("a*", &["#", "*", "*.#", "#.*", "a*"]),
        ("#", &["#", "*", "*.#", "#.*"]),
        ("*", &["#", "*", "*.#", "#.*"]),
        ("a.*", &["#", "a.*", "a.#", "*.*", "*.#", "#.*", "#.a.#", "*.#.*"]),
        ("x#b", &["#", "*", "*.#", "#.*"]),
        ("#b", &["#", "*", "*.#", "#.*", "#b"]),
        ("A", &["#", "*", "*.#", "#.*", "A"]),
        ("a.b.a", &["#", "a.#", "#.a", "*.#", "#.*", "#.a.#", "*.#.*"]),
        ("a b", &["#", "*", "*.#", "#.*"]),
        ("a\n", &["#", "*", "*.#", "#.*"]),
    ];
    for (key, reached) in rows {
        let slots = routed(&index, key);
        let found: Vec<_> = slots.iter().map(|&slot| patterns[slot as usize]).collect();
        assert_eq!(found, reached, "key {key:?}");
    }
}

#[test]
fn removal_prunes() {
    let mut index = TopicIndex::default();
    let patterns = ["a.b.c", "a.b", "a.*.#", "#", "#.#", "", "x.#.y.*"];
    for (slot, pattern) in patterns.iter().enumerate() {
        index.add(&pattern.as_bytes().into(), Target::queue(slot as u32));
    }
    for (slot, pattern) in patterns.iter().enumerate() {
        index.remove(pattern.as_bytes(), Target::queue(slot as u32));
        index.remove(b"never.bound", Target::queue(0));
    }
    assert!(index.exact.is_empty() && index.is_trivial());
    assert_eq!((index.edges.len(), index.words.len(), index.hashes.len()), (0, 0, 0));
}

#[test]
fn a_binding_that_is_there_twice_leaves_with_the_second() {
    let mut index = TopicIndex::default();
    index.add(&b"a.*"[..].into(), Target::queue(1));
    index.add(&b"a.*"[..].into(), Target::queue(1));
    index.remove(b"a.*", Target::queue(1));
    assert_eq!(routed(&index, "a.b"), [1]);
    index.remove(b"a.*", Target::queue(1));
    assert_eq!(routed(&index, "a.b"), [0u32; 0]);
}

#[test]
fn many_hashes_cost_no_more_than_the_trie() {
    let mut index = TopicIndex::default();
    let pattern = ["#.a"; 30].join(".");
    index.add(&pattern.as_bytes().into(), Target::queue(0));
    let key = ["a"; 127].join(".");
    assert_eq!(routed(&index, &key), [0]);
    let key = format!("{}.b", ["a"; 126].join("."));
    assert_eq!(routed(&index, &key), [0u32; 0]);
}

fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just(""), Just("*"), Just("#"), Just("#")]
}

fn key() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..6).prop_map(|words| words.join("."))
}

proptest! {
    #[test]
    fn the_trie_agrees_with_the_rule(
        steps in prop::collection::vec((key(), 0u32..4, any::<bool>()), 1..40),
        keys in prop::collection::vec(key(), 1..12),
    ) {
        let mut index = TopicIndex::default();
        let mut model: Vec<(String, u32)> = Vec::new();
        for (pattern, slot, remove) in steps {
            let known = model.iter().position(|entry| *entry == (pattern.clone(), slot));
            match (remove, known) {
                (true, Some(position)) => {
                    model.swap_remove(position);
                    index.remove(pattern.as_bytes(), Target::queue(slot));
                }
                (true, None) => {}
                (false, _) => {
                    index.add(&pattern.as_bytes().into(), Target::queue(slot));
                    model.push((pattern, slot));
                }
            }
        }
        let (mut scratch, mut out) = (TopicScratch::default(), Vec::new());
        for key in keys {
            out.clear();
            let repeated = index.route(key.as_bytes(), &mut scratch, &mut out);
            let mut found: Vec<_> = out.iter().map(|target| target.slot()).collect();
            let n = found.len();
            found.sort_unstable();
            found.dedup();
            prop_assert!(repeated || n == found.len());
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(pattern, _)| naive(pattern, &key))
                .map(|(_, slot)| *slot)
                .collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(found, expected, "key {:?}", key);
        }
        for (pattern, slot) in model {
            index.remove(pattern.as_bytes(), Target::queue(slot));
        }
        prop_assert!(index.exact.is_empty() && index.is_trivial());
        prop_assert!(index.edges.is_empty());
    }
}
