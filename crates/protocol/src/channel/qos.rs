//! basic.qos: the prefetch of consumers to come, and the credit that all consumers share.

use std::sync::Arc;

use leveret_codec::amqp::{AMQPClass, basic};
use leveret_engine::ChannelCredit;

use crate::broker::{Broker, Call};
use crate::channel::Channel;
use crate::connection::shared::Context;
use crate::error::{ConnectionError, Fault};

impl Channel {
    /// `prefetch_size` is read from the frame, since the catalogue leaves it out.
    // rabbitmq: basic.qos
    pub(crate) fn qos<B: Broker>(
        &mut self,
        method: &basic::Qos,
        payload: &[u8],
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let size = payload
            .get(4..8)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |size| u32::from_be_bytes(*size));
        if size != 0 {
            return Err(ConnectionError::PrefetchSize(size).into());
        }
        if method.global {
            let limit = u32::from(method.prefetch_count);
            match &self.credit {
                Some(credit) => credit.set_limit(limit),
                None => self.start_credit(Arc::new(ChannelCredit::new(limit)), context),
            }
            self.credit_changed = true;
        } else {
            self.prefetch = method.prefetch_count;
        }
        self.reply(AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})), context);
        Ok(())
    }

    /// The first limit for the whole channel holds for the consumers that it has as well.
    fn start_credit<B: Broker>(
        &mut self,
        credit: Arc<ChannelCredit>,
        context: &mut Context<'_, B>,
    ) {
        for id in self.consumers.values() {
            if let Some(consumer) = context.shared.consumers.get(id) {
                let (queue, consumer) = (consumer.queue, consumer.id);
                let credit = credit.clone();
                context.call(self.key, Call::ShareCredit { queue, consumer, credit });
            }
        }
        self.credit = Some(credit);
    }

    /// Whether a limit for the whole channel is in force.
    pub(crate) fn has_global_limit(&self) -> bool {
        self.credit.as_ref().is_some_and(|credit| credit.limit() > 0)
    }

    /// Tells the queues of the channel's consumers that its credit may have room again. Done for
    /// all of them, since only they know whether they were refused.
    pub(crate) fn spread_credit<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        self.credit_changed = false;
        for id in self.consumers.values() {
            if let Some(consumer) = context.shared.consumers.get(id) {
                let call = Call::Credit { queue: consumer.queue, consumer: consumer.id };
                context.call(self.key, call);
            }
        }
    }
}
