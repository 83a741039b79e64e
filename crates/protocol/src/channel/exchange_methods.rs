//! exchange.declare, delete, bind and unbind, and the bindings of queues: checks in RabbitMQ's
//! order, then one command.

use std::sync::Arc;

use leveret_codec::Table;
use leveret_codec::amqp::{AMQPClass, exchange};
use leveret_engine::{
    BindingSpec, BrokerError, Command, Destination, Examined, ExchangeDeclare, Permission,
    ResourceName, names,
};

use crate::broker::{Broker, Call};
use crate::channel::{Channel, Waiting};
use crate::connection::shared::Context;
use crate::error::Fault;

/// Which way a binding method goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    Add,
    Remove,
}

fn done(method: exchange::AMQPMethod) -> AMQPClass {
    AMQPClass::Exchange(method)
}

impl Channel {
    // rabbitmq: exchange.declare
    pub(crate) fn exchange_declare<B: Broker>(
        &mut self,
        method: &exchange::Declare,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let name = names::strip(method.exchange.as_str()).into_owned();
        let reply = done(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}));
        if method.passive {
            self.check_exchange_exists(&name, context)?;
            self.reply_unless(method.nowait, reply, context);
            return Ok(());
        }
        let arguments = Table::from(method.arguments.clone());
        let declare = ExchangeDeclare {
            vhost: context.shared.vhost.clone(),
            name: Arc::from(&*name),
            kind: Arc::from(method.kind.as_str()),
            durable: method.durable,
            auto_delete: method.auto_delete,
            internal: method.internal,
            arguments,
            user: context.shared.user_name.clone(),
        };
        let examined = {
            let topology = context.broker.topology();
            let user = context.access(&topology).user()?;
            topology.authorise_exchange_declare(user, &declare)?
        };
        if let Examined::Existing(_) = examined {
            self.reply_unless(method.nowait, reply, context);
            return Ok(());
        }
        self.command(Command::DeclareExchange(declare), method.nowait, reply, context)
    }

    fn check_exchange_exists<B: Broker>(
        &self,
        name: &str,
        context: &Context<'_, B>,
    ) -> Result<(), BrokerError> {
        not_default(name)?;
        let topology = context.broker.topology();
        let access = context.access(&topology);
        let missing = || BrokerError::NotFound(ResourceName::exchange(access.vhost(), name));
        access.find_exchange(name).map(drop).ok_or_else(missing)
    }

    // rabbitmq: exchange.delete
    pub(crate) fn exchange_delete<B: Broker>(
        &mut self,
        method: &exchange::Delete,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let name = names::strip(method.exchange.as_str()).into_owned();
        not_default(&name)?;
        if names::is_reserved(&name) {
            let exchange = ResourceName::exchange(&context.shared.vhost, &*name);
            return Err(BrokerError::SystemExchange(exchange).into());
        }
        context.access(&context.broker.topology()).exchange(Permission::Configure, &name)?;
        let command = Command::DeleteExchange {
            vhost: context.shared.vhost.clone(),
            name: Arc::from(name),
            if_unused: method.if_unused,
        };
        let reply = done(exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}));
        self.command(command, method.nowait, reply, context)
    }

    pub(crate) fn exchange_bind<B: Broker>(
        &mut self,
        method: &exchange::Bind,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let spec = BindingSpec {
            vhost: context.shared.vhost.clone(),
            source: stripped(method.source.as_str()),
            destination: Destination::Exchange(stripped(method.destination.as_str())),
            key: Arc::from(method.routing_key.as_str().as_bytes()),
            arguments: Table::from(method.arguments.clone()),
        };
        let reply = done(exchange::AMQPMethod::BindOk(exchange::BindOk {}));
        self.bind(spec, Binding::Add, method.nowait, reply, context)
    }

    pub(crate) fn exchange_unbind<B: Broker>(
        &mut self,
        method: &exchange::Unbind,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let spec = BindingSpec {
            vhost: context.shared.vhost.clone(),
            source: stripped(method.source.as_str()),
            destination: Destination::Exchange(stripped(method.destination.as_str())),
            key: Arc::from(method.routing_key.as_str().as_bytes()),
            arguments: Table::from(method.arguments.clone()),
        };
        let reply = done(exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}));
        self.bind(spec, Binding::Remove, method.nowait, reply, context)
    }

    /// The checks that all four binding methods share, then the command.
    // rabbitmq: bind and unbind
    pub(super) fn bind<B: Broker>(
        &mut self,
        spec: BindingSpec,
        way: Binding,
        nowait: bool,
        reply: AMQPClass,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        if self.check_binding(&spec, way, context)? {
            self.reply_unless(nowait, reply, context);
            return Ok(());
        }
        let command = match way {
            Binding::Add => Command::Bind(spec),
            Binding::Remove => Command::Unbind(spec),
        };
        self.command(command, nowait, reply, context)
    }

    /// True if a binding that is wanted exists already.
    fn check_binding<B: Broker>(
        &self,
        spec: &BindingSpec,
        way: Binding,
        context: &Context<'_, B>,
    ) -> Result<bool, BrokerError> {
        let topology = context.broker.topology();
        let access = context.access(&topology);
        topology.authorise_bind(access.user()?, spec)?;
        let exists = match way {
            Binding::Add => topology.examine_bind(spec)?,
            Binding::Remove => false,
        };
        // What is not bound is no matter of the queue's owner.
        if way == Binding::Remove && !topology.is_bound(spec) {
            return Ok(false);
        }
        if let Destination::Queue(name) = &spec.destination
            && let Some(queue) = access.find_queue(name)
        {
            queue.check_owner(context.shared.id)?;
        }
        Ok(exists)
    }

    /// Proposes a command; `reply` is sent when it is applied.
    pub(super) fn command<B: Broker>(
        &mut self,
        command: Command,
        nowait: bool,
        reply: AMQPClass,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        let reply = (!nowait).then(|| Box::new(reply));
        self.ask(Call::Command(command), Waiting::Applied(reply), context)
    }
}

fn stripped(name: &str) -> Arc<str> {
    Arc::from(names::strip(name))
}

fn not_default(name: &str) -> Result<(), BrokerError> {
    if name.is_empty() { Err(BrokerError::DefaultExchange) } else { Ok(()) }
}
