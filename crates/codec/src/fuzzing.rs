//! Entry points for fuzzers: any bytes go in, a panic comes out where an invariant does not hold.
//!
//! Each compares a decoder with itself (any split of a stream, decode and encode again) and with
//! amq-protocol's parser wherever both must accept.

mod method;
mod properties;
mod table;

use bytes::BytesMut;

use crate::{
    DecodeError, Frame, FrameKind, ProtocolHeader, Splitter, decode_content_header, put_ack,
};

pub use properties::fuzz_properties;
pub use table::fuzz_table;

/// The limits that a stream may be read under; the first byte of the input picks one.
const FRAME_MAXES: [u32; 4] = [0, 64, 4096, 131_072];

/// A stream of frames: the first byte picks frame_max, the second how the rest is cut into pieces.
pub fn fuzz_stream(data: &[u8]) {
    let [limit, cut, stream @ ..] = data else { return };
    protocol_header(stream);
    let frame_max = FRAME_MAXES[usize::from(*limit) % FRAME_MAXES.len()];
    let splitter = Splitter::new(frame_max);
    let whole = read_whole(splitter, stream);
    assert_eq!(whole, read_in_pieces(splitter, stream, *cut), "pieces give other frames");
    for (kind, channel, payload) in &whole.0 {
        frame(&Frame { kind: *kind, channel: *channel, payload });
    }
}

/// Frames, and the error that ended the stream.
type Outcome = (Vec<(FrameKind, u16, Vec<u8>)>, Option<DecodeError>);

fn read_whole(splitter: Splitter, stream: &[u8]) -> Outcome {
    let mut rest = stream;
    let mut frames = Vec::new();
    loop {
        match splitter.split(rest) {
            Ok(Some((frame, used))) => {
                assert_eq!(used, frame.payload.len() + crate::FRAME_OVERHEAD);
                frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
                rest = &rest[used..];
            }
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// As a connection reads: bytes are appended, whole frames are taken off the front.
fn read_in_pieces(splitter: Splitter, stream: &[u8], cut: u8) -> Outcome {
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    let mut size = usize::from(cut);
    let mut rest = stream;
    while !rest.is_empty() {
        size = (size * 31 + 7) % 97;
        let (piece, after) = rest.split_at((size + 1).min(rest.len()));
        rest = after;
        buffer.extend_from_slice(piece);
        loop {
            match splitter.split(&buffer) {
                Ok(Some((frame, used))) => {
                    frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
                    drop(buffer.split_to(used));
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// A verdict, once given, stands whatever follows; a supported header needs its eight bytes.
fn protocol_header(stream: &[u8]) {
    let mut verdict = None;
    for len in 0..=stream.len().min(ProtocolHeader::LEN + 1) {
        let next = ProtocolHeader::recognise(&stream[..len]);
        assert!(verdict.is_none() || verdict == next, "a verdict changed");
        assert!(next != Some(ProtocolHeader::Supported) || len >= ProtocolHeader::LEN);
        verdict = next;
    }
}

fn frame(frame: &Frame<'_>) {
    match frame.kind {
        FrameKind::METHOD => method::check(frame.payload),
        FrameKind::HEADER => header(frame.payload),
        _ => {}
    }
}

fn header(payload: &[u8]) {
    let Ok(header) = decode_content_header(payload) else {
        assert!(payload.len() < 14);
        return;
    };
    fuzz_properties(header.properties);
    if let Ok(([], oracle)) = amq_protocol::frame::parsing::parse_content_header(payload)
        && header.properties.len() >= 2
    {
        assert_eq!((oracle.class_id, oracle.body_size), (header.class_id, header.body_size));
    }
}

/// The payload of the only frame in `out`.
fn only_payload(out: &BytesMut) -> &[u8] {
    match Splitter::new(0).split(out) {
        Ok(Some((frame, used))) if used == out.len() => frame.payload,
        other => panic!("not one frame: {other:?}"),
    }
}

/// The bytes that an encoder appends.
fn encoded(put: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    put_ack(&mut out, 1, 1, false);
    let before = out.len();
    put(&mut out);
    out.split_off(before)
}
