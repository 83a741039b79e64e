//! The end of a channel: what it holds is given back to the queues, in RabbitMQ's order.

use leveret_codec::amqp::{AMQPClass, channel};
use leveret_codec::short_string;
use leveret_engine::{QueueId, SeqRange, Settlement};

use crate::broker::{Answer, Broker, Call};
use crate::channel::content::Content;
use crate::channel::{Channel, Mode, State, Waiting};
use crate::connection::shared::Context;
use crate::error::ChannelError;

impl Channel {
    /// The client closes. close-ok follows when every queue has let the consumers go.
    // rabbitmq: channel.close
    pub(crate) fn close_by_client<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        self.tell_confirms(context);
        self.release(context);
        self.state = State::ClosedByClient;
        self.finish_close(context);
    }

    /// The server closes, because of an error. Everything but close-ok is dropped from now on.
    // rabbitmq: error classes
    pub(crate) fn close_by_server<B: Broker>(
        &mut self,
        error: &ChannelError,
        context: &mut Context<'_, B>,
    ) {
        self.tell_confirms(context);
        let reply = error.reply();
        let (class_id, method_id) = self.method;
        let close = channel::Close {
            reply_code: reply.code.0,
            reply_text: short_string(&reply.text),
            class_id,
            method_id,
        };
        self.reply(AMQPClass::Channel(channel::AMQPMethod::Close(close)), context);
        self.release(context);
        self.state = State::ClosedByServer;
    }

    /// Sends close-ok if no consumer is still being cancelled.
    pub(super) fn finish_close<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        if self.state == State::ClosedByClient && self.cancelling == 0 {
            self.reply(
                AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})),
                context,
            );
            self.state = State::Gone;
        }
    }

    /// Cancels the consumers, then returns what is unacked, so that nothing returned comes back to
    /// this channel.
    pub(crate) fn release<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        // A channel that was refused was never counted in; one that is still asked for will be.
        let counted = self.state == State::Open || matches!(self.waiting, Some(Waiting::Open));
        context.shared.held_bytes -= std::mem::take(&mut self.held_bytes);
        self.held = crate::channel::held::Held::default();
        self.content = Content::Method;
        self.close_replies(context);
        self.abandon_call(context);
        for id in std::mem::take(&mut self.consumers).into_values() {
            if let Some(consumer) = context.shared.consumers.remove(&id) {
                let call = Call::Cancel { queue: consumer.queue, consumer: id };
                self.cancel_call(call, context);
            }
        }
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.rollback(&mut self.unacked);
        }
        self.credit = None;
        self.requeue_all(Settlement::RequeueFailed, context);
        if let Mode::Confirm(confirms) = &self.mode {
            context.shared.unconfirmed -= confirms.outstanding();
        }
        self.mode = Mode::Plain;
        if counted {
            let user = context.shared.user_name.clone();
            context.call(self.key, Call::CloseChannel { user });
            context.shared.counters.channels_closed += 1;
        }
    }

    /// A call that is unanswered: what its answer will bring is not wanted any more.
    fn abandon_call<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        match self.waiting.take() {
            Some(Waiting::Consume { consumer, .. }) => {
                let call = Call::Cancel { queue: consumer.queue, consumer: consumer.id };
                self.cancel_call(call, context);
            }
            Some(Waiting::Get { queue, no_ack: false }) => {
                context.shared.orphans.push((self.key, queue));
            }
            _ => {}
        }
    }

    fn cancel_call<B: Broker>(&mut self, call: Call, context: &mut Context<'_, B>) {
        if context.call(self.key, call).is_none() {
            self.cancelling += 1;
        }
    }

    /// The same when the whole connection ends; a channel that is closed has nothing left.
    pub(crate) fn release_unless_closed<B: Broker>(&mut self, context: &mut Context<'_, B>) {
        if matches!(self.state, State::Open | State::Opening) {
            self.release(context);
        }
    }

    /// An answer for a channel that is closed.
    pub(crate) fn answered_late<B: Broker>(
        &mut self,
        answer: &Answer,
        context: &mut Context<'_, B>,
    ) {
        if matches!(answer, Answer::Cancelled) {
            self.cancelling = self.cancelling.saturating_sub(1);
            self.finish_close(context);
        }
    }
}

/// Returns a message that basic.get brought to a channel that is gone.
pub(crate) fn return_orphan<B: Broker>(
    queue: QueueId,
    answer: &Answer,
    context: &mut Context<'_, B>,
) {
    let Answer::Got(Ok(Some((delivery, _)))) = answer else { return };
    let range = SeqRange { first: delivery.first_seq, n: delivery.n };
    context.settle(queue, None, range, Settlement::Requeue);
}
