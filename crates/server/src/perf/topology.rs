//! The queues, exchange and bindings of a run: declared before it, deleted after it. What existed
//! before is kept.

use leveret_codec::amqp::{AMQPClass, exchange, queue};
use leveret_codec::amqp_types::{AMQPValue, FieldTable};

use super::client::Client;
use super::error::PerfError;
use super::options::{ArgValue, Plan};
use super::uri::Uri;

/// The connection's name.
const CONTROL: &str = "leveret perf control";
const CHANNEL: u16 = 1;
/// Bytes that the connection reads at once.
const BUFFER: usize = 8 * 1024;
const NOT_FOUND: u16 = 404;

/// What a run declared, to be deleted.
pub(super) struct Topology {
    uri: Uri,
    control: Client,
    queues: Vec<String>,
    exchange: Option<String>,
    /// What a person should know before reading figures.
    pub(super) notes: Vec<String>,
}

impl Topology {
    /// Declares and binds on a connection of its own.
    pub(super) fn declare(plan: &Plan) -> Result<Self, PerfError> {
        let mut control = Client::connect(&plan.uri, CONTROL, 0, BUFFER)?;
        control.open_channel(CHANNEL)?;
        let uri = plan.uri.clone();
        let mut topology =
            Self { uri, control, queues: Vec::new(), exchange: None, notes: Vec::new() };
        if plan.producers > 0 || plan.consumers > 0 {
            // What is declared already goes when the rest fails.
            if let Err(error) = topology.declare_all(plan) {
                let _ = topology.reopen();
                let _ = topology.delete();
                return Err(error);
            }
        }
        Ok(topology)
    }

    /// Product and version, as the broker calls itself.
    pub(super) fn broker(&self) -> &str {
        &self.control.broker
    }

    fn declare_all(&mut self, plan: &Plan) -> Result<(), PerfError> {
        if !plan.exchange.is_empty() {
            self.declare_exchange(plan)?;
        }
        for name in &plan.queues {
            self.declare_queue(plan, name)?;
            if !plan.exchange.is_empty() {
                self.bind(plan, name)?;
            }
        }
        Ok(())
    }

    fn declare_exchange(&mut self, plan: &Plan) -> Result<(), PerfError> {
        let declare = |passive, kind: &str| {
            AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
                exchange: plan.exchange.as_str().into(),
                kind: kind.into(),
                passive,
                durable: plan.durable,
                auto_delete: false,
                internal: false,
                nowait: false,
                arguments: FieldTable::default(),
            }))
        };
        let found =
            self.exchange_call(&declare(true, plan.exchange_type.as_deref().unwrap_or("direct")));
        match (found, &plan.exchange_type) {
            (Err(PerfError::ChannelClosed { code: NOT_FOUND, .. }), Some(kind)) => {
                self.reopen()?;
                self.exchange_call(&declare(false, kind))?;
                self.exchange = Some(plan.exchange.clone());
                Ok(())
            }
            (found, _) => found,
        }
    }

    fn exchange_call(&mut self, declare: &AMQPClass) -> Result<(), PerfError> {
        self.control.call(CHANNEL, declare, "exchange.declare", |method| {
            matches!(method, AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_))).then_some(())
        })
    }

    fn declare_queue(&mut self, plan: &Plan, name: &str) -> Result<(), PerfError> {
        let declare = |passive| {
            AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
                queue: name.into(),
                passive,
                durable: plan.durable,
                exclusive: false,
                auto_delete: false,
                nowait: false,
                arguments: arguments(&plan.queue_args),
            }))
        };
        match self.queue_call(&declare(true)) {
            Ok(ready) => {
                self.notes.push(format!(
                    "queue {name} exists already and holds {ready} messages: it is used as it is, \
                     and kept"
                ));
                Ok(())
            }
            Err(PerfError::ChannelClosed { code: NOT_FOUND, .. }) => {
                self.reopen()?;
                self.queue_call(&declare(false))?;
                self.queues.push(name.to_owned());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The number of ready messages.
    fn queue_call(&mut self, declare: &AMQPClass) -> Result<u32, PerfError> {
        self.control.call(CHANNEL, declare, "queue.declare", |method| match method {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Some(ok.message_count),
            _ => None,
        })
    }

    fn bind(&mut self, plan: &Plan, name: &str) -> Result<(), PerfError> {
        let bind = AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: name.into(),
            exchange: plan.exchange.as_str().into(),
            routing_key: plan.routing_key_of(name).into(),
            nowait: false,
            arguments: FieldTable::default(),
        }));
        self.control.call(CHANNEL, &bind, "queue.bind", |method| {
            matches!(method, AMQPClass::Queue(queue::AMQPMethod::BindOk(_))).then_some(())
        })
    }

    /// After the broker closed the channel.
    fn reopen(&mut self) -> Result<(), PerfError> {
        self.control.open_channel(CHANNEL)
    }

    /// Deletes what the run declared. A connection that broke during the run is replaced once.
    pub(super) fn delete(mut self) -> Result<(), PerfError> {
        if self.delete_all().is_err() {
            self.control = Client::connect(&self.uri, CONTROL, 0, BUFFER)?;
            self.control.open_channel(CHANNEL)?;
            self.delete_all()?;
        }
        self.control.close()
    }

    fn delete_all(&mut self) -> Result<(), PerfError> {
        while let Some(name) = self.queues.last() {
            let delete = AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
                queue: name.as_str().into(),
                if_unused: false,
                if_empty: false,
                nowait: false,
            }));
            self.control.call(CHANNEL, &delete, "queue.delete", |method| {
                matches!(method, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_))).then_some(())
            })?;
            self.queues.pop();
        }
        if let Some(name) = &self.exchange {
            let delete = AMQPClass::Exchange(exchange::AMQPMethod::Delete(exchange::Delete {
                exchange: name.as_str().into(),
                if_unused: false,
                nowait: false,
            }));
            self.control.call(CHANNEL, &delete, "exchange.delete", |method| {
                matches!(method, AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(_)))
                    .then_some(())
            })?;
            self.exchange = None;
        }
        Ok(())
    }
}

fn arguments(args: &[(String, ArgValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in args {
        let value = match value {
            ArgValue::Bool(value) => AMQPValue::Boolean(*value),
            ArgValue::Int(value) => AMQPValue::LongLongInt(*value),
            ArgValue::Text(value) => AMQPValue::LongString(value.as_str().into()),
        };
        table.insert(key.as_str().into(), value);
    }
    table
}
