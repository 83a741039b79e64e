//! Calls to the node and what their answers lead to, whether they come at once or later.

use leveret_codec::amqp::{AMQPClass, channel};
use leveret_engine::{BrokerError, ResourceName};

use crate::broker::{Answer, Broker, Call, Counts};
use crate::channel::{Channel, State, Waiting};
use crate::connection::shared::Context;
use crate::error::Fault;

impl Channel {
    /// Asks the node. An answer at once is acted on at once; otherwise the frames that follow are
    /// held.
    pub(super) fn ask<B: Broker>(
        &mut self,
        call: Call,
        waiting: Waiting,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match context.call(self.key, call) {
            Some(answer) => self.act(waiting, answer, context),
            None => {
                self.waiting = Some(waiting);
                Ok(())
            }
        }
    }

    /// The answer to the call that the channel waits for.
    pub(crate) fn answered<B: Broker>(
        &mut self,
        answer: Answer,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if !matches!(self.state, State::Open | State::Opening) {
            self.answered_late(&answer, context);
            return Ok(());
        }
        match self.waiting.take() {
            Some(waiting) => self.act(waiting, answer, context),
            None => Ok(()),
        }
    }

    fn act<B: Broker>(
        &mut self,
        waiting: Waiting,
        answer: Answer,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match (waiting, answer) {
            (Waiting::Open, Answer::Opened(result)) => {
                result?;
                self.opened(context);
            }
            (Waiting::Applied(reply), Answer::Applied(result)) => {
                result?;
                if let Some(reply) = reply {
                    self.reply(*reply, context);
                }
            }
            (Waiting::DeclareQueue { nowait }, Answer::Declared(result)) => {
                let declared = result?;
                let counts = Counts { ready: declared.ready, consumers: declared.consumers };
                self.declare_ok(&declared.queue.name, counts, nowait, context);
            }
            (Waiting::Passive { name, nowait }, Answer::Counts(counts)) => {
                let gone = || {
                    BrokerError::NotFound(ResourceName::queue(&context.shared.vhost, name.clone()))
                };
                let counts = counts?.ok_or_else(gone)?;
                self.declare_ok(&name, counts, nowait, context);
            }
            (Waiting::DeleteQueue { nowait }, Answer::Deleted(result)) => {
                self.delete_ok(result?, nowait, context);
            }
            (Waiting::Purge { nowait }, Answer::Purged(result)) => {
                self.purge_ok(result?, nowait, context);
            }
            (Waiting::Consume { consumer, nowait }, Answer::Consuming(result)) => {
                result?;
                self.consuming(*consumer, nowait, context);
            }
            (Waiting::Cancel { tag, nowait }, Answer::Cancelled) => {
                self.cancel_ok(&tag, nowait, context);
            }
            (Waiting::Get { queue, no_ack }, Answer::Got(result)) => {
                self.got(queue, no_ack, result?.as_ref(), context);
            }
            (waiting, answer) => return Err(mismatch(&waiting, &answer).into()),
        }
        Ok(())
    }

    fn opened<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        self.state = State::Open;
        context.shared.counters.channels_opened += 1;
        let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
        self.reply(AMQPClass::Channel(ok), context);
    }
}

/// The node broke its contract; the connection pays, not the node.
#[cold]
fn mismatch(waiting: &Waiting, answer: &Answer) -> BrokerError {
    BrokerError::Internal(format!("{answer:?} is no answer to {waiting:?}").into())
}
