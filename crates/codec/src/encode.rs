//! Values into frames, appended to an output buffer. What runs once per message is written by hand with
//! one reservation; every other method goes through amq-protocol.
//!
//! Hot path.

use amq_protocol::protocol::{AMQPClass, gen_class};
use bytes::BytesMut;

use crate::string::clamp;
use crate::{FRAME_END, FRAME_OVERHEAD, FrameKind, short_string};

/// The class and method ids that start a hot method's payload.
mod id {
    pub(super) const PUBLISH: [u8; 4] = [0, 60, 0, 40];
    pub(super) const RETURN: [u8; 4] = [0, 60, 0, 50];
    pub(super) const DELIVER: [u8; 4] = [0, 60, 0, 60];
    pub(super) const GET_OK: [u8; 4] = [0, 60, 0, 71];
    pub(super) const ACK: [u8; 4] = [0, 60, 0, 80];
    pub(super) const NACK: [u8; 4] = [0, 60, 0, 120];
}

/// Bytes of a content header's payload before the properties.
const HEADER_FIXED: usize = 12;
/// Bytes of a deliver's payload besides consumer tag and address.
const DELIVER_FIXED: usize = 14;

/// Bytes of a frame before its payload.
const BODY_HEAD: usize = FRAME_OVERHEAD - 1;

/// The seven bytes before a payload.
#[inline]
fn frame_head(kind: FrameKind, channel: u16, len: usize) -> [u8; 7] {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = (len as u32).to_be_bytes();
    [kind.0, c0, c1, s0, s1, s2, s3]
}

/// The head of a method frame and its ids; `len` is the whole payload's.
#[inline]
fn method_head(channel: u16, len: usize, id: [u8; 4]) -> [u8; 11] {
    let [kind, c0, c1, s0, s1, s2, s3] = frame_head(FrameKind::METHOD, channel, len);
    let [i0, i1, i2, i3] = id;
    [kind, c0, c1, s0, s1, s2, s3, i0, i1, i2, i3]
}

/// A delivery tag and a bit.
#[inline]
fn tag_and_bits(delivery_tag: u64, bits: u8) -> [u8; 9] {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = delivery_tag.to_be_bytes();
    [t0, t1, t2, t3, t4, t5, t6, t7, bits]
}

/// A frame whose payload is ids, `front`, `address` and `back`.
#[inline]
fn put_addressed(
    out: &mut BytesMut,
    channel: u16,
    id: [u8; 4],
    (front, address, back): (&[u8], &[u8], &[u8]),
) {
    let len = id.len() + front.len() + address.len() + back.len();
    out.reserve(len + FRAME_OVERHEAD);
    out.extend_from_slice(&method_head(channel, len, id));
    out.extend_from_slice(front);
    out.extend_from_slice(address);
    out.extend_from_slice(back);
    out.extend_from_slice(&[FRAME_END]);
}

/// Any method, through amq-protocol. Its short strings are at most 255 bytes by construction.
pub fn put_method(out: &mut BytesMut, channel: u16, method: &AMQPClass) {
    #[expect(
        clippy::expect_used,
        reason = "amq-protocol's generators fail only where the sink does"
    )]
    let (payload, _) = gen_class::<Vec<u8>>(method)(Vec::new().into())
        .map(|context| context.into_inner())
        .expect("a vector takes every byte");
    out.reserve(payload.len() + FRAME_OVERHEAD);
    out.extend_from_slice(&frame_head(FrameKind::METHOD, channel, payload.len()));
    out.extend_from_slice(&payload);
    out.extend_from_slice(&[FRAME_END]);
}

/// basic.deliver: the method frame alone. `address` is exchange and routing key, each behind its length
/// byte; a consumer tag is at most 255 bytes.
// spec: basic.deliver
#[inline]
pub fn put_deliver(
    out: &mut BytesMut,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
) {
    let consumer_tag = clamp(consumer_tag);
    out.reserve(DELIVER_FIXED + consumer_tag.len() + address.len() + FRAME_OVERHEAD);
    push_deliver(
        out,
        channel,
        consumer_tag,
        tag_and_bits(delivery_tag, redelivered.into()),
        address,
    );
    out.extend_from_slice(&[FRAME_END]);
}

/// A deliver frame up to its end octet.
#[inline]
fn push_deliver(
    out: &mut BytesMut,
    channel: u16,
    consumer_tag: &[u8],
    tag_and_bits: [u8; 9],
    address: &[u8],
) {
    let len = DELIVER_FIXED + consumer_tag.len() + address.len();
    let [a, b, c, d, e, f, g, h, i, j, k] = method_head(channel, len, id::DELIVER);
    out.extend_from_slice(&[a, b, c, d, e, f, g, h, i, j, k, consumer_tag.len() as u8]);
    out.extend_from_slice(consumer_tag);
    out.extend_from_slice(&tag_and_bits);
    out.extend_from_slice(address);
}

/// basic.deliver with content header and body, the frames of one message to one consumer. The same bytes
/// as [`put_deliver`], [`put_content_header`] and [`put_body`], with one reservation.
#[expect(clippy::too_many_arguments, reason = "the fields of three frames, once per message")]
#[inline]
pub fn put_delivery(
    out: &mut BytesMut,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
    properties: &[u8],
    frame_max: u32,
    body: &[u8],
) {
    let consumer_tag = clamp(consumer_tag);
    let fixed = DELIVER_FIXED + HEADER_FIXED + 3 * FRAME_OVERHEAD;
    let variable = consumer_tag.len() + address.len() + properties.len() + body.len();
    out.reserve(fixed + variable);
    push_deliver(
        out,
        channel,
        consumer_tag,
        tag_and_bits(delivery_tag, redelivered.into()),
        address,
    );
    push_header_after_end(out, channel, body.len() as u64, properties);
    if body.is_empty() || body.len() > body_frame_max(frame_max) {
        out.extend_from_slice(&[FRAME_END]);
        put_body(out, channel, frame_max, body);
        return;
    }
    let [a, b, c, d, e, f, g] = body_frame_head(channel, body.len());
    out.extend_from_slice(&[FRAME_END, a, b, c, d, e, f, g]);
    out.extend_from_slice(body);
    out.extend_from_slice(&[FRAME_END]);
}

/// The frames of messages that go to one consumer with the same address and properties, made once: for
/// each message only what differs is written into them. The same bytes as [`put_delivery`].
#[derive(Debug)]
pub struct DeliveryFrames {
    /// The deliver frame, the header frame and the head of the body frame.
    bytes: Vec<u8>,
    /// Where the delivery tag is.
    tag_at: usize,
    /// Where the header frame's body size is.
    size_at: usize,
    /// The largest body in one frame.
    body_max: usize,
}

impl DeliveryFrames {
    /// The frames on `channel` for the consumer of this tag.
    #[must_use]
    pub fn new(
        channel: u16,
        consumer_tag: &[u8],
        address: &[u8],
        properties: &[u8],
        frame_max: u32,
    ) -> Self {
        let mut bytes = BytesMut::new();
        put_delivery(&mut bytes, channel, consumer_tag, 0, false, address, properties, 0, &[0]);
        // Without the body and its end octet.
        bytes.truncate(bytes.len() - 2);
        let tag_at = FRAME_OVERHEAD + 4 + clamp(consumer_tag).len();
        let size_at = bytes.len() - BODY_HEAD - 1 - properties.len() - 8;
        Self { bytes: bytes.to_vec(), tag_at, size_at, body_max: body_frame_max(frame_max) }
    }

    /// Appends the frames of one message. `false`, and nothing is appended, if its body is empty or
    /// does not fit into one frame.
    #[inline]
    pub fn put(
        &mut self,
        out: &mut BytesMut,
        delivery_tag: u64,
        redelivered: bool,
        body: &[u8],
    ) -> bool {
        if body.is_empty() || body.len() > self.body_max {
            return false;
        }
        let size = body.len() as u64;
        let end = self.bytes.len();
        self.set(self.tag_at, tag_and_bits(delivery_tag, redelivered.into()));
        self.set(self.size_at, size.to_be_bytes());
        self.set(end - 4, (size as u32).to_be_bytes());
        out.reserve(end + body.len() + 1);
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(body);
        out.extend_from_slice(&[FRAME_END]);
        true
    }

    #[inline]
    fn set<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(at..at + N) {
            place.copy_from_slice(&value);
        }
    }
}

/// The end octet of the frame before, and a header frame up to its own.
#[inline]
fn push_header_after_end(out: &mut BytesMut, channel: u16, body_size: u64, properties: &[u8]) {
    let [k, c0, c1, s0, s1, s2, s3] =
        frame_head(FrameKind::HEADER, channel, HEADER_FIXED + properties.len());
    let [b0, b1, b2, b3, b4, b5, b6, b7] = body_size.to_be_bytes();
    #[rustfmt::skip]
    let head = [
        FRAME_END, k, c0, c1, s0, s1, s2, s3, 0, 60, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7,
    ];
    out.extend_from_slice(&head);
    out.extend_from_slice(properties);
}

/// basic.get-ok: the method frame alone.
// spec: basic.get-ok
#[inline]
pub fn put_get_ok(
    out: &mut BytesMut,
    channel: u16,
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
    message_count: u32,
) {
    let front = tag_and_bits(delivery_tag, redelivered.into());
    let back = message_count.to_be_bytes();
    put_addressed(out, channel, id::GET_OK, (&front, address, &back));
}

/// basic.return: the method frame alone. A text of more than 255 bytes is cut.
// spec: basic.return
pub fn put_return(
    out: &mut BytesMut,
    channel: u16,
    reply_code: u16,
    reply_text: &str,
    address: &[u8],
) {
    let text = short_string(reply_text);
    let text = text.as_str().as_bytes();
    let [c0, c1] = reply_code.to_be_bytes();
    let front = [&[c0, c1, text.len() as u8], text].concat();
    put_addressed(out, channel, id::RETURN, (&front, address, &[]));
}

/// basic.publish as a client sends it: the method frame alone.
// spec: basic.publish
#[inline]
pub fn put_publish(out: &mut BytesMut, channel: u16, address: &[u8], mandatory: bool) {
    put_addressed(out, channel, id::PUBLISH, (&[0, 0], address, &[mandatory.into()]));
}

/// A content header of class basic. `properties` are flags and values.
#[inline]
pub fn put_content_header(out: &mut BytesMut, channel: u16, body_size: u64, properties: &[u8]) {
    let len = HEADER_FIXED + properties.len();
    out.reserve(len + FRAME_OVERHEAD);
    let [k, c0, c1, s0, s1, s2, s3] = frame_head(FrameKind::HEADER, channel, len);
    let [b0, b1, b2, b3, b4, b5, b6, b7] = body_size.to_be_bytes();
    let head = [k, c0, c1, s0, s1, s2, s3, 0, 60, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7];
    out.extend_from_slice(&head);
    out.extend_from_slice(properties);
    out.extend_from_slice(&[FRAME_END]);
}

/// The largest payload of a body frame under `frame_max`; 0 is no limit. A frame_max too small for any
/// payload, which no handshake lets pass, counts as one byte of payload.
#[inline]
fn body_frame_max(frame_max: u32) -> usize {
    match frame_max {
        0 => u32::MAX as usize,
        _ => (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1),
    }
}

/// A body in frames of at most `frame_max` bytes each; nothing at all for an empty body.
#[inline]
pub fn put_body(out: &mut BytesMut, channel: u16, frame_max: u32, body: &[u8]) {
    let max = body_frame_max(frame_max);
    out.reserve(body.len() + body.len().div_ceil(max) * FRAME_OVERHEAD);
    for piece in body.chunks(max) {
        out.extend_from_slice(&body_frame_head(channel, piece.len()));
        out.extend_from_slice(piece);
        out.extend_from_slice(&[FRAME_END]);
    }
}

/// The head of a body frame of `len` bytes, for bodies that are written by reference; after them comes
/// [`FRAME_END`].
#[inline]
#[must_use]
pub fn body_frame_head(channel: u16, len: usize) -> [u8; 7] {
    frame_head(FrameKind::BODY, channel, len)
}

/// basic.ack: a client's, or a confirm.
// spec: basic.ack
#[inline]
pub fn put_ack(out: &mut BytesMut, channel: u16, delivery_tag: u64, multiple: bool) {
    put_settlement(out, channel, id::ACK, delivery_tag, multiple.into());
}

/// basic.nack: a client's, or a negative confirm.
// rabbitmq: basic.nack
#[inline]
pub fn put_nack(
    out: &mut BytesMut,
    channel: u16,
    delivery_tag: u64,
    multiple: bool,
    requeue: bool,
) {
    let bits = u8::from(multiple) | u8::from(requeue) << 1;
    put_settlement(out, channel, id::NACK, delivery_tag, bits);
}

#[inline]
fn put_settlement(out: &mut BytesMut, channel: u16, id: [u8; 4], delivery_tag: u64, bits: u8) {
    let [a, b, c, d, e, f, g, h, i, j, k] = method_head(channel, 13, id);
    let [t0, t1, t2, t3, t4, t5, t6, t7, bits] = tag_and_bits(delivery_tag, bits);
    out.extend_from_slice(&[
        a, b, c, d, e, f, g, h, i, j, k, t0, t1, t2, t3, t4, t5, t6, t7, bits, FRAME_END,
    ]);
}

/// A heartbeat.
#[inline]
pub fn put_heartbeat(out: &mut BytesMut) {
    out.extend_from_slice(&[FrameKind::HEARTBEAT.0, 0, 0, 0, 0, 0, 0, FRAME_END]);
}

#[cfg(test)]
mod tests;
