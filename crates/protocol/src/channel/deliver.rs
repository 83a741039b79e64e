//! Messages to the client: basic.deliver and the content of get-ok and return.
//! Hot path: a record is copied once, from its block into the output; large bodies go by reference.

use bytes::Bytes;
use leveret_codec::{
    DeliveryFrames, FRAME_END, FRAME_OVERHEAD, body_frame_head, put_body, put_content_header,
    put_deliver, put_delivery, put_get_ok,
};
use leveret_engine::{Block, Body, Delivery, QueueId, Record};

use crate::channel::returns::with_returns;
use crate::channel::stream_offset::WithOffset;
use crate::channel::unacked::Delivered;
use crate::channel::{Channel, Consumer};
use crate::connection::shared::Shared;
use crate::info::MessageCounters;
use crate::output::Output;
use crate::tag_runs::Run;

/// Where a delivery goes on the wire.
struct Line<'a> {
    channel: u16,
    frame_max: u32,
    consumer_tag: &'a [u8],
}

impl Channel {
    /// Encodes a run of messages for one consumer and notes what waits for an ack. Returns what was
    /// counted.
    pub(crate) fn deliver(
        &mut self,
        consumer: &Consumer,
        delivery: &Delivery,
        minute: u32,
        frame_max: u32,
        out: &mut Output,
    ) -> MessageCounters {
        let first_tag = self.next_delivery_tag;
        let consumer_tag = consumer.tag.as_bytes();
        let line = Line { channel: self.key.number, frame_max, consumer_tag };
        let mut counted = self.put_records(&line, delivery, out);
        if consumer.no_ack {
            counted.deliver_no_ack = u64::from(delivery.n);
        } else {
            counted.deliver = u64::from(delivery.n);
            let value = Delivered {
                queue: consumer.queue,
                consumer: Some(consumer.id),
                seq: delivery.first_seq,
                minute,
                minutes_max: consumer.ack_minutes_max,
            };
            self.unacked.push(Run { first: first_tag, n: delivery.n, value });
        }
        self.counters.add(&counted);
        counted
    }

    fn put_records(
        &mut self,
        line: &Line<'_>,
        delivery: &Delivery,
        out: &mut Output,
    ) -> MessageCounters {
        if delivery.returns.all > 0 {
            return self.put_returned(line, delivery, out);
        }
        if delivery.from_stream {
            return self.put_offsets(line, delivery, out);
        }
        let mut counted = MessageCounters::default();
        let mut alike = Alike::default();
        for at in delivery.first..delivery.first + delivery.n {
            let record = delivery.block.record(at);
            let redelivered = delivery.redelivered || record.redelivered();
            counted.redeliver += u64::from(redelivered);
            counted.deliver_bytes += record.body_len() as u64;
            let tag = self.next_delivery_tag;
            if !alike.put(line, tag, redelivered, &record, out) {
                put_record(line, tag, redelivered, &record, record.properties(), out);
            }
            self.next_delivery_tag += 1;
        }
        counted
    }

    /// Messages that say how often they came back.
    fn put_returned(
        &mut self,
        line: &Line<'_>,
        delivery: &Delivery,
        out: &mut Output,
    ) -> MessageCounters {
        let mut counted = MessageCounters::default();
        for at in delivery.first..delivery.first + delivery.n {
            let record = delivery.block.record(at);
            let redelivered = delivery.redelivered || record.redelivered();
            counted.redeliver += u64::from(redelivered);
            counted.deliver_bytes += record.body_len() as u64;
            let properties = with_returns(record.properties(), delivery.returns);
            put_record(line, self.next_delivery_tag, redelivered, &record, &properties, out);
            self.next_delivery_tag += 1;
        }
        counted
    }

    /// Messages of a stream, which say where they are in it.
    fn put_offsets(
        &mut self,
        line: &Line<'_>,
        delivery: &Delivery,
        out: &mut Output,
    ) -> MessageCounters {
        let mut counted = MessageCounters::default();
        let mut with_offset = WithOffset::default();
        let offsets = delivery.first_seq.index()..;
        for (at, offset) in (delivery.first..delivery.first + delivery.n).zip(offsets) {
            let record = delivery.block.record(at);
            counted.deliver_bytes += record.body_len() as u64;
            let properties = with_offset.put(record.properties(), offset);
            put_record(line, self.next_delivery_tag, false, &record, properties, out);
            self.next_delivery_tag += 1;
        }
        counted
    }

    /// Messages for the direct reply-to consumer: without ack, from no queue.
    // rabbitmq: direct reply-to
    pub(crate) fn deliver_replies(&mut self, block: &Block, shared: &mut Shared, out: &mut Output) {
        let Some(reply) = &self.reply else { return };
        let (number, frame_max) = (self.key.number, shared.frame_max);
        let line = Line { channel: number, frame_max, consumer_tag: reply.tag.as_bytes() };
        for at in 0..block.len() {
            let record = block.record(at);
            put_record(&line, self.next_delivery_tag, false, &record, record.properties(), out);
            self.next_delivery_tag += 1;
        }
        let n = u64::from(block.len());
        self.count(shared, |counters| counters.deliver_no_ack += n);
    }

    /// basic.get-ok with its content.
    pub(crate) fn put_got(&mut self, got: &Got<'_>, shared: &mut Shared, out: &mut Output) {
        let record = got.delivery.block.record(got.delivery.first);
        let redelivered = got.delivery.redelivered || record.redelivered();
        let (number, tag) = (self.key.number, self.next_delivery_tag);
        self.next_delivery_tag += 1;
        let left = u32::try_from(got.left).unwrap_or(u32::MAX);
        put_get_ok(out.buf(), number, tag, redelivered, record.address(), left);
        let properties = with_returns(record.properties(), got.delivery.returns);
        put_content(number, shared.frame_max, &properties, record.body(), out);
        let (again, bytes) = (u64::from(redelivered), record.body_len() as u64);
        self.count(shared, |counters| {
            counters.redeliver += again;
            counters.deliver_bytes += bytes;
            let got = if got.no_ack { &mut counters.get_no_ack } else { &mut counters.get };
            *got += 1;
        });
        if !got.no_ack {
            let (seq, minute) = (got.delivery.first_seq, shared.minute());
            let value = Delivered { queue: got.queue, consumer: None, seq, minute, minutes_max: 0 };
            self.unacked.push(Run { first: tag, n: 1, value });
        }
    }
}

/// Messages in a row that differ in tag and body only: what they share is encoded once.
#[derive(Default)]
struct Alike<'b> {
    /// Address and properties of the message before.
    before: Option<(&'b [u8], &'b [u8])>,
    /// Frames for these, once a second message had the same.
    frames: Option<DeliveryFrames>,
}

impl<'b> Alike<'b> {
    /// Encodes a message if it is like the one before and small; says whether it did.
    #[inline]
    fn put(
        &mut self,
        line: &Line<'_>,
        tag: u64,
        redelivered: bool,
        record: &Record<'b>,
        out: &mut Output,
    ) -> bool {
        let (address, properties) = (record.address(), record.properties());
        if self.before != Some((address, properties)) {
            *self = Self { before: Some((address, properties)), frames: None };
            return false;
        }
        let Body::Inline(body) = record.body() else { return false };
        let frames = self.frames.get_or_insert_with(|| {
            let Line { channel, frame_max, consumer_tag } = *line;
            DeliveryFrames::new(channel, consumer_tag, address, properties, frame_max)
        });
        frames.put(out.buf(), tag, redelivered, body)
    }
}

/// A message that basic.get found.
pub(crate) struct Got<'a> {
    pub(crate) queue: QueueId,
    pub(crate) delivery: &'a Delivery,
    /// Ready messages behind it.
    pub(crate) left: u64,
    pub(crate) no_ack: bool,
}

#[inline]
fn put_record(
    line: &Line<'_>,
    tag: u64,
    redelivered: bool,
    record: &Record<'_>,
    properties: &[u8],
    out: &mut Output,
) {
    let address = record.address();
    match record.body() {
        Body::Inline(body) => put_delivery(
            out.buf(),
            line.channel,
            line.consumer_tag,
            tag,
            redelivered,
            address,
            properties,
            line.frame_max,
            body,
        ),
        Body::Shared(body) => {
            put_deliver(out.buf(), line.channel, line.consumer_tag, tag, redelivered, address);
            put_content_header(out.buf(), line.channel, body.len() as u64, properties);
            put_shared_body(line.channel, line.frame_max, body, out);
        }
    }
}

/// A content header and its body.
pub(crate) fn put_content(
    channel: u16,
    frame_max: u32,
    properties: &[u8],
    body: Body<'_>,
    out: &mut Output,
) {
    put_content_header(out.buf(), channel, body.len() as u64, properties);
    match body {
        Body::Inline(body) => put_body(out.buf(), channel, frame_max, body),
        Body::Shared(body) => put_shared_body(channel, frame_max, body, out),
    }
}

/// A large body in frames, its bytes by reference.
fn put_shared_body(channel: u16, frame_max: u32, body: &Bytes, out: &mut Output) {
    let max = match frame_max {
        0 => u32::MAX as usize,
        max => (max as usize).saturating_sub(FRAME_OVERHEAD).max(1),
    };
    let mut at = 0;
    while at < body.len() {
        let end = body.len().min(at + max);
        out.buf().extend_from_slice(&body_frame_head(channel, end - at));
        out.push_shared(body.slice(at..end));
        out.buf().extend_from_slice(&[FRAME_END]);
        at = end;
    }
}
