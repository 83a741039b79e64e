//! Hot path. From a publisher's read buffer into consumers' sockets. Messages whose frames are
//! equal up to the body make a run: each is compared, given its delivery tag, and copied behind the
//! head that its consumer gets. Bodies in several frames are put together first.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::BytesMut;
use leveret_codec::{
    BASIC_CLASS, FRAME_END, Frame, FrameKind, Method, Publish, Splitter, body_frame_head,
    decode_content_header, decode_method, put_content_header, put_deliver, put_delivery,
};

use super::State;
use super::connection::FRAME_MAX;
use super::routes::{Consumer, Target};
use super::sink::{Pending, Sink};
use crate::perf::error::PerfError;
use crate::perf::wire;

/// Bodies of this size and more are written from where they were read.
const BY_REFERENCE: usize = 4 * 1024;
/// The largest body that is put together from frames.
const BODY_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of a deliver frame before the consumer tag.
const FRONT: usize = 12;

/// The relay's side of one publisher.
pub(super) struct Publisher {
    state: Arc<State>,
    shape: Option<Shape>,
    partial: Option<Partial>,
    /// Sinks with deliveries of this read.
    unflushed: Vec<Arc<Sink>>,
}

/// A message whose body is in one frame: everything before the body is the same for the whole run.
struct Shape {
    channel: u16,
    prefix: Vec<u8>,
    len: usize,
    exchange: String,
    routing_key: String,
    address: Vec<u8>,
    properties: Vec<u8>,
    route: Vec<Target>,
    /// Of the tables that the route is from.
    version: Option<u64>,
}

/// A message whose frames are not all there yet.
struct Partial {
    channel: u16,
    address: Vec<u8>,
    exchange: String,
    routing_key: String,
    /// Body size and properties, once they are known.
    header: Option<(u64, Vec<u8>)>,
    body: Vec<u8>,
}

impl Publisher {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, shape: None, partial: None, unflushed: Vec::new() }
    }

    /// Delivers the run of whole messages that `bytes` starts with. The channel, the number of
    /// messages, and their bytes.
    pub(super) fn run(&mut self, bytes: &[u8], splitter: Splitter) -> Option<(u16, usize, usize)> {
        if self.partial.is_some() {
            return None;
        }
        let known = self.shape.as_ref().is_some_and(|shape| shape.matches(bytes));
        if !known {
            self.shape = Some(Shape::learn(bytes, splitter)?);
        }
        let shape = self.shape.as_mut()?;
        shape.refresh(&self.state);
        let n = bytes.chunks_exact(shape.len).take_while(|message| shape.matches(message)).count();
        let taken = n * shape.len;
        for target in &shape.route {
            let first_turn = target.turn.fetch_add(n, Relaxed);
            let step = target.consumers.len();
            for (i, consumer) in target.consumers.iter().enumerate() {
                let first = (i + step - first_turn % step) % step;
                if first < n {
                    shape.deliver(&bytes[first * shape.len..taken], step, consumer);
                    self.unflushed.push(Arc::clone(&consumer.sink));
                }
            }
        }
        Some((shape.channel, n, taken))
    }

    /// Whether `bytes` is the beginning of a message that [`Self::run`] takes when the rest is
    /// there.
    pub(super) fn waits_for(&self, bytes: &[u8]) -> bool {
        let fits = |shape: &Shape| bytes.len() < shape.len && bytes.starts_with(&shape.prefix);
        self.partial.is_none() && self.shape.as_ref().is_some_and(fits)
    }

    /// A frame of a message that is not whole, or not of one body frame. `Some` when it completes a
    /// message on that channel.
    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> Result<Option<u16>, PerfError> {
        match (frame.kind, &mut self.partial) {
            (FrameKind::METHOD, None) => {
                let Method::Publish(publish) = wire::method(frame)? else { return Ok(None) };
                self.partial = Some(Partial::new(frame.channel, &publish));
            }
            (FrameKind::HEADER, Some(partial @ Partial { header: None, .. })) => {
                let header = decode_content_header(frame.payload)?;
                if header.class_id != BASIC_CLASS || header.body_size > BODY_MAX {
                    return Err(PerfError::Protocol("a content header that no publish has".into()));
                }
                partial.header = Some((header.body_size, header.properties.to_vec()));
            }
            (FrameKind::BODY, Some(partial @ Partial { header: Some(_), .. })) => {
                partial.body.extend_from_slice(frame.payload);
            }
            (FrameKind::HEADER | FrameKind::BODY, _) => {
                return Err(PerfError::Protocol("a content frame out of order".into()));
            }
            _ => return Ok(None),
        }
        let whole = |partial: &mut Partial| {
            partial.header.as_ref().is_some_and(|(size, _)| partial.body.len() as u64 >= *size)
        };
        Ok(self.partial.take_if(whole).map(|partial| {
            self.deliver_whole(&partial);
            partial.channel
        }))
    }

    fn deliver_whole(&mut self, partial: &Partial) {
        let Some((_, properties)) = &partial.header else { return };
        for target in self.state.routes.route(&partial.exchange, &partial.routing_key) {
            let turn = target.turn.fetch_add(1, Relaxed);
            let consumer = &target.consumers[turn % target.consumers.len()];
            let mut bytes = BytesMut::new();
            let mut pending = consumer.sink.lock();
            put_delivery(
                &mut bytes,
                consumer.channel,
                consumer.tag.as_bytes(),
                consumer.delivered.fetch_add(1, Relaxed) + 1,
                false,
                &partial.address,
                properties,
                FRAME_MAX,
                &partial.body,
            );
            consumer.sink.write_after(&mut pending, &mut [IoSlice::new(&bytes)]);
        }
    }

    /// At the end of a read: everything goes out.
    pub(super) fn flush(&mut self) {
        for sink in self.unflushed.drain(..) {
            sink.flush(&mut sink.lock());
        }
    }
}

impl Shape {
    /// The shape of the message that `bytes` starts with; `None` when it is no publish, not whole,
    /// or its body is not in one frame.
    fn learn(bytes: &[u8], splitter: Splitter) -> Option<Self> {
        let (method, method_len) = splitter.split(bytes).ok()??;
        let Ok(Method::Publish(publish)) = decode_method(method.payload) else { return None };
        let (header, header_len) = splitter.split(&bytes[method_len..]).ok()??;
        let (body, body_len) = splitter.split(&bytes[method_len + header_len..]).ok()??;
        let content = decode_content_header(header.payload).ok()?;
        let same_channel = method.channel == header.channel && method.channel == body.channel;
        let kinds = (method.kind, header.kind, body.kind)
            == (FrameKind::METHOD, FrameKind::HEADER, FrameKind::BODY);
        let whole = body.payload.len() as u64 == content.body_size;
        if !same_channel || !kinds || !whole || content.class_id != BASIC_CLASS {
            return None;
        }
        let len = method_len + header_len + body_len;
        Some(Self {
            channel: method.channel,
            prefix: bytes[..len - body.payload.len() - 1].to_vec(),
            len,
            exchange: text(publish.exchange),
            routing_key: text(publish.routing_key),
            address: publish.address.to_vec(),
            properties: content.properties.to_vec(),
            route: Vec::new(),
            version: None,
        })
    }

    /// Whether a whole message of this shape comes first.
    #[inline]
    fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.len
            && bytes[..self.prefix.len()] == self.prefix[..]
            && bytes[self.len - 1] == FRAME_END
    }

    /// Asks for the route when names have changed.
    fn refresh(&mut self, state: &State) {
        let version = state.routes.version();
        if self.version != Some(version) {
            self.route = state.routes.route(&self.exchange, &self.routing_key);
            self.version = Some(version);
        }
    }

    /// What a consumer gets before the body, with delivery tag 0.
    fn head(&self, consumer: &Consumer) -> BytesMut {
        let size = self.len - 1 - self.prefix.len();
        let mut head = BytesMut::new();
        put_deliver(&mut head, consumer.channel, consumer.tag.as_bytes(), 0, false, &self.address);
        put_content_header(&mut head, consumer.channel, size as u64, &self.properties);
        head.extend_from_slice(&body_frame_head(consumer.channel, size));
        head
    }

    /// Encodes the first of every `step` messages in `bytes` for a consumer.
    fn deliver(&self, bytes: &[u8], step: usize, consumer: &Consumer) {
        let head = self.head(consumer);
        let stride = self.len * step;
        let n = bytes.len().div_ceil(stride);
        let mut pending = consumer.sink.lock();
        let first_tag = consumer.delivered.fetch_add(n as u64, Relaxed) + 1;
        let run = Run { head: &head, tag_at: FRONT + consumer.tag.len(), first_tag };
        let bodies = bytes.chunks(stride).map(|message| &message[self.prefix.len()..self.len]);
        if self.len - self.prefix.len() >= BY_REFERENCE {
            run.write_by_reference(n, bodies, &consumer.sink, &mut pending);
        } else {
            run.copy(n, bodies, &consumer.sink, &mut pending);
        }
    }
}

/// Deliveries of one shape to one consumer.
struct Run<'a> {
    head: &'a [u8],
    tag_at: usize,
    first_tag: u64,
}

impl<'a> Run<'a> {
    /// Small bodies: head and body, one behind the other, into the buffer.
    fn copy(
        &self,
        n: usize,
        bodies: impl Iterator<Item = &'a [u8]>,
        sink: &Sink,
        pending: &mut Pending,
    ) {
        let (mut bodies, mut tag, mut left) = (bodies.peekable(), self.first_tag, n);
        while let Some(body) = bodies.peek() {
            let len = self.head.len() + body.len();
            let room = pending.room(left, len);
            left -= room.len() / len;
            if room.is_empty() {
                sink.flush(pending);
                continue;
            }
            for (out, body) in room.chunks_exact_mut(len).zip(bodies.by_ref()) {
                let (head, rest) = out.split_at_mut(self.head.len());
                self.put_head(head, tag);
                rest.copy_from_slice(body);
                tag += 1;
            }
        }
    }

    /// Large bodies: heads into a buffer, bodies from where they are.
    fn write_by_reference(
        &self,
        n: usize,
        bodies: impl Iterator<Item = &'a [u8]>,
        sink: &Sink,
        pending: &mut Pending,
    ) {
        let mut heads = vec![0; n * self.head.len()];
        for (head, tag) in heads.chunks_exact_mut(self.head.len()).zip(self.first_tag..) {
            self.put_head(head, tag);
        }
        let pairs = heads.chunks_exact(self.head.len()).zip(bodies);
        let mut slices: Vec<_> =
            pairs.flat_map(|(head, body)| [IoSlice::new(head), IoSlice::new(body)]).collect();
        sink.write_after(pending, &mut slices);
    }

    #[inline]
    fn put_head(&self, out: &mut [u8], tag: u64) {
        out.copy_from_slice(self.head);
        out[self.tag_at..self.tag_at + 8].copy_from_slice(&tag.to_be_bytes());
    }
}

impl Partial {
    fn new(channel: u16, publish: &Publish<'_>) -> Self {
        Self {
            channel,
            address: publish.address.to_vec(),
            exchange: text(publish.exchange),
            routing_key: text(publish.routing_key),
            header: None,
            body: Vec::new(),
        }
    }
}

/// A name as a key of the tables.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
