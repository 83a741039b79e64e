//! basic.publish: from a decoded method and its content to records in queues.
//! Hot path: for an address that the channel knows, a message costs a look at its properties and
//! one push per queue; no allocation, no lock, no formatting.

use bytes::Bytes;
use leveret_codec::{Frame, FrameKind, Publish, Splitter, Summary, decode_content_header};
use leveret_engine::{BODY_BY_REFERENCE, Body, NewRecord, QueueId, Timestamp};
use smallvec::SmallVec;

use crate::broker::Broker;
use crate::channel::content::{Content, Pieces, expect_header};
use crate::channel::message::{self, Message};
use crate::channel::routes::Place;
use crate::channel::{BASIC_PUBLISH, Channel, Mode};
use crate::connection::shared::Context;
use crate::error::{ConnectionError, Fault};
use crate::info::{SIZE_CLASSES, size_class};

/// Property bytes without any property.
const NO_PROPERTIES: &[u8] = &[0, 0];

/// What the properties of a publish ask for, checked.
#[derive(Default)]
struct Checked<'a> {
    summary: Summary<'a>,
    expires_at: Option<Timestamp>,
    /// Whether the properties are not stored as they came.
    rewritten: bool,
    /// Whether CC or BCC name further keys.
    selects: bool,
}

impl Channel {
    /// Takes a basic.publish, `method` before it was decoded. When its header and body lie whole in
    /// `rest` they are taken along, with the messages like it that follow; their length is returned.
    #[inline]
    pub(crate) fn publish<B: Broker>(
        &mut self,
        publish: &Publish<'_>,
        method: &[u8],
        rest: &[u8],
        splitter: &Splitter,
        context: &mut Context<'_, B>,
    ) -> Result<usize, Fault> {
        let body_max = context.shared.config.max_message_size;
        let Some((properties, body, used)) =
            whole_content(splitter, self.key.number, rest, body_max)
        else {
            self.content = Content::Header(Pieces::new(publish));
            return Ok(0);
        };
        let message = Message {
            address: publish.address,
            mandatory: publish.mandatory,
            immediate: publish.immediate,
            properties,
            body: Body::Inline(body),
        };
        self.publish_whole(&message, context)?;
        let after = rest.get(used..).unwrap_or_default();
        Ok(used + self.publish_run(publish, method, after, splitter, context))
    }

    /// Takes the messages at the start of `rest` that are published by the very same method bytes,
    /// as those of a busy publisher are: what the first one needed is not looked up again. Ends
    /// before whatever needs more than a push, and returns how many bytes it took.
    ///
    /// All of `rest` was sent before any change of topology that is not in the routes yet could
    /// be answered, so their version is not looked at again either.
    #[inline]
    fn publish_run<B: Broker>(
        &mut self,
        publish: &Publish<'_>,
        method: &[u8],
        rest: &[u8],
        splitter: &Splitter,
        context: &mut Context<'_, B>,
    ) -> usize {
        let Some(route) = self.routes.find(publish.address) else { return 0 };
        let targets = self.routes.targets(route);
        if targets.is_empty() || matches!(self.mode, Mode::Tx(_)) {
            return 0;
        }
        let (mut used, mut n, mut bytes) = (0, 0, 0);
        let mut sizes = [0; SIZE_CLASSES];
        // Most runs have bodies of one size.
        let (mut last, mut class) = (usize::MAX, 0);
        let body_max = context.shared.config.max_message_size.min(BODY_BY_REFERENCE as u64 - 1);
        let like = Like { method, channel: self.key.number, splitter, body_max };
        while let Some((properties, body, len)) = like.next(rest.get(used..).unwrap_or_default())
            && let Some(summary) = plain_properties(properties)
        {
            let record = NewRecord {
                address: publish.address,
                properties,
                persistent: summary.is_persistent(),
                priority: summary.priority(),
                expires_at: None,
                body: Body::Inline(body),
            };
            let confirm = match &mut self.mode {
                Mode::Confirm(confirms) => Some((self.key, confirms.publish(targets.len()))),
                _ => None,
            };
            for queue in targets {
                context.broker.publish(*queue, &record, confirm);
            }
            used += len;
            n += 1;
            bytes += body.len() as u64;
            if body.len() != last {
                (last, class) = (body.len(), size_class(body.len() as u64));
            }
            if let Some(count) = sizes.get_mut(class) {
                *count += 1;
            }
        }
        if matches!(self.mode, Mode::Confirm(_)) {
            context.shared.unconfirmed += n;
        }
        context.shared.counters.frames_received += n;
        self.count(context.shared, |counters| {
            counters.publish += n;
            counters.publish_bytes += bytes;
            counters.add_sizes(&sizes);
        });
        used
    }

    /// Takes a frame while content is due.
    pub(crate) fn content_frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        self.method = BASIC_PUBLISH;
        let (pieces, missing) = match std::mem::take(&mut self.content) {
            Content::Method => return Ok(()),
            Content::Header(mut pieces) => {
                let header = expect_header(frame, context.shared.config.max_message_size)?;
                pieces.add_header(&header);
                (pieces, header.body_size)
            }
            Content::Body(mut pieces, missing) => {
                let missing = pieces.add_body(frame, missing)?;
                (pieces, missing)
            }
        };
        if missing > 0 {
            self.content = Content::Body(pieces, missing);
            return Ok(());
        }
        self.publish_pieces(pieces, context)
    }

    fn publish_pieces<B: Broker>(
        &mut self,
        mut pieces: Pieces,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let body = pieces.take_body();
        let message = Message {
            address: &pieces.address,
            mandatory: pieces.mandatory,
            immediate: pieces.immediate,
            properties: &pieces.properties,
            body: if body.len() >= BODY_BY_REFERENCE {
                Body::Shared(&body)
            } else {
                Body::Inline(&body)
            },
        };
        self.publish_message(&message, context)
    }

    /// A body that came in one frame is copied out of the read buffer once: by the queue if it is
    /// small, here if it is large.
    #[inline]
    fn publish_whole<B: Broker>(
        &mut self,
        message: &Message<'_>,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let bytes = message.body.bytes();
        if bytes.len() < BODY_BY_REFERENCE {
            return self.publish_message(message, context);
        }
        let body = Bytes::copy_from_slice(bytes);
        self.publish_message(&Message { body: Body::Shared(&body), ..*message }, context)
    }

    // rabbitmq: basic.publish
    fn publish_message<B: Broker>(
        &mut self,
        message: &Message<'_>,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if message.immediate {
            return Err(ConnectionError::Immediate.into());
        }
        // What was acked before makes room for it.
        context.flush_settles();
        self.routes.at_version(context.broker.routing_version());
        let known = self.routes.find(message.address);
        if known.is_none() {
            if let Some(token) = reply_token(message) {
                return self.publish_reply(message, token, context);
            }
            self.check_exchange(message, context)?;
        }
        let mut checked = Checked::default();
        if message.properties != NO_PROPERTIES {
            self.check_properties(message, &mut checked, context)?;
        }
        let bytes = message.body.len() as u64;
        self.count(context.shared, |counters| counters.note_publish(bytes));
        match known {
            Some(route) if !checked.rewritten => {
                self.enqueue_known(message, &checked, route, context);
                Ok(())
            }
            _ => self.route_and_enqueue(message, &checked, context),
        }
    }

    #[inline]
    fn check_properties<'a, B: Broker>(
        &self,
        message: &Message<'a>,
        checked: &mut Checked<'a>,
        context: &Context<'_, B>,
    ) -> Result<(), Fault> {
        checked.summary = message::summary(message.properties)?;
        if is_remarkable(&checked.summary) {
            return self.check_remarkable(checked, context);
        }
        Ok(())
    }

    /// The properties that are more than bytes to be kept.
    fn check_remarkable<B: Broker>(
        &self,
        checked: &mut Checked<'_>,
        context: &Context<'_, B>,
    ) -> Result<(), Fault> {
        let summary = &checked.summary;
        let direct_reply = message::wants_direct_reply(summary);
        if direct_reply {
            self.check_reply_consumer()?;
        }
        checked.expires_at = message::expires_at(summary, context.now)?;
        checked.selects = message::selects_receivers(summary.headers);
        if checked.selects {
            message::selected(summary.headers)?;
        }
        checked.rewritten = direct_reply || checked.selects;
        self.check_user_id(summary, context)?;
        Ok(())
    }

    /// The hot end: the address is known and nothing has to be rewritten.
    #[inline]
    fn enqueue_known<B: Broker>(
        &mut self,
        message: &Message<'_>,
        checked: &Checked<'_>,
        route: Place,
        context: &mut Context<'_, B>,
    ) {
        let record = checked.record(message);
        let targets = self.routes.targets(route);
        match &mut self.mode {
            Mode::Plain if !targets.is_empty() => {
                for queue in targets {
                    context.broker.publish(*queue, &record, None);
                }
            }
            Mode::Confirm(confirms) if !targets.is_empty() => {
                context.shared.unconfirmed += 1;
                let tag = confirms.publish(targets.len());
                for queue in targets {
                    context.broker.publish(*queue, &record, Some((self.key, tag)));
                }
            }
            _ => {
                let targets = SmallVec::<[QueueId; 4]>::from_slice(targets);
                self.enqueue(message, &record, &targets, context);
            }
        }
    }

    /// Hands a routed message on: to the queues, to the transaction, or back to the publisher.
    pub(super) fn enqueue<B: Broker>(
        &mut self,
        message: &Message<'_>,
        record: &NewRecord<'_>,
        targets: &[QueueId],
        context: &mut Context<'_, B>,
    ) {
        let returned = targets.is_empty() && message.mandatory;
        if targets.is_empty() {
            self.count(context.shared, |counters| counters.note_unroutable(returned));
        }
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.publish(record, targets, returned);
            return;
        }
        if returned {
            self.return_message(message.address, record, context);
        }
        let confirm = match &mut self.mode {
            Mode::Confirm(confirms) => {
                context.shared.unconfirmed += u64::from(!targets.is_empty());
                Some((self.key, confirms.publish(targets.len())))
            }
            _ => None,
        };
        for queue in targets {
            context.broker.publish(*queue, record, confirm);
        }
        self.mark_confirms(context);
    }

    /// Gives a publish that no queue is to take its confirm at once.
    pub(super) fn confirm_unqueued<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.publish(0);
        }
        self.mark_confirms(context);
    }
}

impl Checked<'_> {
    fn record<'r>(&self, message: &Message<'r>) -> NewRecord<'r> {
        NewRecord {
            address: message.address,
            properties: message.properties,
            persistent: self.summary.is_persistent(),
            priority: self.summary.priority(),
            expires_at: self.expires_at,
            body: message.body,
        }
    }
}

/// Properties, body and length of the content frames at the start of `rest`, when they are whole and
/// sound: a header, and a body in one frame. Everything else takes the way frame by frame.
#[inline]
fn whole_content<'a>(
    splitter: &Splitter,
    channel: u16,
    rest: &'a [u8],
    body_max: u64,
) -> Option<(&'a [u8], &'a [u8], usize)> {
    let (head, head_len) = splitter.split(rest).ok()??;
    if head.kind != FrameKind::HEADER || head.channel != channel {
        return None;
    }
    let header = decode_content_header(head.payload).ok()?;
    if header.class_id != leveret_codec::BASIC_CLASS
        || header.weight != 0
        || header.body_size > body_max
    {
        return None;
    }
    if header.body_size == 0 {
        return Some((header.properties, &[], head_len));
    }
    let (body, body_len) = splitter.split(rest.get(head_len..)?).ok()??;
    let whole = body.kind == FrameKind::BODY
        && body.channel == channel
        && body.payload.len() as u64 == header.body_size;
    whole.then_some((header.properties, body.payload, head_len + body_len))
}

/// What the messages of a run have in common.
struct Like<'a> {
    /// Their method, undecoded.
    method: &'a [u8],
    channel: u16,
    splitter: &'a Splitter,
    body_max: u64,
}

impl Like<'_> {
    /// Properties, body and length of the next message of the run, if it is whole.
    #[inline]
    fn next<'b>(&self, rest: &'b [u8]) -> Option<(&'b [u8], &'b [u8], usize)> {
        let (frame, len) = self.splitter.split(rest).ok()??;
        let same = frame.channel == self.channel
            && frame.kind == FrameKind::METHOD
            && frame.payload == self.method;
        let content = if same { rest.get(len..)? } else { return None };
        let (properties, body, used) =
            whole_content(self.splitter, self.channel, content, self.body_max)?;
        Some((properties, body, len + used))
    }
}

/// What the properties say, when they are sound and ask for nothing.
#[inline]
fn plain_properties(properties: &[u8]) -> Option<Summary<'_>> {
    if properties == NO_PROPERTIES {
        return Some(Summary::default());
    }
    message::summary(properties).ok().filter(|summary| !is_remarkable(summary))
}

/// Whether properties are more than bytes to be kept.
#[inline]
fn is_remarkable(summary: &Summary<'_>) -> bool {
    let Summary { headers, reply_to, expiration, user_id, .. } = summary;
    headers.is_some() || reply_to.is_some() || expiration.is_some() || user_id.is_some()
}

/// The token of a direct reply-to address that the message goes to.
fn reply_token<'a>(message: &Message<'a>) -> Option<&'a str> {
    let (exchange, routing_key) = message.names();
    if !exchange.is_empty() {
        return None;
    }
    str::from_utf8(routing_key).ok()?.strip_prefix(crate::channel::reply_to::REPLY_PREFIX)
}

pub(crate) mod put;
mod slow;
