//! Hot path. Finds deliveries in what a consumer has read. The first whole delivery is decoded by
//! the codec and its *shape* kept: the bytes that the next deliveries from the same queue have in
//! common. A run of deliveries with that shape costs a few comparisons each; everything else goes
//! through the codec, frame by frame.

use leveret_codec::{
    BASIC_CLASS, Deliver, FRAME_END, FRAME_OVERHEAD, Frame, FrameKind, Splitter,
    decode_content_header, decode_deliver,
};

use super::error::PerfError;
use super::options::STAMP_BYTES;

/// Bytes of a method frame up to the consumer tag: frame head, class, method, and the tag's length.
const FRONT: usize = 12;
/// Delivery tag and redelivered bit.
const TAG_AND_BIT: usize = 9;

/// What a whole delivery looks like when its body is in one frame.
///
/// ```text
/// | front | consumer tag | delivery tag | redelivered | exchange, key | middle | body | end  |
/// | 12 B  | any length   | 8 B          | 1 B         | any length    |        |      | 0xCE |
/// | same  |              | read         | read        |               | same   | read | same |
/// ```
///
/// The middle is deliver's end octet, the header frame, and the body frame's head. The length of
/// the exchange is compared too: with the frame's size it fixes where everything is.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    len: usize,
    front: [u8; FRONT],
    tag_at: usize,
    exchange_len: u8,
    middle_at: usize,
    middle: Vec<u8>,
    body_at: usize,
}

impl Shape {
    /// The shape of the delivery that `bytes` starts with; `None` when it is not whole, or its body
    /// not in one frame.
    fn learn(bytes: &[u8], splitter: Splitter) -> Option<Self> {
        let (method, method_len) = splitter.split(bytes).ok()??;
        let deliver = decode_deliver(method.payload).ok()?;
        let (header, header_len) = splitter.split(&bytes[method_len..]).ok()??;
        let (body, body_len) = splitter.split(&bytes[method_len + header_len..]).ok()??;
        let size = decode_content_header(header.payload).ok()?.body_size;
        let same_channel = method.channel == header.channel && method.channel == body.channel;
        let kinds = (header.kind, body.kind) == (FrameKind::HEADER, FrameKind::BODY);
        if !same_channel || !kinds || body.payload.len() as u64 != size {
            return None;
        }
        let len = method_len + header_len + body_len;
        let (middle_at, body_at) = (method_len - 1, len - 1 - body.payload.len());
        Some(Self {
            len,
            front: *bytes.first_chunk()?,
            tag_at: FRONT + deliver.consumer_tag.len(),
            exchange_len: *deliver.address.first()?,
            middle_at,
            middle: bytes[middle_at..body_at].to_vec(),
            body_at,
        })
    }

    #[inline]
    fn matches(&self, message: &[u8]) -> bool {
        message[..FRONT] == self.front
            && message[self.tag_at + TAG_AND_BIT] == self.exchange_len
            && message[self.middle_at..self.body_at] == self.middle[..]
            && message[self.len - 1] == FRAME_END
    }

    /// Whether `bytes` is the beginning of a delivery of this shape, of which only the body is not
    /// all there.
    fn waits_for(&self, bytes: &[u8]) -> bool {
        (self.body_at..self.len).contains(&bytes.len())
            && bytes[..FRONT] == self.front
            && bytes[self.middle_at..self.body_at] == self.middle[..]
    }

    /// The deliveries of this shape that `bytes` starts with.
    #[inline]
    fn run<'a>(&'a self, bytes: &'a [u8]) -> Deliveries<'a> {
        let n = bytes.chunks_exact(self.len).take_while(|message| self.matches(message)).count();
        Deliveries { shape: self, bytes: &bytes[..n * self.len] }
    }
}

/// One or more whole deliveries of one shape, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deliveries<'a> {
    shape: &'a Shape,
    bytes: &'a [u8],
}

impl<'a> Deliveries<'a> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.shape.len
    }

    /// Delivery tag of message `i`.
    pub(super) fn tag(&self, i: usize) -> u64 {
        let at = i * self.shape.len + self.shape.tag_at;
        self.bytes[at..].first_chunk().map_or(0, |tag| u64::from_be_bytes(*tag))
    }

    /// Redelivered bit and body of every message.
    #[inline]
    pub(super) fn bodies(&self) -> impl Iterator<Item = (bool, &'a [u8])> + use<'a> {
        let Self { shape, bytes } = *self;
        bytes.chunks_exact(shape.len).map(|message| {
            (message[shape.tag_at + 8] & 1 != 0, &message[shape.body_at..shape.len - 1])
        })
    }
}

/// Where what was found goes.
pub(super) trait Sink {
    /// Deliveries in a row.
    fn run(&mut self, deliveries: Deliveries<'_>);
    /// One delivery; `head` is as much of its body as a stamp takes, or all of a smaller one.
    fn one(&mut self, tag: u64, redelivered: bool, head: &[u8]);
    /// A method that is not a delivery.
    fn method(&mut self, frame: Frame<'_>) -> Result<(), PerfError>;
}

/// A delivery whose frames are not all there yet.
#[derive(Debug, Default)]
struct Partial {
    tag: u64,
    redelivered: bool,
    /// Body bytes that are still to come; `None` before the content header.
    missing: Option<u64>,
    head: Vec<u8>,
}

/// Reads one consumer channel.
#[derive(Debug)]
pub(super) struct Scanner {
    splitter: Splitter,
    shape: Option<Shape>,
    partial: Option<Partial>,
}

impl Scanner {
    pub(super) fn new(frame_max: u32) -> Self {
        Self { splitter: Splitter::new(frame_max), shape: None, partial: None }
    }

    /// Hands every whole frame in `bytes` to the sink and returns how many bytes those took.
    pub(super) fn scan(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<usize, PerfError> {
        let mut at = 0;
        loop {
            if self.partial.is_none()
                && let Some(shape) = &self.shape
            {
                let run = shape.run(&bytes[at..]);
                if !run.bytes.is_empty() {
                    at += run.bytes.len();
                    sink.run(run);
                }
                if shape.waits_for(&bytes[at..]) {
                    return Ok(at);
                }
            }
            let Some((frame, len)) = self.splitter.split(&bytes[at..])? else { return Ok(at) };
            if self.partial.is_none() && is_deliver(&frame) {
                self.shape =
                    Shape::learn(&bytes[at..], self.splitter).or_else(|| self.shape.take());
            }
            self.frame(frame, sink)?;
            at += len;
        }
    }

    /// The general way: one frame after the other.
    fn frame(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), PerfError> {
        match (frame.kind, &mut self.partial) {
            (FrameKind::METHOD, None) if is_deliver(&frame) => {
                let Deliver { delivery_tag: tag, redelivered, .. } = decode_deliver(frame.payload)?;
                self.partial = Some(Partial { tag, redelivered, ..Partial::default() });
            }
            // Methods of channel 0 may stand between the frames of a message.
            (FrameKind::METHOD, partial) if partial.is_none() || frame.channel == 0 => {
                return sink.method(frame);
            }
            (FrameKind::HEADER, Some(Partial { missing: missing @ None, .. })) => {
                let header = decode_content_header(frame.payload)?;
                if header.class_id != BASIC_CLASS {
                    return Err(PerfError::Protocol("a content header of another class".into()));
                }
                *missing = Some(header.body_size);
            }
            (FrameKind::BODY, Some(partial)) => partial.body(frame.payload)?,
            (FrameKind::HEARTBEAT, _) => return Ok(()),
            (kind, _) => {
                return Err(PerfError::Protocol(format!(
                    "a frame of kind {} out of order",
                    kind.0
                )));
            }
        }
        if let Some(whole) = self.partial.take_if(|partial| partial.missing == Some(0)) {
            sink.one(whole.tag, whole.redelivered, &whole.head);
        }
        Ok(())
    }
}

impl Partial {
    fn body(&mut self, payload: &[u8]) -> Result<(), PerfError> {
        let left = self.missing.and_then(|missing| missing.checked_sub(payload.len() as u64));
        if left.is_none() {
            return Err(PerfError::Protocol("a body that is longer than its header says".into()));
        }
        self.missing = left;
        let room = STAMP_BYTES - self.head.len();
        self.head.extend_from_slice(&payload[..payload.len().min(room)]);
        Ok(())
    }
}

fn is_deliver(frame: &Frame<'_>) -> bool {
    frame.kind == FrameKind::METHOD && frame.payload.starts_with(&[0, 60, 0, 60])
}

const _: () = assert!(FRONT == FRAME_OVERHEAD - 1 + 4 + 1);

#[cfg(test)]
mod tests;
