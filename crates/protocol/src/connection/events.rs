//! What the node tells a connection: late answers, confirms, cancelled consumers, replies, alarms.

use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::{put_method, short_string};
use leveret_engine::{ChannelKey, QueueId, Timestamp};

use crate::broker::{Answer, Broker, Event};
use crate::channel::{Channel, Put, return_orphan};
use crate::connection::shared::{ConnectionEnd, Context};
use crate::connection::{Connection, Phase};
use crate::error::{ConnectionError, Fault};
use crate::output::Output;

impl Connection {
    /// Acts on something that happened elsewhere. Events for channels that are gone are dropped.
    pub fn event<B: Broker>(
        &mut self,
        event: Event,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        self.shared.now = now;
        match event {
            Event::Settled(settled) => {
                self.on_channel(settled.channel, now, broker, out, |channel, context| {
                    channel.settled(&settled, context)
                })
            }
            Event::Answer { answer: Answer::Noted, .. } => {}
            Event::Answer { channel, answer } if channel.number == 0 => {
                self.own_answer(answer, now, broker, out);
            }
            Event::Answer { channel, answer } => match self.take_orphan(channel, &answer) {
                None => self.on_channel(channel, now, broker, out, |channel, context| {
                    channel.answered(answer, context)
                }),
                Some(queue) => {
                    let shared = &mut self.shared;
                    return_orphan(queue, &answer, &mut Context { shared, broker, out, now });
                }
            },
            Event::Cancelled { channel, consumer } => {
                self.on_channel(channel, now, broker, out, |channel, context| {
                    channel.cancelled_by_queue(consumer, context);
                    Ok(())
                });
            }
            Event::Reply { channel, block } => {
                self.on_channel(channel, now, broker, out, |channel, context| {
                    channel.deliver_replies(&block, context.shared, context.out);
                    Ok(())
                });
            }
            Event::Alarm(Some(reason)) => self.alarm.raise(reason),
            Event::Alarm(None) => self.alarm_cleared(now, out),
            Event::Close { code, text } => self.forced(code, text, now, broker, out),
        }
        self.settle_turn(now, broker, out);
    }

    /// Puts a message into a queue, past every exchange, on an open channel; nothing happens on one that is not open.
    /// For what the process itself moves.
    pub fn put<B: Broker>(
        &mut self,
        number: u16,
        put: &Put<'_>,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        self.shared.now = now;
        let Some(key) = self.channels.get_mut(number).map(|channel| channel.key) else { return };
        self.on_channel(key, now, broker, out, |channel, context| channel.put(put, context));
        self.settle_turn(now, broker, out);
    }

    /// Does something with a channel, if it is still the one that was meant, then lets it go on
    /// with what it held.
    fn on_channel<B: Broker>(
        &mut self,
        key: ChannelKey,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
        work: impl FnOnce(&mut Channel, &mut Context<'_, B>) -> Result<(), Fault>,
    ) {
        let Self { shared, channels, .. } = self;
        let Some(channel) = channels.get_mut(key.number).filter(|channel| channel.key == key)
        else {
            return;
        };
        let waited = channel.is_waiting();
        if let Err(fault) = work(channel, &mut Context { shared, broker, out, now }) {
            self.fault(key.number, fault, now, broker, out);
        } else if waited {
            self.replay(key.number, now, broker, out);
        }
        self.forget_if_gone(key.number);
    }

    /// The queue of a basic.get whose channel went before the answer came.
    fn take_orphan(&mut self, key: ChannelKey, answer: &Answer) -> Option<QueueId> {
        if !matches!(answer, Answer::Got(_)) {
            return None;
        }
        let at = self.shared.orphans.iter().position(|(orphan, _)| *orphan == key)?;
        Some(self.shared.orphans.swap_remove(at).1)
    }

    fn own_answer<B: Broker>(
        &mut self,
        answer: Answer,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        match self.phase {
            Phase::OpenAsked => self.open_answered(answer, now, broker, out),
            Phase::Leaving => self.left(now, out),
            _ => {}
        }
    }

    /// Content has come: under an alarm the connection is not read any more.
    // rabbitmq: connection.blocked
    pub(super) fn content_came(&mut self, out: &mut Output) {
        let Some(reason) = self.alarm.content() else { return };
        self.heartbeat.pause(true, self.shared.now);
        if self.shared.capabilities.connection_blocked {
            let blocked = connection::Blocked { reason: short_string(&reason) };
            let method = AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked));
            put_method(out.buf(), 0, &method);
        }
    }

    fn alarm_cleared(&mut self, now: Timestamp, out: &mut Output) {
        if !self.alarm.clear() {
            return;
        }
        self.heartbeat.pause(false, now);
        if self.phase == Phase::Running && self.shared.capabilities.connection_blocked {
            let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
            put_method(out.buf(), 0, &AMQPClass::Connection(unblocked));
        }
    }

    /// The node closes the connection; one that is not open yet is told nothing.
    // rabbitmq: forced closes
    fn forced<B: Broker>(
        &mut self,
        code: leveret_codec::ReplyCode,
        text: String,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        match self.phase {
            Phase::Running | Phase::OpenAsked => {
                let error = ConnectionError::Forced { code, text };
                self.fail(error, (0, 0), now, broker, out);
            }
            Phase::Ending { .. } | Phase::Leaving | Phase::Closed => {}
            _ => {
                self.end_with(ConnectionEnd::ByServer { code, text });
                self.phase = Phase::Closed;
            }
        }
    }
}
