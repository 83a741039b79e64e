//! The index against a matcher that looks at every binding, and RabbitMQ's own answers.

use super::*;
use leveret_codec::Value;
use proptest::prelude::*;

fn table(fields: &[(&str, Value)]) -> Table {
    Table(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn text(text: &str) -> Value {
    text.into()
}

fn routed(index: &HeadersIndex, headers: &Table) -> Vec<u32> {
    let (bytes, mut out) = (headers.to_bytes(), Vec::new());
    index.route(Some(TableView::new(&bytes)), &mut out);
    slots(&out)
}

fn slots(targets: &[Target]) -> Vec<u32> {
    let mut slots: Vec<_> = targets.iter().map(|target| target.slot()).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

fn index(bindings: &[Table]) -> HeadersIndex {
    let mut index = HeadersIndex::default();
    for (slot, arguments) in bindings.iter().enumerate() {
        index.add(arguments, Target::queue(slot as u32));
    }
    index
}

/// The messages of RabbitMQ's answers below.
fn messages() -> Vec<Table> {
    let a = |value| table(&[("a", value)]);
    vec![
        table(&[]),
        a(Value::Int(1)),
        table(&[("a", Value::Int(1)), ("b", Value::Int(2))]),
        table(&[("b", Value::Int(2))]),
        a(Value::Long(1)),
        a(Value::Double(1.0)),
        a(text("1")),
        a(Value::Bool(true)),
        table(&[("x-h", Value::Int(1)), ("a", Value::Int(1))]),
        a(Value::Void),
        a(Value::Timestamp(1)),
        a(Value::Byte(1)),
        a(Value::ByteArray(b"1".to_vec())),
    ]
}

#[test]
fn all_as_rabbitmq_answers() {
    let one = || ("a", Value::Int(1));
    let all = || ("x-match", text("all"));
    let index = index(&[
        table(&[one()]),
        table(&[one(), ("b", Value::Int(2))]),
        table(&[all(), one()]),
        table(&[all()]),
        table(&[]),
        table(&[all(), ("a", Value::Void)]),
        table(&[all(), ("x-h", Value::Int(1))]),
        table(&[all(), ("x-h", Value::Int(9)), one()]),
    ]);
    let expected: [&[u32]; 13] = [
        &[3, 4, 6],
        &[0, 2, 3, 4, 5, 6, 7],
        &[0, 1, 2, 3, 4, 5, 6, 7],
        &[3, 4, 6],
        &[0, 2, 3, 4, 5, 6, 7],
        &[3, 4, 5, 6],
        &[3, 4, 5, 6],
        &[3, 4, 5, 6],
        &[0, 2, 3, 4, 5, 6, 7],
        &[3, 4, 5, 6],
        &[3, 4, 5, 6],
        &[0, 2, 3, 4, 5, 6, 7],
        &[3, 4, 5, 6],
    ];
    for (message, expected) in messages().iter().zip(expected) {
        assert_eq!(routed(&index, message), expected, "{message:?}");
    }
    let mut out = Vec::new();
    index.route(None, &mut out);
    assert_eq!(slots(&out), [3, 4, 6]);
}

#[test]
fn any_as_rabbitmq_answers() {
    let one = || ("a", Value::Int(1));
    let any = || ("x-match", text("any"));
    let index = index(&[
        table(&[any(), one()]),
        table(&[any(), one(), ("b", Value::Int(2))]),
        table(&[any()]),
        table(&[any(), ("a", Value::Void), ("b", Value::Int(9))]),
        table(&[any(), ("x-h", Value::Int(1))]),
        table(&[any(), ("x-h", Value::Int(1)), ("b", Value::Int(2))]),
    ]);
    let expected: [&[u32]; 13] = [
        &[],
        &[0, 1, 3],
        &[0, 1, 3, 5],
        &[1, 5],
        &[0, 1, 3],
        &[3],
        &[3],
        &[3],
        &[0, 1, 3],
        &[3],
        &[3],
        &[0, 1, 3],
        &[3],
    ];
    for (message, expected) in messages().iter().zip(expected) {
        assert_eq!(routed(&index, message), expected, "{message:?}");
    }
}

#[test]
fn with_x_counts_names_with_x() {
    let index = index(&[
        table(&[("x-match", text("all-with-x")), ("x-h", Value::Int(1))]),
        table(&[("x-match", text("any-with-x")), ("x-h", Value::Int(1)), ("a", text("b"))]),
    ]);
    assert_eq!(routed(&index, &table(&[("x-h", Value::Int(1))])), [0, 1]);
    assert_eq!(routed(&index, &table(&[("a", text("b"))])), [1]);
    assert_eq!(routed(&index, &table(&[("x-match", text("all-with-x"))])), [0u32; 0]);
}

#[test]
fn of_repeated_names_the_first_counts() {
    let index = index(&[table(&[("a", Value::Int(1))]), table(&[("a", Value::Int(2))])]);
    let twice = table(&[("a", Value::Int(1)), ("b", Value::Int(0)), ("a", Value::Int(2))]);
    assert_eq!(routed(&index, &twice), [0]);
}

#[test]
fn nested_values_and_odd_numbers_are_equal_to_themselves() {
    let list = || Value::Array(vec![Value::Int(1), Value::Void, text("x")]);
    let values = [
        list(),
        Value::Table(table(&[("k", list())])),
        Value::Double(f64::NAN),
        Value::Double(-0.0),
        Value::Decimal { scale: 2, value: 100 },
        Value::Timestamp(1),
    ];
    let bindings: Vec<_> = values.iter().map(|value| table(&[("a", value.clone())])).collect();
    let index = index(&bindings);
    for (slot, binding) in bindings.iter().enumerate() {
        assert_eq!(routed(&index, binding), [slot as u32]);
    }
    let longer = Value::Array(vec![Value::Int(1), Value::Void, text("x"), Value::Void]);
    assert_eq!(routed(&index, &table(&[("a", longer)])), [0u32; 0]);
    assert_eq!(routed(&index, &table(&[("a", Value::Float(0.0))])), [3]);
}

#[test]
fn a_match_that_is_none_is_named() {
    let refused =
        |value: Value| check_arguments(&table(&[("x-match", value)])).unwrap_err().explain();
    let value = |value| {
        format!("Invalid x-match field value {value}; expected all, any, all-with-x, or any-with-x")
    };
    assert_eq!(refused(text("some")), value("<<\"some\">>"));
    assert_eq!(refused(text("")), value("<<>>"));
    let kind = |kind: &str, value: &str| {
        format!("Invalid x-match field type {kind} (value {value}); expected longstr")
    };
    assert_eq!(refused(Value::Int(5)), kind("signedint", "5"));
    assert_eq!(refused(Value::Bool(true)), kind("bool", "true"));
    assert_eq!(refused(Value::Void), kind("void", "undefined"));
    let list = Value::Array(vec![text("all")]);
    assert_eq!(refused(list), kind("array", "[{longstr,<<\"all\">>}]"));
    assert_eq!(refused(Value::ByteArray(b"all".to_vec())), kind("binary", "<<\"all\">>"));
}

#[test]
fn damage_ends_the_headers() {
    let index = index(&[table(&[("a", Value::Int(1))]), table(&[])]);
    let mut bytes = table(&[("a", Value::Int(1))]).to_bytes();
    bytes.extend([1, b'b', b'?']);
    let mut out = Vec::new();
    index.route(Some(TableView::new(&bytes)), &mut out);
    assert_eq!(slots(&out), [0, 1]);
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Int(1)),
        Just(Value::Long(1)),
        Just(Value::Int(2)),
        Just(Value::Double(1.0)),
        Just(Value::Timestamp(1)),
        Just(Value::Void),
        Just(Value::LongString(b"1".to_vec())),
        Just(Value::Bool(true)),
    ]
}

fn fields() -> impl Strategy<Value = Vec<(String, Value)>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just("x-d")];
    prop::collection::vec((name.prop_map(str::to_owned), value()), 0..5)
}

fn arguments() -> impl Strategy<Value = Table> {
    let modes = prop_oneof![
        Just(None),
        Just(Some("all")),
        Just(Some("any")),
        Just(Some("all-with-x")),
        Just(Some("any-with-x"))
    ];
    (modes, fields()).prop_map(|(mode, mut fields)| {
        if let Some(mode) = mode {
            fields.insert(0, ("x-match".to_owned(), mode.into()));
        }
        Table(fields)
    })
}

/// The rule, for one binding and one message.
fn naive(arguments: &Table, message: &Table) -> bool {
    let mode = arguments.get("x-match").and_then(Value::as_str).unwrap_or("all");
    let with_x = mode.ends_with("-with-x");
    let mut seen = Vec::new();
    let mut results = Vec::new();
    for (name, wanted) in arguments.iter() {
        if name == "x-match" || (name.starts_with("x-") && !with_x) || seen.contains(&name) {
            continue;
        }
        seen.push(name);
        results.push(message.get(name).is_some_and(|found| match (wanted, found) {
            (Value::Void, _) => true,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (a, b) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a == b,
                (None, None) => a == b,
                _ => false,
            },
        }));
    }
    if mode.starts_with("any") { results.contains(&true) } else { !results.contains(&false) }
}

proptest! {
    #[test]
    fn the_index_agrees_with_the_rule(
        bindings in prop::collection::vec((arguments(), any::<bool>()), 1..24),
        messages in prop::collection::vec(fields(), 1..8),
    ) {
        let mut index = HeadersIndex::default();
        let numbers: Vec<_> = bindings
            .iter()
            .enumerate()
            .map(|(slot, (arguments, _))| index.add(arguments, Target::queue(slot as u32)))
            .collect();
        for (number, (_, stays)) in numbers.iter().zip(&bindings) {
            if !stays {
                index.remove(*number);
            }
        }
        for message in messages.into_iter().map(Table) {
            let expected: Vec<_> = (0u32..)
                .zip(&bindings)
                .filter(|(_, (arguments, stays))| *stays && naive(arguments, &message))
                .map(|(slot, _)| slot)
                .collect();
            prop_assert_eq!(routed(&index, &message), expected, "{:?}", message);
        }
        for (number, (_, stays)) in numbers.into_iter().zip(&bindings) {
            if *stays {
                index.remove(number);
            }
        }
        prop_assert!(index.buckets.is_empty() && index.always.is_empty());
        prop_assert_eq!(index.n_presence, 0);
    }
}
