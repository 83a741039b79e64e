//! The parts of a publish that a known route spares: permissions, routing, rewriting, returns and
//! direct replies.

use leveret_codec::{ReplyCode, Summary, put_return};
use leveret_engine::{
    BrokerError, Exchange, NewRecord, Permission, QueueId, ResourceName, Routable, Routed,
};
use smallvec::SmallVec;

use super::Checked;
use crate::broker::Broker;
use crate::channel::deliver::put_content;
use crate::channel::message::{self, Message, Scratch};
use crate::channel::{Channel, Mode};
use crate::connection::shared::Context;
use crate::error::{ChannelError, Fault};

impl Channel {
    /// The checks that concern exchange and user: permission, existence, internal, topic.
    // rabbitmq: basic.publish
    pub(super) fn check_exchange<B: Broker>(
        &mut self,
        message: &Message<'_>,
        context: &Context<'_, B>,
    ) -> Result<(), Fault> {
        let (exchange, routing_key) = message.names();
        let known = self.routes.is_checked(exchange);
        let name = String::from_utf8_lossy(exchange);
        let topology = context.broker.topology();
        let access = context.access(&topology);
        if !known {
            let resource = || ResourceName::exchange(access.vhost(), &*name);
            access.exchange(Permission::Write, &name)?;
            let found = access.find_exchange(&name);
            let found = found.ok_or_else(|| BrokerError::NotFound(resource()))?;
            if found.internal {
                return Err(BrokerError::InternalExchange(resource()).into());
            }
            self.routes.checked(exchange);
        }
        access.topic(&name, routing_key)?;
        Ok(())
    }

    pub(super) fn check_user_id<B: Broker>(
        &self,
        summary: &Summary<'_>,
        context: &Context<'_, B>,
    ) -> Result<(), ChannelError> {
        let Some(claimed) = summary.user_id else { return Ok(()) };
        let shared = &context.shared;
        let impersonates = shared.user.as_ref().is_some_and(|user| user.may_impersonate());
        if claimed == shared.user_name.as_bytes() || impersonates {
            return Ok(());
        }
        let claimed = String::from_utf8_lossy(claimed).into_owned();
        Err(ChannelError::UserId { claimed, user: shared.user_name.clone() })
    }

    /// Routes a message by all its keys; remembers the route where it depends on the address alone.
    pub(super) fn route_and_enqueue<B: Broker>(
        &mut self,
        message: &Message<'_>,
        checked: &Checked<'_>,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let scratch = context.shared.scratch.take();
        let mut scratch =
            scratch.unwrap_or_else(|| Box::new(Scratch::new(context.broker.random())));
        let result = self.route_with(message, checked, &mut scratch, context);
        context.shared.scratch = Some(scratch);
        result
    }

    fn route_with<B: Broker>(
        &mut self,
        message: &Message<'_>,
        checked: &Checked<'_>,
        scratch: &mut Scratch,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let Scratch { routed, properties, headers, address } = scratch;
        let mut record = checked.record(message);
        if checked.rewritten {
            let reply = self.reply_address(&checked.summary);
            message::rewritten(
                message.properties,
                &checked.summary,
                reply.as_deref(),
                headers,
                properties,
            )?;
            let [_, bcc] = message::selected(checked.summary.headers)?;
            record.properties = properties;
            record.address = message::hidden_address(message.address, bcc, address);
        }
        let traced = self.route(message, checked, &record, routed, context)?;
        let targets = SmallVec::<[_; 4]>::from_slice(routed.queues());
        if traced {
            // Its route is not remembered, so that the next one comes this way too.
            self.tap_published(&record, &targets, context.shared, context.broker);
        } else if !checked.selects && routed.by_key_alone() {
            self.routes.put(message.address, &targets);
        }
        if routed.is_refused() {
            self.refuse(message, &record, context);
        } else if routed.only_waits() {
            self.enqueue_waiting(message, &record, &targets, context);
        } else {
            self.enqueue(message, &record, &targets, context);
        }
        Ok(())
    }

    /// Finds the queues of a message, and says whether its vhost copies messages to the firehose.
    fn route<B: Broker>(
        &self,
        message: &Message<'_>,
        checked: &Checked<'_>,
        record: &NewRecord<'_>,
        routed: &mut Routed,
        context: &Context<'_, B>,
    ) -> Result<bool, Fault> {
        let (exchange, routing_key) = message.names();
        let mut keys = SmallVec::<[&[u8]; 4]>::new();
        keys.push(routing_key);
        let topology = context.broker.topology();
        let access = context.access(&topology);
        let name = String::from_utf8_lossy(exchange);
        if checked.selects {
            for array in message::selected(checked.summary.headers)? {
                keys.extend(message::strings(array));
            }
            for key in keys.iter().skip(1) {
                access.topic(&name, key)?;
            }
        }
        let (headers, properties) = (checked.summary.headers, message.properties);
        let routable = Routable { routing_keys: &keys, headers, properties };
        let pass = |exchange: &Exchange| context.broker.pass(exchange, record);
        access.route(&name, &routable, pass, routed);
        Ok(context.shared.is_traced(&topology))
    }

    /// Hands a message on that waits for its time: to its publisher it has reached no queue.
    // rabbitmq: x-delayed-message
    fn enqueue_waiting<B: Broker>(
        &mut self,
        message: &Message<'_>,
        record: &NewRecord<'_>,
        targets: &[QueueId],
        context: &mut Context<'_, B>,
    ) {
        if message.mandatory && !matches!(self.mode, Mode::Tx(_)) {
            self.return_message(message.address, record, context);
        }
        self.enqueue(&Message { mandatory: false, ..*message }, record, targets, context);
    }

    /// Gives a message up that an exchange has no room for: it is in no queue, and its publisher
    /// is told in every way there is.
    fn refuse<B: Broker>(
        &mut self,
        message: &Message<'_>,
        record: &NewRecord<'_>,
        context: &mut Context<'_, B>,
    ) {
        self.count(context.shared, |counters| counters.note_unroutable(message.mandatory));
        if let Mode::Tx(transaction) = &mut self.mode {
            return transaction.refuse();
        }
        if message.mandatory {
            self.return_message(message.address, record, context);
        }
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.refuse();
        }
        self.mark_confirms(context);
    }

    /// Sends a mandatory message back.
    // rabbitmq: mandatory
    pub(crate) fn return_message<B: Broker>(
        &self,
        address: &[u8],
        record: &NewRecord<'_>,
        context: &mut Context<'_, B>,
    ) {
        let (code, number) = (ReplyCode::NO_ROUTE, self.key.number);
        put_return(context.out.buf(), number, code.0, code.name(), address);
        put_content(number, context.shared.frame_max, record.properties, record.body, context.out);
    }

    /// Takes a message for a direct reply-to consumer, which counts as routed whether or not the
    /// consumer is still there.
    // rabbitmq: direct reply-to
    pub(super) fn publish_reply<B: Broker>(
        &mut self,
        message: &Message<'_>,
        token: &str,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        self.check_exchange(message, context)?;
        let mut checked = Checked::default();
        self.check_properties(message, &mut checked, context)?;
        let bytes = message.body.len() as u64;
        self.count(context.shared, |counters| counters.note_publish(bytes));
        let record = checked.record(message);
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.reply(&record, token);
            return Ok(());
        }
        if !context.broker.reply(token, &record) {
            self.count(context.shared, |counters| counters.drop_unroutable += 1);
        }
        self.confirm_unqueued(context);
        Ok(())
    }
}
