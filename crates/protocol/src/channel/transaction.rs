//! tx: publishes and acks kept until commit. Routing happens at publish time, returns at commit.

use leveret_codec::amqp::{AMQPClass, tx};
use leveret_engine::queue::effects::Outcome;
use leveret_engine::{Block, NewRecord, QueueId, Record, Settled, Settlement};
use smallvec::SmallVec;

use crate::broker::Broker;
use crate::channel::confirm::Confirms;
use crate::channel::unacked::{Delivered, Unacked};
use crate::channel::{Channel, Mode};
use crate::connection::shared::Context;
use crate::error::{ChannelError, Fault};
use crate::limits::{TRANSACTION_ACKS_MAX, TRANSACTION_BYTES_MAX};
use crate::tag_runs::Run;

/// What a transactional channel has not committed.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Full blocks and the one that is being filled.
    blocks: Vec<Block>,
    /// For each record of the blocks, in order.
    published: Vec<Pending>,
    settles: Vec<(Run<Delivered>, Settlement)>,
    bytes: usize,
    /// Set when the limit was passed; the commit fails.
    too_large: bool,
    /// The publishes of a commit that wait for their queues.
    committing: Option<Confirms>,
    refused: bool,
}

#[derive(Debug)]
struct Pending {
    targets: SmallVec<[QueueId; 2]>,
    returned: bool,
    /// The direct reply-to consumer it goes to instead.
    reply: Option<Box<str>>,
}

impl Transaction {
    /// Keeps a routed message.
    pub(crate) fn publish(&mut self, record: &NewRecord<'_>, targets: &[QueueId], returned: bool) {
        let targets = SmallVec::from_slice(targets);
        self.keep(record, Pending { targets, returned, reply: None });
    }

    /// A message was refused; the commit fails.
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Keeps a message for a direct reply-to consumer.
    pub(crate) fn reply(&mut self, record: &NewRecord<'_>, token: &str) {
        let reply = Some(Box::from(token));
        self.keep(record, Pending { targets: SmallVec::new(), returned: false, reply });
    }

    fn keep(&mut self, record: &NewRecord<'_>, pending: Pending) {
        self.bytes += record.stored_len() + record.body.len();
        if self.bytes > TRANSACTION_BYTES_MAX {
            self.too_large = true;
            return;
        }
        if self.blocks.last().is_none_or(Block::is_full) {
            self.blocks.push(Block::new());
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(record);
        }
        self.published.push(pending);
    }

    /// Whether another ack may be kept.
    pub(crate) fn check_acks(&self) -> Result<(), ChannelError> {
        if self.settles.len() >= TRANSACTION_ACKS_MAX {
            return Err(ChannelError::TransactionTooLarge);
        }
        Ok(())
    }

    /// Keeps an ack, return or rejection.
    pub(crate) fn settle(&mut self, run: Run<Delivered>, how: Settlement) {
        self.settles.push((run, how));
    }

    /// How many publishes and settled deliveries are not committed.
    pub(crate) fn uncommitted(&self) -> (u64, u64) {
        let settles = self.settles.iter().map(|(run, _)| u64::from(run.n)).sum();
        (self.published.len() as u64, settles)
    }

    /// Drops the publishes and makes the settled deliveries unacked again.
    pub(crate) fn rollback(&mut self, unacked: &mut Unacked) {
        for (run, _) in std::mem::take(&mut self.settles) {
            unacked.restore(run);
        }
        *self = Self::default();
    }

    /// A queue has answered for publishes of the commit. True when none is left.
    pub(crate) fn settled(&mut self, settled: &Settled) -> bool {
        self.refused |= settled.outcome == Outcome::Rejected;
        let Some(confirms) = &mut self.committing else { return false };
        confirms.settled(settled);
        confirms.outstanding() == 0
    }

    fn records(&self) -> impl Iterator<Item = (Record<'_>, &Pending)> {
        let records =
            self.blocks.iter().flat_map(|block| (0..block.len()).map(|at| block.record(at)));
        records.zip(&self.published)
    }
}

impl Channel {
    pub(crate) fn tx_select<B: Broker>(
        &mut self,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match self.mode {
            Mode::Confirm(_) => return Err(ChannelError::ConfirmToTx.into()),
            Mode::Tx(_) => {}
            Mode::Plain => self.mode = Mode::Tx(Box::default()),
        }
        self.reply(AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})), context);
        Ok(())
    }

    /// tx.commit: messages first, then acks; commit-ok when every queue has answered.
    // rabbitmq: tx
    pub(crate) fn tx_commit<B: Broker>(
        &mut self,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let Mode::Tx(slot) = &mut self.mode else {
            return Err(ChannelError::NotTransactional.into());
        };
        if slot.too_large {
            return Err(ChannelError::TransactionTooLarge.into());
        }
        if slot.refused {
            return Err(ChannelError::PartialTx.into());
        }
        let transaction = std::mem::take(slot);
        let mut confirms = Confirms::default();
        for (record, pending) in transaction.records() {
            let address = record.address();
            let record = copy_of(&record);
            if pending.returned {
                self.return_message(address, &record, context);
            }
            if let Some(token) = &pending.reply {
                context.broker.reply(token, &record);
            }
            let confirm = (!pending.targets.is_empty())
                .then(|| (self.key, confirms.publish(pending.targets.len())));
            for queue in &pending.targets {
                context.broker.publish(*queue, &record, confirm);
            }
        }
        self.commit_settles(&transaction.settles, context);
        if confirms.outstanding() == 0 {
            self.commit_ok(context);
            return Ok(());
        }
        if let Mode::Tx(slot) = &mut self.mode {
            slot.committing = Some(confirms);
        }
        self.waiting = Some(crate::channel::Waiting::Commit);
        Ok(())
    }

    fn commit_settles<B: Broker>(
        &mut self,
        settles: &[(Run<Delivered>, Settlement)],
        context: &mut Context<'_, B>,
    ) {
        for (run, how) in settles {
            if *how == Settlement::Ack {
                let n = u64::from(run.n);
                self.count(context.shared, |counters| counters.ack += n);
            }
            self.credit_changed |= self.credit.is_some();
            context.settle(run.value.queue, run.value.consumer, run.range(), *how);
        }
    }

    /// Every queue of the commit has answered.
    pub(crate) fn commit_settled<B: Broker>(
        &mut self,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let Mode::Tx(transaction) = &mut self.mode else { return Ok(()) };
        let refused = std::mem::take(&mut transaction.refused);
        transaction.committing = None;
        self.waiting = None;
        if refused {
            return Err(ChannelError::PartialTx.into());
        }
        self.commit_ok(context);
        Ok(())
    }

    fn commit_ok<B: Broker>(&self, context: &mut Context<'_, B>) {
        self.reply(AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {})), context);
    }

    pub(crate) fn tx_rollback<B: Broker>(
        &mut self,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let Mode::Tx(transaction) = &mut self.mode else {
            return Err(ChannelError::NotTransactional.into());
        };
        transaction.rollback(&mut self.unacked);
        self.reply(AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})), context);
        Ok(())
    }
}

fn copy_of<'a>(record: &Record<'a>) -> NewRecord<'a> {
    NewRecord {
        address: record.whole_address(),
        properties: record.properties(),
        persistent: record.persistent(),
        priority: record.priority(),
        expires_at: record.expires_at(),
        body: record.body(),
    }
}
