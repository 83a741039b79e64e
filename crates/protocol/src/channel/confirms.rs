//! confirm.select and the telling of confirms: the channel's side of [`Confirms`].

use leveret_codec::amqp::{AMQPClass, confirm};
use leveret_engine::Settled;

use crate::broker::Broker;
use crate::channel::{Channel, Confirms, Mode};
use crate::connection::shared::{Context, Shared};
use crate::error::{ChannelError, ConnectionError, Fault};
use crate::output::Output;

impl Channel {
    // rabbitmq: confirm.select
    pub(super) fn confirm_class<B: Broker>(
        &mut self,
        method: &confirm::AMQPMethod,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let confirm::AMQPMethod::Select(select) = method else {
            return Err(ConnectionError::UnimplementedMethod.into());
        };
        match self.mode {
            Mode::Tx(_) => return Err(ChannelError::TxToConfirm.into()),
            Mode::Confirm(_) => {}
            Mode::Plain => self.mode = Mode::Confirm(Confirms::default()),
        }
        let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
        self.reply_unless(select.nowait, AMQPClass::Confirm(ok), context);
        Ok(())
    }

    /// A queue has answered for publishes.
    pub(crate) fn settled<B: Broker>(
        &mut self,
        settled: &Settled,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match &mut self.mode {
            Mode::Confirm(confirms) => context.shared.unconfirmed -= confirms.settled(settled),
            Mode::Tx(transaction) => {
                let finished = transaction.settled(settled);
                return if finished { self.commit_settled(context) } else { Ok(()) };
            }
            Mode::Plain => return Ok(()),
        }
        self.mark_confirms(context);
        Ok(())
    }

    /// Puts the channel on the connection's list, if there is something to tell.
    pub(super) fn mark_confirms<B>(&mut self, context: &mut Context<'_, B>) {
        if let Mode::Confirm(confirms) = &self.mode
            && confirms.is_dirty()
            && !self.dirty
        {
            self.dirty = true;
            context.shared.dirty.push(self.key.number);
        }
    }

    /// Tells the publisher what is known by now.
    pub(crate) fn flush_confirms(&mut self, shared: &mut Shared, out: &mut Output) {
        self.dirty = false;
        if let Mode::Confirm(confirms) = &mut self.mode {
            let flushed = confirms.flush(self.key.number, out);
            self.count(shared, |counters| {
                counters.confirm += flushed.acked;
                counters.nack_published += flushed.nacked;
            });
        }
    }

    /// The same before the channel closes.
    pub(super) fn tell_confirms<B>(&mut self, context: &mut Context<'_, B>) {
        if self.dirty {
            self.flush_confirms(context.shared, context.out);
        }
    }
}
