//! Direct reply-to: the pseudo queue whose one consumer receives replies without a queue.
// rabbitmq: direct reply-to

use std::sync::Arc;

use leveret_codec::Summary;
use leveret_codec::amqp::basic;
use leveret_engine::names;

use crate::broker::Broker;
use crate::channel::{Channel, message};
use crate::connection::shared::Context;
use crate::error::{ChannelError, ConnectionError, Fault};

/// The pseudo queue.
pub(crate) const REPLY_QUEUE: &str = names::REPLY_TO;

/// What comes before the token in a reply address.
pub(crate) const REPLY_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// The reply consumer of a channel.
#[derive(Debug)]
pub(crate) struct ReplyConsumer {
    pub(crate) tag: Arc<str>,
    token: Arc<str>,
}

impl Channel {
    /// basic.consume of the pseudo queue.
    pub(crate) fn consume_replies<B: Broker>(
        &mut self,
        method: &basic::Consume,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if self.reply.is_some() {
            return Err(ChannelError::ReplyConsumerSet.into());
        }
        if !method.no_ack {
            return Err(ChannelError::ReplyConsumerAcks.into());
        }
        let tag = self.new_tag(method.consumer_tag.as_str(), context);
        if self.consumers.contains_key(&tag) {
            return Err(ConnectionError::ConsumerTagReused(tag.to_string()).into());
        }
        let token = context.broker.open_reply(self.key);
        self.reply = Some(ReplyConsumer { tag: tag.clone(), token });
        self.consume_ok(&tag, method.nowait, context);
        Ok(())
    }

    /// Removes the reply consumer if `tag` is its.
    pub(crate) fn cancel_replies<B: Broker>(
        &mut self,
        tag: &str,
        context: &mut Context<'_, B>,
    ) -> bool {
        if self.reply.as_ref().is_none_or(|reply| &*reply.tag != tag) {
            return false;
        }
        self.close_replies(context);
        true
    }

    pub(crate) fn close_replies<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        if self.reply.take().is_some() {
            context.broker.close_reply(self.key);
        }
    }

    /// A publish with the pseudo queue as reply-to needs its consumer on the same channel.
    pub(crate) fn check_reply_consumer(&self) -> Result<(), ChannelError> {
        if self.reply.is_some() { Ok(()) } else { Err(ChannelError::ReplyConsumerMissing) }
    }

    /// The address that takes the place of the pseudo queue in reply-to.
    pub(crate) fn reply_address(&self, summary: &Summary<'_>) -> Option<String> {
        let reply = self.reply.as_ref()?;
        message::wants_direct_reply(summary).then(|| format!("{REPLY_PREFIX}{}", reply.token))
    }
}

/// Whether a name probed by queue.declare is the pseudo queue or a living reply address; `None`
/// if it is an ordinary name.
pub(crate) fn probe<B: Broker>(name: &str, broker: &B) -> Option<bool> {
    if name == REPLY_QUEUE {
        return Some(true);
    }
    name.strip_prefix(REPLY_PREFIX).map(|token| broker.reply_alive(token))
}
