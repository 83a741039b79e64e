//! Tables: every type, order and duplicates, depth, conversions, serialisation.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::*;
use crate::{TableView, ValueView};

/// One field of every type.
fn every_type() -> Table {
    let nested = Table(vec![("k".into(), Value::Void), ("k".into(), true.into())]);
    let fields = vec![
        ("t", true.into()),
        ("b", Value::Byte(-1)),
        ("B", Value::UnsignedByte(255)),
        ("s", Value::Short(-2)),
        ("u", Value::UnsignedShort(65_535)),
        ("I", Value::Int(-3)),
        ("i", Value::UnsignedInt(u32::MAX)),
        ("l", Value::Long(i64::MIN)),
        ("L", Value::LongUpper(4)),
        ("f", Value::Float(1.5)),
        ("d", Value::Double(-0.25)),
        ("D", Value::Decimal { scale: 2, value: 314 }),
        ("S", "grüß".into()),
        ("A", Value::Array(vec![1.into(), "two".into(), Value::Array(vec![])])),
        ("T", Value::Timestamp(1_577_836_800)),
        ("F", nested.into()),
        ("V", Value::Void),
        ("x", Value::ByteArray(vec![0, 255])),
    ];
    Table(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[test]
fn every_type_survives_its_bytes_and_keeps_its_letter() {
    let table = every_type();
    let bytes = table.to_bytes();
    let view = TableView::new(&bytes);
    for field in view.fields() {
        let field = field.unwrap();
        assert_eq!(field.key, [field.value.kind().letter()]);
        assert_eq!(field.raw[..3], [1, field.key[0], field.key[0]]);
    }
    assert_eq!(Table::try_from(view), Ok(table));
}

#[test]
fn every_type_survives_json() {
    let mut table = every_type();
    table.insert("nan", f64::INFINITY);
    table.insert("bytes", Value::LongString(vec![0xFF, 0x00]));
    let json = serde_json::to_string(&table).unwrap();
    assert!(json.contains(r#"["S",{"LongString":"grüß"}]"#), "{json}");
    assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
}

#[test]
fn order_and_duplicates_stay_and_the_first_is_found() {
    let fields = [("k", Value::Int(1)), ("a", true.into()), ("k", "two".into())];
    let table = Table(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    let bytes = table.to_bytes();
    let view = TableView::new(&bytes);
    let keys: Vec<_> = view.iter().map(|field| field.unwrap().0).collect();
    assert_eq!(keys, [b"k", b"a", b"k"]);
    assert_eq!(view.get("k"), Some(ValueView::Int(1)));
    assert_eq!(table.get("k"), Some(&Value::Int(1)));
    assert_eq!(view.get("none"), None);
}

#[test]
fn insert_replaces_and_remove_removes_all() {
    let mut table = Table::new();
    table.insert("a", 1);
    table.insert("b", 2_i64);
    table.insert("a", "three");
    assert_eq!(table.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(table.get("a").unwrap().as_str(), Some("three"));
    table.0.push(("a".into(), Value::Void));
    table.remove("a");
    assert_eq!((table.len(), table.contains_key("a")), (1, false));
}

#[test]
fn integers_of_every_width_are_one_number() {
    let numbers = every_type();
    let found: Vec<_> = numbers.iter().filter_map(|(_, value)| value.as_i64()).collect();
    assert_eq!(found, [-1, 255, -2, 65_535, -3, 4_294_967_295, i64::MIN, 4]);
}

#[test]
fn damage_is_reported_once_and_ends_the_walk() {
    let view = TableView::new(b"\x01aV\x01bZ\x01cV");
    assert_eq!(view.check(), Err(DecodeError::BadTableType(b'Z')));
    let fields: Vec<_> = view.iter().collect();
    assert_eq!(fields.len(), 2);
    assert_eq!(fields[1], Err(DecodeError::BadTableType(b'Z')));
    assert_eq!(view.get("c"), None);
    assert_eq!(TableView::new(b"\x05abc").check(), Err(DecodeError::Truncated));
}

#[test]
fn arrays_count_towards_the_depth() {
    let nest = |levels| {
        let array = (1..levels).fold(Value::Void, |inner, _| Value::Array(vec![inner]));
        Table(vec![("a".into(), array)])
    };
    let deepest = nest(TABLE_DEPTH_MAX);
    assert_eq!(deepest.check(), Ok(()));
    assert_eq!(TableView::new(&deepest.to_bytes()).check(), Ok(()));
    let deeper = nest(TABLE_DEPTH_MAX + 1);
    assert_eq!(deeper.check(), Err(DecodeError::TableTooDeep));
    assert_eq!(TableView::new(&deeper.to_bytes()).check(), Err(DecodeError::TableTooDeep));
}

#[test]
fn a_key_that_is_too_long_is_found_by_check_and_cut_by_the_writer() {
    let table = Table(vec![("k".repeat(300), Value::Void)]);
    assert_eq!(table.check(), Err(DecodeError::StringTooLong));
    let bytes = table.to_bytes();
    assert_eq!(TableView::new(&bytes).get("k".repeat(255)), Some(ValueView::Void));
}

#[test]
fn the_catalogue_table_keeps_every_type_it_has() {
    let catalogue = FieldTable::from(&every_type());
    assert_eq!(catalogue.inner().get("L"), Some(&AMQPValue::LongLongInt(4)));
    let back = Table::from(&catalogue);
    assert_eq!(back.len(), every_type().len());
    assert_eq!(back.get("D"), every_type().get("D"));
    let inner = back.get("F").and_then(Value::as_table).unwrap();
    assert_eq!(inner.0, [("k".to_owned(), Value::Void)]);
}

#[test]
fn the_writer_nests() {
    let mut bytes = Vec::new();
    let mut out = TableWriter::new(&mut bytes);
    out.array("x-death", |deaths| {
        deaths.table(|death| {
            death.long("count", 1);
            death.array("routing-keys", |keys| keys.string("q"));
        });
    });
    out.bool("yes", true);
    let table = Table::try_from(TableView::new(&bytes)).unwrap();
    let keys = Value::Array(vec!["q".into()]);
    let death = Table(vec![("count".into(), 1_i64.into()), ("routing-keys".into(), keys)]);
    assert_eq!(table.get("x-death"), Some(&Value::Array(vec![death.into()])));
    assert_eq!(table.get("yes"), Some(&Value::Bool(true)));
}
