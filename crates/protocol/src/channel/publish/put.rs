//! A message that the process itself puts into one queue, past every exchange: it keeps the address of its first publish,
//! as when it is moved from one queue to another. Confirmed like any other publish.

use bytes::Bytes;
use leveret_engine::{BODY_BY_REFERENCE, Body, QueueId};

use super::Checked;
use crate::broker::Broker;
use crate::channel::Channel;
use crate::channel::message::{self, Message};
use crate::connection::shared::Context;
use crate::error::Fault;

/// A message and the queue that it is for.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The queue; if it is gone, so is the message, as if it had been in it.
    pub queue: QueueId,
    /// Exchange and routing key, each behind a byte with its length.
    pub address: &'a [u8],
    /// Property flags and values.
    pub properties: &'a [u8],
    /// The payload.
    pub body: &'a [u8],
}

impl Channel {
    /// Takes the message. Its properties are only looked at: nothing is rewritten, no permission is asked for.
    pub(crate) fn put<B: Broker>(
        &mut self,
        put: &Put<'_>,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let summary = message::summary(put.properties)?;
        let expires_at = message::expires_at(&summary, context.now)?;
        let checked = Checked { summary, expires_at, ..Checked::default() };
        let shared;
        let body = if put.body.len() >= BODY_BY_REFERENCE {
            shared = Bytes::copy_from_slice(put.body);
            Body::Shared(&shared)
        } else {
            Body::Inline(put.body)
        };
        let (address, properties) = (put.address, put.properties);
        let message = Message { address, mandatory: false, immediate: false, properties, body };
        let record = checked.record(&message);
        let bytes = put.body.len() as u64;
        self.count(context.shared, |counters| counters.note_publish(bytes));
        self.enqueue(&message, &record, &[put.queue], context);
        Ok(())
    }
}
