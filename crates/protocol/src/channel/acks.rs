//! basic.ack, nack, reject and recover: delivery tags to positions in queues.
//! Hot path: acks in order trim the oldest run.

use leveret_engine::Settlement;

use crate::broker::Broker;
use crate::channel::unacked::Delivered;
use crate::channel::{Channel, Mode};
use crate::connection::shared::Context;
use crate::error::{ChannelError, ConnectionError, Fault};
use crate::tag_runs::Run;

impl Channel {
    /// Acks, returns or rejects one delivery or all up to it. On an error nothing is settled.
    // rabbitmq: ack, nack, reject
    #[inline]
    pub(crate) fn settle<B: Broker>(
        &mut self,
        tag: u64,
        multiple: bool,
        how: Settlement,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if let Mode::Tx(transaction) = &self.mode {
            transaction.check_acks()?;
        }
        let unknown = ChannelError::UnknownDeliveryTag(tag);
        if !multiple {
            let run = self.unacked.take(tag).ok_or(unknown)?;
            self.settle_run(run, how, context);
        } else if tag == 0 {
            self.settle_through(u64::MAX, how, context);
        } else if self.unacked.contains(tag) {
            self.settle_through(tag, how, context);
        } else {
            return Err(unknown.into());
        }
        Ok(())
    }

    fn settle_through<B: Broker>(
        &mut self,
        tag: u64,
        how: Settlement,
        context: &mut Context<'_, B>,
    ) {
        let mut runs = std::mem::take(&mut self.scratch_runs);
        self.unacked.take_through(tag, |run| runs.push(run));
        for run in runs.drain(..) {
            self.settle_run(run, how, context);
        }
        self.scratch_runs = runs;
    }

    #[inline]
    fn settle_run<B: Broker>(
        &mut self,
        run: Run<Delivered>,
        how: Settlement,
        context: &mut Context<'_, B>,
    ) {
        if let Mode::Tx(transaction) = &mut self.mode {
            return transaction.settle(run, how);
        }
        if how == Settlement::Ack {
            let n = u64::from(run.n);
            self.count(context.shared, |counters| counters.ack += n);
        }
        self.credit_changed |= self.credit.is_some();
        context.settle(run.value.queue, run.value.consumer, run.range(), how);
    }

    /// Returns everything that is unacked and not part of an open transaction to its queues.
    pub(crate) fn requeue_all<B: Broker>(&mut self, how: Settlement, context: &mut Context<'_, B>) {
        self.credit_changed |= self.credit.is_some();
        self.unacked.take_all(|run| {
            context.settle(run.value.queue, run.value.consumer, run.range(), how);
        });
    }

    /// basic.recover and basic.recover-async.
    // rabbitmq: recover
    pub(crate) fn recover<B: Broker>(
        &mut self,
        requeue: bool,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if !requeue {
            return Err(ConnectionError::RecoverWithoutRequeue.into());
        }
        self.requeue_all(Settlement::Requeue, context);
        Ok(())
    }

    /// The oldest delivery that has waited too long for its ack.
    // rabbitmq: consumer timeout
    pub(crate) fn check_ack_timeout(&self, minute: u32) -> Result<(), ChannelError> {
        let Some(run) = self.unacked.front() else { return Ok(()) };
        let allowed = run.value.minutes_max;
        if allowed == 0 || minute < run.value.minute.saturating_add(allowed) {
            return Ok(());
        }
        let timeout_ms = u64::from(allowed) * crate::limits::CONSUMER_TIMEOUT_TICK_MS;
        Err(ChannelError::AckTimeout { channel: self.key.number, timeout_ms })
    }
}
