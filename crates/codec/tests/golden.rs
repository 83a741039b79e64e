//! Golden frames: every stream decodes to the text beside it, and encodes back to what came.
//!
//! `UPDATE_GOLDEN=1 cargo test -p leveret-codec --test golden` writes the texts anew; read the difference.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/files.rs"]
mod files;

use std::fmt::Write;

use bytes::BytesMut;
use leveret_codec::{
    ArrayView, DecodeError, FRAME_END, Frame, FrameKind, Method, Properties, ProtocolHeader,
    Splitter, TableView, ValueView, decode_content_header, decode_deliver, decode_method, put_ack,
    put_content_header, put_deliver, put_method, put_nack, put_publish,
};

#[test]
fn every_stream_decodes_to_the_text_beside_it() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for golden in files::load() {
        let text = decode(&golden.bytes);
        let path = files::folder().join(format!("{}.txt", golden.name));
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        for (number, (got, want)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(got, want, "{} line {}", golden.name, number + 1);
        }
        assert_eq!(text, expected, "{}", golden.name);
    }
}

#[test]
fn hot_frames_encode_to_the_bytes_that_came() {
    let mut encoded = 0;
    for golden in files::load() {
        for frame in frames(&golden.bytes) {
            let mut out = BytesMut::new();
            if encode_again(&frame, &mut out) {
                assert_eq!(out, wire(&frame), "{}", golden.name);
                encoded += 1;
            }
        }
    }
    assert!(encoded > 30, "only {encoded} frames were encoded again");
}

#[test]
fn other_methods_survive_being_written() {
    for golden in files::load() {
        for frame in frames(&golden.bytes).into_iter().filter(|f| f.kind == FrameKind::METHOD) {
            let Ok(Method::Other(class)) = decode_method(frame.payload) else { continue };
            let mut out = BytesMut::new();
            put_method(&mut out, frame.channel, &class);
            let again = frames(&out);
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].channel, frame.channel);
            assert_eq!(decode_method(again[0].payload), Ok(Method::Other(class)));
        }
    }
}

fn frames(stream: &[u8]) -> Vec<Frame<'_>> {
    let mut rest = match ProtocolHeader::recognise(stream) {
        Some(ProtocolHeader::Supported) => &stream[ProtocolHeader::LEN..],
        _ => stream,
    };
    let mut frames = Vec::new();
    while let Some((frame, used)) = Splitter::new(131_072).split(rest).unwrap() {
        frames.push(frame);
        rest = &rest[used..];
    }
    assert_eq!(rest, b"");
    frames
}

fn wire(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = vec![frame.kind.0];
    bytes.extend(frame.channel.to_be_bytes());
    bytes.extend((frame.payload.len() as u32).to_be_bytes());
    bytes.extend(frame.payload);
    bytes.push(FRAME_END);
    bytes
}

/// Whether the frame is one that has an encoder of its own.
fn encode_again(frame: &Frame<'_>, out: &mut BytesMut) -> bool {
    let channel = frame.channel;
    if frame.kind == FrameKind::HEADER {
        let header = decode_content_header(frame.payload).unwrap();
        put_content_header(out, channel, header.body_size, header.properties);
        return true;
    }
    if frame.kind != FrameKind::METHOD {
        return false;
    }
    if let Ok(deliver) = decode_deliver(frame.payload) {
        let (tag, redelivered) = (deliver.delivery_tag, deliver.redelivered);
        put_deliver(out, channel, deliver.consumer_tag, tag, redelivered, deliver.address);
        return true;
    }
    match decode_method(frame.payload).unwrap() {
        Method::Publish(publish) => put_publish(out, channel, publish.address, publish.mandatory),
        Method::Ack { delivery_tag, multiple } => put_ack(out, channel, delivery_tag, multiple),
        Method::Nack { delivery_tag, multiple, requeue } => {
            put_nack(out, channel, delivery_tag, multiple, requeue);
        }
        _ => return false,
    }
    true
}

fn decode(stream: &[u8]) -> String {
    let mut text = String::new();
    if ProtocolHeader::recognise(stream) == Some(ProtocolHeader::Supported) {
        text.push_str("protocol header\n");
    }
    for frame in frames(stream) {
        write!(text, "{} ", frame.channel).unwrap();
        match frame.kind {
            FrameKind::METHOD => method(frame.payload, &mut text),
            FrameKind::HEADER => header(frame.payload, &mut text),
            FrameKind::BODY if frame.payload.len() > 64 => {
                write!(text, "body of {} bytes", frame.payload.len()).unwrap();
            }
            FrameKind::BODY => write!(text, "body {}", show(frame.payload)).unwrap(),
            kind => write!(text, "{kind:?}").unwrap(),
        }
        text.push('\n');
    }
    text
}

fn show(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("{:?}", bytes.escape_ascii().to_string()),
    }
}

fn method(payload: &[u8], text: &mut String) {
    if let Ok(deliver) = decode_deliver(payload) {
        let (tag, redelivered) = (deliver.delivery_tag, deliver.redelivered);
        let (consumer, address) = (show(deliver.consumer_tag), show(deliver.address));
        return write!(text, "Deliver {consumer} {tag} redelivered={redelivered} {address}")
            .unwrap();
    }
    match decode_method(payload).unwrap() {
        Method::Publish(publish) => {
            let (exchange, key) = (show(publish.exchange), show(publish.routing_key));
            let (mandatory, immediate) = (publish.mandatory, publish.immediate);
            write!(text, "Publish {exchange} {key} mandatory={mandatory} immediate={immediate}")
        }
        Method::Other(class) => write!(text, "{}", readable(&format!("{class:?}"))),
        method => write!(text, "{method:?}"),
    }
    .unwrap();
}

/// The catalogue's Debug form with `LongString([104, 105])` as `LongString("hi")`.
fn readable(debug: &str) -> String {
    let mut out = String::new();
    let mut rest = debug;
    while let Some((before, after)) = rest.split_once("LongString([") {
        let (numbers, after) = after.split_once("])").unwrap();
        let bytes: Vec<u8> =
            numbers.split(", ").filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        write!(out, "{before}LongString({})", show(&bytes)).unwrap();
        rest = after;
    }
    out + rest
}

fn header(payload: &[u8], text: &mut String) {
    let header = decode_content_header(payload).unwrap();
    let (class, weight, size) = (header.class_id, header.weight, header.body_size);
    write!(text, "header class={class} weight={weight} size={size}").unwrap();
    let properties = Properties::new(header.properties);
    assert_eq!(properties.check(), Ok(()));
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("message_id", properties.message_id()),
        ("type", properties.type_()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
    ];
    for (name, value) in texts {
        value.into_iter().for_each(|value| write!(text, " {name}={}", show(value)).unwrap());
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode().map(u64::from)),
        ("priority", properties.priority().map(u64::from)),
        ("timestamp", properties.timestamp()),
    ];
    for (name, value) in numbers {
        value.into_iter().for_each(|value| write!(text, " {name}={value}").unwrap());
    }
    if let Some(headers) = properties.headers() {
        text.push_str(" headers=");
        table(headers, text).unwrap();
    }
}

fn table(view: TableView<'_>, text: &mut String) -> Result<(), DecodeError> {
    text.push('{');
    for (index, field) in view.iter().enumerate() {
        let (key, field) = field?;
        text.push_str(if index == 0 { "" } else { ", " });
        text.push_str(&String::from_utf8_lossy(key));
        text.push('=');
        value(field, text)?;
    }
    text.push('}');
    Ok(())
}

fn array(view: ArrayView<'_>, text: &mut String) -> Result<(), DecodeError> {
    text.push('[');
    for (index, element) in view.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        value(element?, text)?;
    }
    text.push(']');
    Ok(())
}

fn value(view: ValueView<'_>, text: &mut String) -> Result<(), DecodeError> {
    match view {
        ValueView::Table(view) => table(view, text),
        ValueView::Array(view) => array(view, text),
        ValueView::LongString(bytes) => {
            text.push_str(&show(bytes));
            Ok(())
        }
        other => {
            write!(text, "{other:?}").unwrap();
            Ok(())
        }
    }
}
