//! basic.consume, basic.cancel and basic.get.

use std::sync::Arc;

use leveret_codec::amqp::{AMQPClass, basic};
use leveret_codec::{Table, short_string};
use leveret_engine::{
    ArgumentError, BrokerError, ConsumerId, ConsumerSpec, Delivery, QueueId, QueueKind, QueueMeta,
    StreamRead, names,
};

use crate::broker::{Broker, Call};
use crate::channel::deliver::Got;
use crate::channel::reply_to::REPLY_QUEUE;
use crate::channel::{Channel, Waiting};
use crate::connection::shared::Context;
use crate::error::{ChannelError, ConnectionError, Fault};
use crate::limits::CONSUMER_TIMEOUT_TICK_MS;

/// A consumer as its connection knows it.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    /// The channel's number.
    pub(crate) channel: u16,
    pub(crate) tag: Arc<str>,
    pub(crate) queue: QueueId,
    pub(crate) queue_name: Arc<str>,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) prefetch: u16,
    pub(crate) arguments: Table,
    /// Minutes a delivery may stay unacked; 0 is for ever.
    pub(crate) ack_minutes_max: u32,
}

impl Channel {
    // rabbitmq: basic.consume
    pub(crate) fn consume<B: Broker>(
        &mut self,
        method: &basic::Consume,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if method.queue.as_str() == REPLY_QUEUE {
            return self.consume_replies(method, context);
        }
        let tag = method.consumer_tag.as_str();
        let is_reply_tag = self.reply.as_ref().is_some_and(|reply| &*reply.tag == tag);
        if self.consumers.contains_key(tag) || is_reply_tag {
            return Err(ConnectionError::ConsumerTagReused(tag.to_owned()).into());
        }
        let name = self.queue_name(method.queue.as_str())?;
        let queue = self.readable_queue(&name, context)?;
        if let Some(max) = context.shared.config.consumer_max_per_channel
            && self.consumers.len() >= max as usize
        {
            return Err(ConnectionError::ConsumerMax(max).into());
        }
        let arguments = Table::from(method.arguments.clone());
        let read = StreamRead::from_arguments(&arguments, queue.kind, &queue.resource())?;
        self.check_queue_kind(&queue, method.no_ack)?;
        let consumer = self.new_consumer(method, &queue, context);
        let spec = self.consumer_spec(&consumer, read, &queue, context)?;
        let waiting = Waiting::Consume { consumer: Box::new(consumer), nowait: method.nowait };
        self.ask(Call::Consume { queue: queue.id, spec }, waiting, context)
    }

    /// What queues of some types do not do.
    fn check_queue_kind(&self, queue: &QueueMeta, no_ack: bool) -> Result<(), Fault> {
        if queue.kind == QueueKind::Classic {
            return Ok(());
        }
        if self.has_global_limit() {
            return Err(BrokerError::GlobalQos(queue.resource()).into());
        }
        if queue.kind == QueueKind::Stream {
            if self.prefetch == 0 {
                return Err(ChannelError::StreamPrefetch(queue.resource()).into());
            }
            if no_ack {
                let resource = queue.resource();
                let text = format!("automatic acknowledgement not supported by stream {resource}");
                return Err(BrokerError::NotImplemented(Arc::from(text)).into());
            }
        }
        Ok(())
    }

    fn new_consumer<B: Broker>(
        &self,
        method: &basic::Consume,
        queue: &QueueMeta,
        context: &mut Context<'_, B>,
    ) -> Consumer {
        let timeout = match queue.kind {
            QueueKind::Quorum => context.shared.config.consumer_timeout_ms,
            QueueKind::Classic | QueueKind::Stream => None,
        };
        let timeout = queue.settings.consumer_timeout.or(timeout).unwrap_or(0);
        Consumer {
            id: context.broker.next_consumer_id(),
            channel: self.key.number,
            tag: self.new_tag(method.consumer_tag.as_str(), context),
            queue: queue.id,
            queue_name: queue.name.clone(),
            no_ack: method.no_ack,
            exclusive: method.exclusive,
            prefetch: self.prefetch,
            arguments: Table::from(method.arguments.clone()),
            ack_minutes_max: timeout.div_ceil(CONSUMER_TIMEOUT_TICK_MS) as u32,
        }
    }

    fn consumer_spec<B: Broker>(
        &self,
        consumer: &Consumer,
        read: StreamRead,
        queue: &QueueMeta,
        context: &Context<'_, B>,
    ) -> Result<ConsumerSpec, BrokerError> {
        Ok(ConsumerSpec {
            id: consumer.id,
            channel: self.key,
            tag: consumer.tag.clone(),
            no_ack: consumer.no_ack,
            exclusive: consumer.exclusive,
            prefetch: consumer.prefetch,
            priority: priority(&consumer.arguments, queue)?,
            channel_credit: self.credit.clone(),
            read,
            arguments: consumer.arguments.clone(),
            user: context.shared.user_name.clone(),
        })
    }

    /// The tag as the client gave it, or one of the server's.
    pub(super) fn new_tag<B: Broker>(&self, tag: &str, context: &mut Context<'_, B>) -> Arc<str> {
        if tag.is_empty() {
            return Arc::from(names::consumer_tag(context.broker.random()));
        }
        Arc::from(tag)
    }

    /// The queue has taken the consumer.
    pub(super) fn consuming<B: Broker>(
        &mut self,
        consumer: Consumer,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) {
        self.consumers.insert(consumer.tag.clone(), consumer.id);
        self.consume_ok(&consumer.tag, nowait, context);
        context.shared.ack_timeouts |= consumer.ack_minutes_max > 0;
        context.shared.consumers.insert(consumer.id, consumer);
    }

    pub(super) fn consume_ok<B: Broker>(
        &self,
        tag: &Arc<str>,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) {
        let ok = basic::ConsumeOk { consumer_tag: short_string(tag) };
        self.reply_unless(nowait, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)), context);
    }

    // rabbitmq: basic.cancel
    pub(crate) fn cancel<B: Broker>(
        &mut self,
        method: &basic::Cancel,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let tag = method.consumer_tag.as_str();
        let Some(id) = self.consumers.remove(tag) else {
            self.cancel_replies(tag, context);
            self.cancel_ok(tag, method.nowait, context);
            return Ok(());
        };
        let Some(consumer) = context.shared.consumers.remove(&id) else { return Ok(()) };
        let waiting = Waiting::Cancel { tag: consumer.tag, nowait: method.nowait };
        self.ask(Call::Cancel { queue: consumer.queue, consumer: id }, waiting, context)
    }

    pub(super) fn cancel_ok<B: Broker>(
        &self,
        tag: &str,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) {
        let ok = basic::CancelOk { consumer_tag: short_string(tag) };
        self.reply_unless(nowait, AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)), context);
    }

    /// The queue is gone: its consumer is told if its client wants to know.
    // rabbitmq: consumer cancel notification
    pub(crate) fn cancelled_by_queue<B: Broker>(
        &mut self,
        id: ConsumerId,
        context: &mut Context<'_, B>,
    ) {
        let Some(consumer) = context.shared.consumers.remove(&id) else { return };
        self.consumers.remove(&consumer.tag);
        if context.shared.capabilities.consumer_cancel_notify {
            let cancel = basic::Cancel { consumer_tag: short_string(&consumer.tag), nowait: true };
            self.reply(AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)), context);
        }
    }

    // rabbitmq: basic.get
    pub(crate) fn get<B: Broker>(
        &mut self,
        method: &basic::Get,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let name = self.queue_name(method.queue.as_str())?;
        let queue = self.readable_queue(&name, context)?;
        if queue.kind == QueueKind::Stream {
            let text = format!("basic.get not supported by stream queues {}", queue.resource());
            return Err(BrokerError::NotImplemented(Arc::from(text)).into());
        }
        if queue.kind == QueueKind::Quorum && queue.settings.single_active_consumer {
            let (queue, kind) = (queue.resource(), queue.kind);
            return Err(BrokerError::GetWithSingleActiveConsumer { queue, kind }.into());
        }
        let (queue, no_ack) = (queue.id, method.no_ack);
        self.ask(Call::Get { queue, no_ack }, Waiting::Get { queue, no_ack }, context)
    }

    /// basic.get-ok or basic.get-empty.
    pub(super) fn got<B: Broker>(
        &mut self,
        queue: QueueId,
        no_ack: bool,
        found: Option<&(Delivery, u64)>,
        context: &mut Context<'_, B>,
    ) {
        let Some((delivery, left)) = found else {
            self.count(context.shared, |counters| counters.get_empty += 1);
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            self.reply(AMQPClass::Basic(empty), context);
            return;
        };
        self.put_got(&Got { queue, delivery, left: *left, no_ack }, context.shared, context.out);
        if context.shared.is_traced(&context.broker.topology()) {
            self.tap_delivered(queue, delivery, context.shared, context.broker);
        }
    }
}

/// `x-priority` of a consumer.
fn priority(arguments: &Table, queue: &QueueMeta) -> Result<i32, BrokerError> {
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    if let Some(number) = value.as_i64() {
        return Ok(number.clamp(i32::MIN.into(), i32::MAX.into()) as i32);
    }
    let kind = value.kind().name();
    Err(BrokerError::InvalidArgument(Box::new(ArgumentError::Invalid {
        argument: Arc::from("x-priority"),
        resource: queue.resource(),
        reason: Arc::from(format!("\"expected integer, got {kind}\"")),
    })))
}
