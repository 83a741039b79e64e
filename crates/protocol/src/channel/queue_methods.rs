//! queue.declare, bind, unbind, purge and delete.

use std::sync::Arc;

use leveret_codec::Table;
use leveret_codec::amqp::{AMQPClass, queue};
use leveret_engine::{
    BindingSpec, BrokerError, Destination, Permission, QueueDeclare, QueueKind, QueueMeta,
    ResourceName, names,
};

use crate::broker::{Broker, Call, Counts};
use crate::channel::exchange_methods::Binding;
use crate::channel::{Channel, Waiting, reply_to};
use crate::connection::shared::Context;
use crate::error::{ChannelError, Fault};

impl Channel {
    // rabbitmq: queue.declare
    pub(crate) fn queue_declare<B: Broker>(
        &mut self,
        method: &queue::Declare,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let name = names::strip(method.queue.as_str()).into_owned();
        if let Some(alive) = reply_to::probe(&name, context.broker) {
            return self.declare_reply_queue(&name, alive, method.nowait, context);
        }
        if method.passive {
            return self.queue_declare_passive(&name, method.nowait, context);
        }
        let server_named = name.is_empty();
        let name = if server_named { names::server_named(context.broker.random()) } else { name };
        let declare = QueueDeclare {
            vhost: context.shared.vhost.clone(),
            name: Arc::from(name),
            server_named,
            durable: method.durable,
            exclusive_owner: method.exclusive.then_some(context.shared.id),
            auto_delete: method.auto_delete,
            arguments: Table::from(method.arguments.clone()),
            user: context.shared.user_name.clone(),
            id: None,
        };
        {
            let topology = context.broker.topology();
            let user = context.access(&topology).user()?;
            topology.authorise_queue_declare(user, &declare)?;
        }
        let waiting = Waiting::DeclareQueue { nowait: method.nowait };
        self.ask(Call::DeclareQueue(declare), waiting, context)
    }

    fn declare_reply_queue<B: Broker>(
        &mut self,
        name: &str,
        alive: bool,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if !alive {
            let queue = ResourceName::queue(&context.shared.vhost, name);
            return Err(BrokerError::NotFound(queue).into());
        }
        self.declare_ok(&Arc::from(name), Counts { ready: 0, consumers: 1 }, nowait, context);
        Ok(())
    }

    /// Needs no permission, as RabbitMQ up to 4.2.
    fn queue_declare_passive<B: Broker>(
        &mut self,
        name: &str,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let queue = context.access(&context.broker.topology()).usable_queue(name)?;
        let call = Call::Counts { queue: queue.id };
        self.ask(call, Waiting::Passive { name: queue.name.clone(), nowait }, context)
    }

    /// queue.declare-ok; the queue is the channel's last from now on.
    pub(super) fn declare_ok<B: Broker>(
        &mut self,
        name: &Arc<str>,
        counts: Counts,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) {
        self.last_queue = Some(name.clone());
        let ok = queue::DeclareOk {
            queue: leveret_codec::short_string(name),
            message_count: u32::try_from(counts.ready).unwrap_or(u32::MAX),
            consumer_count: counts.consumers,
        };
        let reply = AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok));
        self.reply_unless(nowait, reply, context);
    }

    pub(crate) fn queue_bind<B: Broker>(
        &mut self,
        method: &queue::Bind,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let key = method.routing_key.as_str();
        let (queue, key) = self.bound_queue(method.queue.as_str(), key)?;
        let spec = BindingSpec {
            vhost: context.shared.vhost.clone(),
            source: Arc::from(names::strip(method.exchange.as_str())),
            destination: Destination::Queue(queue),
            key,
            arguments: Table::from(method.arguments.clone()),
        };
        let reply = AMQPClass::Queue(queue::AMQPMethod::BindOk(queue::BindOk {}));
        self.bind(spec, Binding::Add, method.nowait, reply, context)
    }

    pub(crate) fn queue_unbind<B: Broker>(
        &mut self,
        method: &queue::Unbind,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let key = method.routing_key.as_str();
        let (queue, key) = self.bound_queue(method.queue.as_str(), key)?;
        let spec = BindingSpec {
            vhost: context.shared.vhost.clone(),
            source: Arc::from(names::strip(method.exchange.as_str())),
            destination: Destination::Queue(queue),
            key,
            arguments: Table::from(method.arguments.clone()),
        };
        let reply = AMQPClass::Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {}));
        self.bind(spec, Binding::Remove, false, reply, context)
    }

    /// Queue and key of a binding: with both empty the key is the last queue's name too.
    // spec: queue.bind
    fn bound_queue(&self, queue: &str, key: &str) -> Result<(Arc<str>, Arc<[u8]>), ChannelError> {
        let name = self.queue_name(queue)?;
        let key = if queue.is_empty() && key.is_empty() { &name } else { key };
        let key = Arc::from(key.as_bytes());
        Ok((name, key))
    }

    /// The name that a method means: an empty one is the channel's last queue.
    // spec: queue names
    pub(super) fn queue_name(&self, name: &str) -> Result<Arc<str>, ChannelError> {
        let name = names::strip(name);
        if name.is_empty() {
            return self.last_queue.clone().ok_or(ChannelError::NoPreviousQueue);
        }
        Ok(Arc::from(name))
    }

    // rabbitmq: queue.purge
    pub(crate) fn queue_purge<B: Broker>(
        &mut self,
        method: &queue::Purge,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let name = self.queue_name(method.queue.as_str())?;
        let queue = self.readable_queue(&name, context)?;
        if queue.kind == QueueKind::Stream {
            let text = format!("queue.purge not supported by stream queues {}", queue.resource());
            return Err(BrokerError::NotImplemented(Arc::from(text)).into());
        }
        let waiting = Waiting::Purge { nowait: method.nowait };
        self.ask(Call::Purge { queue: queue.id }, waiting, context)
    }

    // rabbitmq: queue.delete
    pub(crate) fn queue_delete<B: Broker>(
        &mut self,
        method: &queue::Delete,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let name = self.queue_name(method.queue.as_str())?;
        let found = {
            let topology = context.broker.topology();
            let access = context.access(&topology);
            access.queue(Permission::Configure, &name)?;
            access.find_queue(&name).cloned()
        };
        let Some(queue) = found else {
            self.delete_ok(0, method.nowait, context);
            return Ok(());
        };
        queue.check_owner(context.shared.id)?;
        let (if_unused, if_empty) = delete_flags(&queue, method.if_unused, method.if_empty)?;
        let waiting = Waiting::DeleteQueue { nowait: method.nowait };
        self.ask(Call::DeleteQueue { queue, if_unused, if_empty }, waiting, context)
    }

    /// queue.delete-ok.
    pub(super) fn delete_ok<B: Broker>(
        &self,
        messages: u64,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) {
        let message_count = u32::try_from(messages).unwrap_or(u32::MAX);
        let ok = queue::DeleteOk { message_count };
        self.reply_unless(nowait, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(ok)), context);
    }

    /// queue.purge-ok.
    pub(super) fn purge_ok<B: Broker>(
        &self,
        messages: u64,
        nowait: bool,
        context: &mut Context<'_, B>,
    ) {
        let message_count = u32::try_from(messages).unwrap_or(u32::MAX);
        let ok = queue::PurgeOk { message_count };
        self.reply_unless(nowait, AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)), context);
    }

    /// A queue that the user may read and that is not another connection's.
    pub(super) fn readable_queue<B: Broker>(
        &self,
        name: &str,
        context: &Context<'_, B>,
    ) -> Result<Arc<QueueMeta>, BrokerError> {
        let topology = context.broker.topology();
        let access = context.access(&topology);
        access.queue(Permission::Read, name)?;
        access.usable_queue(name)
    }
}

/// The conditions that hold for a queue of this type: quorum queues refuse them, streams ignore them.
// rabbitmq: queue.delete
fn delete_flags(
    queue: &QueueMeta,
    if_unused: bool,
    if_empty: bool,
) -> Result<(bool, bool), BrokerError> {
    let refused = |flag: &str| {
        let (queue, kind) = (queue.resource(), queue.kind);
        Err(BrokerError::DeleteFlag { queue, flag: Arc::from(flag), kind })
    };
    match queue.kind {
        QueueKind::Classic => Ok((if_unused, if_empty)),
        QueueKind::Quorum if if_unused => refused("if-unused"),
        QueueKind::Quorum if if_empty => refused("if-empty"),
        QueueKind::Quorum | QueueKind::Stream => Ok((false, false)),
    }
}
