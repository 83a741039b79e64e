//! Encoders: the frames they append, read by our own splitter and by amq-protocol.

use amq_protocol::frame::{AMQPFrame, parsing::parse_frame};
use amq_protocol::protocol::basic;

use super::*;

/// Frames of a buffer as amq-protocol reads them.
fn oracle(out: &BytesMut) -> Vec<AMQPFrame> {
    let mut rest = &out[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).unwrap();
        frames.push(frame);
        rest = after;
    }
    frames
}

const ADDRESS: &[u8] = b"\x02ex\x03key";

fn delivery(frame_max: u32, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    put_delivery(&mut out, 5, b"ctag", 77, true, ADDRESS, b"\x10\x00\x02", frame_max, body);
    out
}

#[test]
fn a_delivery_is_its_three_parts() {
    for (frame_max, len) in [(4096, 16), (0, 70_000), (4096, 0), (4096, 4088), (4096, 4089)] {
        let body = vec![7; len];
        let mut parts = BytesMut::new();
        put_deliver(&mut parts, 5, b"ctag", 77, true, ADDRESS);
        put_content_header(&mut parts, 5, body.len() as u64, b"\x10\x00\x02");
        put_body(&mut parts, 5, frame_max, &body);
        assert_eq!(delivery(frame_max, &body), parts);
    }
}

#[test]
fn frames_made_once_are_the_same_frames() {
    for (tag, properties) in
        [(&b"ctag"[..], &b"\x10\x00\x02"[..]), (b"", b"\0\0"), (&[b't'; 300], b"\0\0")]
    {
        let mut frames = DeliveryFrames::new(5, tag, ADDRESS, properties, 4096);
        let mut out = BytesMut::new();
        for (number, redelivered, len) in [(1, false, 1), (u64::MAX, true, 4088), (77, false, 300)]
        {
            let body = vec![number as u8; len];
            let mut expected = BytesMut::new();
            put_delivery(
                &mut expected,
                5,
                tag,
                number,
                redelivered,
                ADDRESS,
                properties,
                4096,
                &body,
            );
            assert!(frames.put(&mut out, number, redelivered, &body));
            assert_eq!(out.split(), expected);
        }
        assert!(
            !frames.put(&mut out, 1, false, &[]) && !frames.put(&mut out, 1, false, &[0; 4089])
        );
        assert!(out.is_empty());
    }
}

#[test]
fn amq_protocol_reads_a_delivery() {
    let frames = oracle(&delivery(4096, &[7; 5000]));
    let deliver = basic::Deliver {
        consumer_tag: "ctag".into(),
        delivery_tag: 77,
        redelivered: true,
        exchange: "ex".into(),
        routing_key: "key".into(),
    };
    let expected = AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver));
    assert_eq!(frames[0], AMQPFrame::Method(5, expected));
    let AMQPFrame::Header(5, header) = &frames[1] else { panic!("no header: {frames:?}") };
    assert_eq!((header.class_id, header.body_size), (60, 5000));
    assert_eq!(*header.properties.delivery_mode(), Some(2));
    assert_eq!(frames[2], AMQPFrame::Body(5, vec![7; 4088]));
    assert_eq!(frames[3], AMQPFrame::Body(5, vec![7; 912]));
    assert_eq!(frames.len(), 4);
}

#[test]
fn amq_protocol_reads_every_other_encoder() {
    let mut out = BytesMut::new();
    put_get_ok(&mut out, 1, 8, true, ADDRESS, 9);
    put_return(&mut out, 2, 312, "NO_ROUTE", ADDRESS);
    put_publish(&mut out, 3, ADDRESS, true);
    put_ack(&mut out, 4, 10, true);
    put_nack(&mut out, 5, 11, false, true);
    put_heartbeat(&mut out);
    let (exchange, routing_key) = ("ex".into(), "key".into());
    let get_ok = basic::GetOk {
        delivery_tag: 8,
        redelivered: true,
        exchange,
        routing_key,
        message_count: 9,
    };
    let (exchange, routing_key) = ("ex".into(), "key".into());
    let reply_text = "NO_ROUTE".into();
    let returned = basic::Return { reply_code: 312, reply_text, exchange, routing_key };
    let (exchange, routing_key) = ("ex".into(), "key".into());
    let publish = basic::Publish { exchange, routing_key, mandatory: true, immediate: false };
    let method = |channel, method| AMQPFrame::Method(channel, AMQPClass::Basic(method));
    let expected = vec![
        method(1, basic::AMQPMethod::GetOk(get_ok)),
        method(2, basic::AMQPMethod::Return(returned)),
        method(3, basic::AMQPMethod::Publish(publish)),
        method(4, basic::AMQPMethod::Ack(basic::Ack { delivery_tag: 10, multiple: true })),
        method(
            5,
            basic::AMQPMethod::Nack(basic::Nack {
                delivery_tag: 11,
                multiple: false,
                requeue: true,
            }),
        ),
        AMQPFrame::Heartbeat,
    ];
    assert_eq!(oracle(&out), expected);
}

#[test]
fn an_empty_body_is_no_frame_at_all() {
    let mut out = BytesMut::new();
    put_body(&mut out, 1, 4096, b"");
    assert!(out.is_empty());
    assert_eq!(oracle(&delivery(4096, b"")).len(), 2);
}

#[test]
fn a_body_by_reference_is_the_same_frame() {
    let mut by_copy = BytesMut::new();
    put_body(&mut by_copy, 9, 0, b"large");
    let by_reference = [&body_frame_head(9, 5)[..], b"large", &[FRAME_END]].concat();
    assert_eq!(by_copy, by_reference);
}

#[test]
fn a_name_that_is_too_long_is_cut_not_corrupting() {
    let mut out = BytesMut::new();
    put_deliver(&mut out, 1, &[b'c'; 300], 1, false, ADDRESS);
    put_return(&mut out, 1, 312, &"t".repeat(300), ADDRESS);
    let frames = oracle(&out);
    assert_eq!(frames.len(), 2);
    let AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Return(returned))) = &frames[1]
    else {
        panic!("no return: {frames:?}");
    };
    assert_eq!(returned.reply_text.as_str().len(), 255);
}
