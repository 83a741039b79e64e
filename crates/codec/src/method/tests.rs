//! Methods: hot decoding, the guard, and what amq-protocol would do without it.

use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::BytesMut;

use super::*;
use crate::{TABLE_DEPTH_MAX, Table, put_method};

const PUBLISH: &[u8] = b"\x00\x3C\x00\x28\x00\x00\x02ex\x03key\x01";

#[test]
fn publish_borrows_both_names_and_the_bytes_of_both() {
    let Ok(Method::Publish(publish)) = decode_method(PUBLISH) else { panic!("not a publish") };
    assert_eq!((publish.exchange, publish.routing_key), (&b"ex"[..], &b"key"[..]));
    assert_eq!(publish.address, b"\x02ex\x03key");
    assert!(publish.mandatory && !publish.immediate);
}

#[test]
fn publish_cut_anywhere_is_truncated_and_longer_is_trailing() {
    for len in 0..PUBLISH.len() {
        assert_eq!(decode_method(&PUBLISH[..len]), Err(DecodeError::Truncated), "{len}");
    }
    let longer = [PUBLISH, b"\x00"].concat();
    assert_eq!(decode_method(&longer), Err(DecodeError::TrailingBytes));
}

#[test]
fn publish_names_may_be_any_bytes() {
    let payload = b"\x00\x3C\x00\x28\x00\x00\x00\x02\xFF\xFE\x03";
    let Ok(Method::Publish(publish)) = decode_method(payload) else { panic!("not a publish") };
    assert_eq!((publish.routing_key, publish.immediate), (&b"\xFF\xFE"[..], true));
}

#[test]
fn settlements_of_a_wrong_length_are_named() {
    let ack = b"\x00\x3C\x00\x50\x00\x00\x00\x00\x00\x00\x00\x09\x01";
    assert_eq!(decode_method(ack), Ok(Method::Ack { delivery_tag: 9, multiple: true }));
    assert_eq!(decode_method(&ack[..12]), Err(DecodeError::Truncated));
    let longer = [&ack[..], b"\x00"].concat();
    assert_eq!(decode_method(&longer), Err(DecodeError::TrailingBytes));
}

#[test]
fn unknown_methods_and_short_payloads() {
    let unknown = DecodeError::UnknownMethod { class: 77, method: 10 };
    assert_eq!(decode_method(b"\x00\x4D\x00\x0A"), Err(unknown));
    assert_eq!(decode_method(b""), Err(DecodeError::Truncated));
    assert_eq!(method_id(b"\x00\x0A\x00\x0B rest"), Some((10, 11)));
    assert_eq!(method_id(b"\x00\x0A\x00"), None);
}

/// queue.declare of `q` with the bytes of an argument table.
fn declare(arguments: &[u8]) -> Vec<u8> {
    let mut payload = b"\x00\x32\x00\x0A\x00\x00\x01q\x02".to_vec();
    payload.extend((arguments.len() as u32).to_be_bytes());
    payload.extend(arguments);
    payload
}

fn declared(arguments: &[u8]) -> Result<Table, DecodeError> {
    match decode_method(&declare(arguments))? {
        Method::Other(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))) => {
            assert!(declare.durable);
            Ok(declare.arguments.into())
        }
        other => panic!("not a declare: {other:?}"),
    }
}

#[test]
fn of_equal_keys_the_first_counts_at_every_depth() {
    let inner = b"\x01aI\x00\x00\x00\x01\x01aI\x00\x00\x00\x02";
    let mut arguments = b"\x01kt\x01\x01zV\x01kS\x00\x00\x00\x01x\x01nA\x00\x00\x00\x13F".to_vec();
    arguments.extend((inner.len() as u32).to_be_bytes());
    arguments.extend(inner);
    let table = declared(&arguments).unwrap();
    assert_eq!(table.len(), 3);
    assert_eq!(table.get("k").and_then(crate::Value::as_bool), Some(true));
    let Some(crate::Value::Array(values)) = table.get("n") else { panic!("no array") };
    let inner = values[0].as_table().unwrap();
    assert_eq!((inner.len(), inner.get("a").unwrap().as_i64()), (1, Some(1)));
}

#[test]
fn arguments_of_bad_types_or_lengths_are_named() {
    assert_eq!(declared(b"\x01kZ"), Err(DecodeError::BadTableType(b'Z')));
    assert_eq!(declared(b"\x01kU\x00\x01"), Err(DecodeError::BadTableType(b'U')));
    assert_eq!(declared(b"\x01kS\x00\x00\x00\x05x"), Err(DecodeError::Truncated));
    assert_eq!(declared(b"\x01\xFFV"), Err(DecodeError::BadShortString));
    let mut cut = declare(b"\x01kV");
    cut[12] = 50;
    assert_eq!(decode_method(&cut), Err(DecodeError::Truncated));
}

#[test]
fn names_that_are_not_utf8_are_refused_outside_publish() {
    let declare = b"\x00\x32\x00\x0A\x00\x00\x02\xFF\xFE\x00\x00\x00\x00\x00";
    assert_eq!(decode_method(declare), Err(DecodeError::BadShortString));
}

#[test]
fn a_table_as_deep_as_a_frame_allows_is_refused_before_anything_recurses() {
    let deep = |depth: usize| {
        (1..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = b"\x00F".to_vec();
            outer.extend((inner.len() as u32).to_be_bytes());
            outer.extend(inner);
            outer
        })
    };
    assert!(declared(&deep(TABLE_DEPTH_MAX)).is_ok());
    assert_eq!(declared(&deep(TABLE_DEPTH_MAX + 1)), Err(DecodeError::TableTooDeep));
    assert_eq!(declared(&deep(20_000)), Err(DecodeError::TableTooDeep));
}

#[test]
fn put_method_writes_what_decode_method_reads() {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(5));
    let consume = basic::Consume { queue: "q".into(), arguments, ..basic::Consume::default() };
    let class = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
    let mut out = BytesMut::new();
    put_method(&mut out, 3, &class);
    let (frame, used) = crate::Splitter::new(4096).split(&out).unwrap().unwrap();
    assert_eq!((frame.channel, used), (3, out.len()));
    assert_eq!(decode_method(frame.payload), Ok(Method::Other(class)));
}

#[test]
fn the_prefetch_size_that_the_catalogue_drops_is_found() {
    let qos = b"\x00\x3C\x00\x0A\x00\x00\x04\x00\x00\x05\x00";
    assert!(matches!(decode_method(qos), Ok(Method::Other(_))));
    assert_eq!(qos_prefetch_size(qos), Some(1024));
    assert_eq!(qos_prefetch_size(PUBLISH), None);
}

#[test]
fn deliver_is_read_and_other_methods_are_named() {
    let payload = b"\x00\x3C\x00\x3C\x01c\x00\x00\x00\x00\x00\x00\x00\x05\x01\x00\x01q";
    let expected =
        Deliver { consumer_tag: b"c", delivery_tag: 5, redelivered: true, address: b"\x00\x01q" };
    assert_eq!(decode_deliver(payload), Ok(expected));
    let other = DecodeError::UnknownMethod { class: 60, method: 40 };
    assert_eq!(decode_deliver(PUBLISH), Err(other));
}
