//! Nanoseconds per call of what runs once per message, and basic.publish decoded by a cursor and by nom.
//!
//! `cargo bench -p leveret-codec`. Each line is the best of several rounds: what the code costs when
//! nobody else has the processor. Figures and conclusions: `docs/decisions/002-codec-hot-path.md`.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[path = "hot_path/with_nom.rs"]
mod with_nom;

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use leveret_codec::{
    Method, PropertiesWriter, Splitter, TableView, TableWriter, decode_content_header,
    decode_method, put_ack, put_body, put_content_header, put_deliver, put_delivery, put_publish,
};

/// Calls per round.
const CALLS: u32 = 200_000;
/// Rounds; the best one counts.
const ROUNDS: u32 = 15;
/// Output buffers are emptied when they pass this, as a connection does when it has written.
const OUTPUT_BYTES: usize = 64 * 1024;
const FRAME_MAX: u32 = 131_072;
const ADDRESS: &[u8] = b"\x0Bamq.default\x0Dorders.queue1";
const BODY: [u8; 16] = [7; 16];

fn main() {
    decoding();
    properties();
    encoding();
}

/// The best round's time per call.
fn measure(name: &str, mut call: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    println!("{name:<44} {best:6.1} ns");
}

/// Three frames as a publisher sends them.
fn message(properties: &[u8], body: &[u8]) -> BytesMut {
    let mut stream = BytesMut::new();
    put_publish(&mut stream, 1, ADDRESS, false);
    put_content_header(&mut stream, 1, body.len() as u64, properties);
    put_body(&mut stream, 1, FRAME_MAX, body);
    stream
}

/// The three frames of a message: split, decoded and summarised.
fn take_message(splitter: Splitter, stream: &[u8]) -> usize {
    let Ok(Some((method, used))) = splitter.split(stream) else { return 0 };
    let Ok(Method::Publish(publish)) = decode_method(method.payload) else { return 0 };
    let rest = &stream[used..];
    let Ok(Some((header, used))) = splitter.split(rest) else { return 0 };
    let Ok(header) = decode_content_header(header.payload) else { return 0 };
    let Ok(summary) = leveret_codec::Properties::new(header.properties).summary() else { return 0 };
    let Ok(Some((body, _))) = splitter.split(&rest[used..]) else { return 0 };
    black_box((publish, summary.is_persistent(), body.payload.len())).2
}

fn decoding() {
    let splitter = Splitter::new(FRAME_MAX);
    let publish = b"\x00\x3C\x00\x28\x00\x00\x0Bamq.default\x0Dorders.queue1\x00";
    measure("decode_method, basic.publish", || {
        _ = black_box(decode_method(black_box(publish)));
    });
    measure("basic.publish by a cursor alone", || {
        _ = black_box(with_nom::cursor(black_box(publish)));
    });
    measure("basic.publish by nom alone", || {
        _ = black_box(with_nom::publish(black_box(publish)));
    });
    let ack = b"\x00\x3C\x00\x50\x00\x00\x00\x00\x00\x00\x00\x09\x01";
    measure("decode_method, basic.ack", || {
        _ = black_box(decode_method(black_box(ack)));
    });
    for (name, properties) in [("none", &b"\x00\x00"[..]), ("delivery mode", b"\x10\x00\x02")] {
        let stream = message(properties, &BODY);
        measure(&format!("three frames of a publish, properties {name}"), || {
            assert_eq!(take_message(splitter, black_box(&stream)), BODY.len());
        });
    }
}

fn properties() {
    let mut table = Vec::new();
    let mut writer = TableWriter::new(&mut table);
    writer.string("x-trace-id", "0af7651916cd43dd8448eb211c80319c");
    writer.long("attempt", 3);
    writer.bool("urgent", true);
    writer.string("tenant", "blue");
    let all = PropertiesWriter {
        content_type: Some(b"application/json"),
        headers: Some(&table),
        delivery_mode: Some(2),
        correlation_id: Some(b"6f1a8f3e"),
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        ..PropertiesWriter::default()
    };
    let bytes = all.to_bytes().unwrap_or_default();
    measure("summary, five properties, four headers", || {
        _ = black_box(leveret_codec::Properties::new(black_box(&bytes)).summary());
    });
    measure("get the last of four headers", || {
        _ = black_box(TableView::new(black_box(&table)).get("tenant"));
    });
}

fn encoding() {
    let mut out = BytesMut::with_capacity(OUTPUT_BYTES * 2);
    let mut tag = 0;
    measure("put_delivery, 16 bytes", || {
        tag += 1;
        let properties = b"\x10\x00\x02";
        put_delivery(
            &mut out,
            1,
            b"ctag1.0f3e2d",
            black_box(tag),
            false,
            black_box(ADDRESS),
            black_box(properties),
            FRAME_MAX,
            black_box(&BODY),
        );
        empty(&mut out);
    });
    measure("deliver, header, body one by one", || {
        tag += 1;
        put_deliver(&mut out, 1, b"ctag1.0f3e2d", black_box(tag), false, black_box(ADDRESS));
        put_content_header(&mut out, 1, 16, black_box(b"\x10\x00\x02"));
        put_body(&mut out, 1, FRAME_MAX, black_box(&BODY));
        empty(&mut out);
    });
    measure("put_publish, header, body one by one", || {
        put_publish(&mut out, 1, black_box(ADDRESS), false);
        put_content_header(&mut out, 1, 16, black_box(b"\x10\x00\x02"));
        put_body(&mut out, 1, FRAME_MAX, black_box(&BODY));
        empty(&mut out);
    });
    measure("put_ack", || {
        tag += 1;
        put_ack(&mut out, 1, black_box(tag), true);
        empty(&mut out);
    });
}

fn empty(out: &mut BytesMut) {
    if out.len() > OUTPUT_BYTES {
        black_box(&out[..]);
        out.clear();
    }
}
