//! Property tests: any split of a stream, round trips of tables, properties and hot methods, agreement
//! with amq-protocol. The invariants themselves are in `fuzzing`; here the inputs are well formed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BytesMut;
use leveret_codec::fuzzing::{fuzz_properties, fuzz_stream, fuzz_table};
use leveret_codec::{
    Change, Method, Properties, PropertiesWriter, PropertyChanges, Splitter, Table, TableView,
    Value, decode_deliver, decode_method, put_ack, put_body, put_content_header, put_deliver,
    put_delivery, put_nack, put_publish, rewrite,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn short() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=255)
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::Byte),
        any::<u8>().prop_map(Value::UnsignedByte),
        any::<i16>().prop_map(Value::Short),
        any::<u16>().prop_map(Value::UnsignedShort),
        any::<i32>().prop_map(Value::Int),
        any::<u32>().prop_map(Value::UnsignedInt),
        any::<i64>().prop_map(Value::Long),
        any::<i64>().prop_map(Value::LongUpper),
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        vec(any::<u8>(), 0..40).prop_map(Value::LongString),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
        vec(any::<u8>(), 0..40).prop_map(Value::ByteArray),
    ]
}

/// Keys are few, so that duplicates occur.
fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    vec(("[a-cé]{0,2}", value), 0..6).prop_map(Table)
}

fn table() -> impl Strategy<Value = Table> {
    let value = leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            fields(inner).prop_map(Value::Table),
        ]
    });
    fields(value)
}

/// Property values that own their bytes.
type Owned = (
    (Option<Vec<u8>>, Option<Vec<u8>>, Option<Table>, Option<u8>, Option<u8>),
    (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<u64>),
    (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>),
);

fn owned() -> impl Strategy<Value = Owned> {
    let text = || option::of(short());
    let byte = || option::of(any::<u8>());
    (
        (text(), text(), option::of(table()), byte(), byte()),
        (text(), text(), text(), text(), option::of(any::<u64>())),
        (text(), text(), text(), text()),
    )
}

fn properties(owned: &Owned) -> Vec<u8> {
    let (first, second, third) = owned;
    let headers = first.2.as_ref().map(Table::to_bytes);
    let writer = PropertiesWriter {
        content_type: first.0.as_deref(),
        content_encoding: first.1.as_deref(),
        headers: headers.as_deref(),
        delivery_mode: first.3,
        priority: first.4,
        correlation_id: second.0.as_deref(),
        reply_to: second.1.as_deref(),
        expiration: second.2.as_deref(),
        message_id: second.3.as_deref(),
        timestamp: second.4,
        type_: third.0.as_deref(),
        user_id: third.1.as_deref(),
        app_id: third.2.as_deref(),
        cluster_id: third.3.as_deref(),
    };
    writer.to_bytes().unwrap()
}

/// Exchange and routing key as they stand on the wire.
fn address() -> impl Strategy<Value = Vec<u8>> {
    (short(), short()).prop_map(|(exchange, key)| {
        [&[exchange.len() as u8], &exchange[..], &[key.len() as u8], &key[..]].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_survives_its_bytes(table in table()) {
        let bytes = table.to_bytes();
        let view = TableView::new(&bytes);
        let again = Table::try_from(view).unwrap();
        prop_assert_eq!(again.to_bytes(), bytes.clone());
        prop_assert_eq!(view.iter().count(), table.len());
        for (key, _) in table.iter() {
            let (found, owned) = (view.get(key).unwrap(), table.get(key).unwrap());
            prop_assert_eq!((found.kind(), found.as_i64()), (owned.kind(), owned.as_i64()));
        }
        fuzz_table(&bytes);
    }

    #[test]
    fn a_cut_table_is_never_taken_for_a_whole_one(table in table(), cut in any::<prop::sample::Index>()) {
        let bytes = table.to_bytes();
        prop_assume!(!bytes.is_empty());
        let cut = &bytes[..cut.index(bytes.len())];
        fuzz_table(cut);
        if let Ok(shorter) = Table::try_from(TableView::new(cut)) {
            prop_assert!(shorter.len() < table.len());
        }
    }

    #[test]
    fn a_table_survives_json(table in table()) {
        let json = serde_json::to_string(&table).unwrap();
        let again: Table = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(again.to_bytes(), table.to_bytes());
    }

    #[test]
    fn properties_survive_and_a_rewrite_changes_only_what_it_should(owned in owned()) {
        let bytes = properties(&owned);
        fuzz_properties(&bytes);
        let changes = PropertyChanges { expiration: Change::Remove, ..Default::default() };
        let mut out = Vec::new();
        rewrite(&bytes, &changes, &mut out).unwrap();
        let mut without = owned;
        without.1.2 = None;
        prop_assert_eq!(out, properties(&without));
    }

    #[test]
    fn hot_methods_survive(
        address in address(),
        tag in short(),
        number in any::<u64>(),
        channel in any::<u16>(),
        bits in any::<(bool, bool)>(),
    ) {
        let mut out = BytesMut::new();
        put_publish(&mut out, channel, &address, bits.0);
        put_deliver(&mut out, channel, &tag, number, bits.0, &address);
        put_ack(&mut out, channel, number, bits.0);
        put_nack(&mut out, channel, number, bits.0, bits.1);
        let mut payloads = Vec::new();
        let mut rest = &out[..];
        while let Some((frame, used)) = Splitter::new(4096).split(rest).unwrap() {
            prop_assert_eq!(frame.channel, channel);
            payloads.push(frame.payload);
            rest = &rest[used..];
        }
        prop_assert_eq!(payloads.len(), 4);
        let Ok(Method::Publish(publish)) = decode_method(payloads[0]) else { panic!("no publish") };
        prop_assert_eq!((publish.address, publish.mandatory), (&address[..], bits.0));
        let deliver = decode_deliver(payloads[1]).unwrap();
        prop_assert_eq!((deliver.consumer_tag, deliver.address), (&tag[..], &address[..]));
        prop_assert_eq!((deliver.delivery_tag, deliver.redelivered), (number, bits.0));
        let (delivery_tag, multiple, requeue) = (number, bits.0, bits.1);
        prop_assert_eq!(decode_method(payloads[2]), Ok(Method::Ack { delivery_tag, multiple }));
        let nack = Method::Nack { delivery_tag, multiple, requeue };
        prop_assert_eq!(decode_method(payloads[3]), Ok(nack));
    }

    #[test]
    fn any_split_of_a_stream_gives_the_same_frames(
        address in address(),
        owned in owned(),
        body in vec(any::<u8>(), 0..3000),
        cut in any::<u8>(),
    ) {
        let properties = properties(&owned);
        let mut out = BytesMut::from(&[2, cut][..]);
        put_publish(&mut out, 1, &address, true);
        put_content_header(&mut out, 1, body.len() as u64, &properties);
        put_body(&mut out, 1, 1024, &body);
        put_delivery(&mut out, 2, b"tag", 9, false, &address, &properties, 4096, &body);
        fuzz_stream(&out);
        prop_assert_eq!(Properties::new(&properties).check(), Ok(()));
    }

    #[test]
    fn no_bytes_at_all_upset_a_decoder(data in vec(any::<u8>(), 0..300)) {
        fuzz_stream(&data);
        fuzz_table(&data);
        fuzz_properties(&data);
    }
}
