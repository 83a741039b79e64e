//! One channel: which methods it takes in which state, and what it keeps between them. Each concern
//! has a file of its own; this one dispatches.
//!
//! ```text
//! Opening --ok--> Open --channel.close--> ClosedByClient --consumers cancelled, close-ok--> Gone
//!                  \----error, close-----> ClosedByServer --close-ok received-------------> Gone
//! ```

mod access;
mod acks;
mod answers;
mod close;
mod confirm;
mod confirms;
mod consume;
mod content;
mod deliver;
mod exchange_methods;
mod firehose;
pub(crate) mod held;
pub(crate) mod message;
mod publish;
mod qos;
mod queue_methods;
mod reply_to;
mod returns;
mod routes;
mod stream_offset;
mod transaction;
mod unacked;

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_codec::amqp::{AMQPClass, access as access_class, basic, channel, exchange, queue, tx};
use leveret_codec::{
    DecodeError, FRAME_END, Frame, FrameKind, Method, Splitter, decode_method, method_id,
    put_method,
};
use leveret_engine::{ChannelCredit, ChannelKey, ConsumerId, QueueId, Settlement};

use crate::broker::{Broker, Call};
use crate::connection::shared::{Context, Shared};
use crate::error::{ConnectionError, Fault};
use crate::info::{ChannelInfo, ConsumerInfo, MessageCounters};
use crate::tag_runs::Run;

pub(crate) use close::return_orphan;
pub(crate) use confirm::Confirms;
pub(crate) use consume::Consumer;
use content::Content;
use held::Held;
pub use publish::put::Put;
use reply_to::ReplyConsumer;
use routes::Routes;
use transaction::Transaction;
use unacked::{Delivered, Unacked};

/// The ids of basic.publish, which errors of its content name.
const BASIC_PUBLISH: (u16, u16) = (60, 40);

/// Whether the channel is open, and if not, who closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// channel.open is not answered yet.
    Opening,
    Open,
    /// close-ok is owed to the client.
    ClosedByClient,
    /// The client owes close-ok.
    ClosedByServer,
    /// The number is free.
    Gone,
}

/// What a channel does with publishes and acks.
#[derive(Debug)]
enum Mode {
    Plain,
    Confirm(Confirms),
    Tx(Box<Transaction>),
}

/// The call that holds back the frames behind it, and what its answer leads to.
#[derive(Debug)]
enum Waiting {
    Open,
    Applied(Option<Box<AMQPClass>>),
    DeclareQueue { nowait: bool },
    Passive { name: Arc<str>, nowait: bool },
    DeleteQueue { nowait: bool },
    Purge { nowait: bool },
    Consume { consumer: Box<Consumer>, nowait: bool },
    Cancel { tag: Arc<str>, nowait: bool },
    Get { queue: QueueId, no_ack: bool },
    Commit,
}

/// A channel of a connection.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) key: ChannelKey,
    state: State,
    /// The method that is being handled, for close methods; 0/0 is none.
    method: (u16, u16),
    content: Content,
    mode: Mode,
    routes: Routes,
    unacked: Unacked,
    next_delivery_tag: u64,
    consumers: BTreeMap<Arc<str>, ConsumerId>,
    prefetch: u16,
    credit: Option<Arc<ChannelCredit>>,
    /// Whether the shared credit may have room that no queue knows of.
    credit_changed: bool,
    last_queue: Option<Arc<str>>,
    reply: Option<ReplyConsumer>,
    waiting: Option<Waiting>,
    /// Consumers of a closed channel whose queues have not let them go.
    cancelling: u32,
    held: Held,
    held_bytes: usize,
    /// Whether the channel is in the connection's list of confirms to tell.
    dirty: bool,
    scratch_runs: Vec<Run<Delivered>>,
    counters: MessageCounters,
}

impl Channel {
    /// A channel that is being opened.
    pub(crate) fn new(key: ChannelKey, prefetch: u16) -> Self {
        Self {
            key,
            state: State::Opening,
            method: (0, 0),
            content: Content::Method,
            mode: Mode::Plain,
            routes: Routes::default(),
            unacked: Unacked::default(),
            next_delivery_tag: 1,
            consumers: BTreeMap::new(),
            prefetch,
            credit: None,
            credit_changed: false,
            last_queue: None,
            reply: None,
            waiting: None,
            cancelling: 0,
            held: Held::default(),
            held_bytes: 0,
            dirty: false,
            scratch_runs: Vec::new(),
            counters: MessageCounters::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The method that close methods name.
    pub(crate) fn method(&self) -> (u16, u16) {
        self.method
    }

    /// Whether the frames that arrive now must wait.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(crate) fn credit_has_changed(&self) -> bool {
        self.credit_changed
    }

    /// Asks the node to count the channel in.
    pub(crate) fn open<B: Broker>(&mut self, context: &mut Context<'_, B>) -> Result<(), Fault> {
        let user = context.shared.user_name.clone();
        self.ask(Call::OpenChannel { user }, Waiting::Open, context)
    }

    /// Keeps a frame that must wait.
    pub(crate) fn hold<B>(&mut self, frame: &Frame<'_>, context: &mut Context<'_, B>) {
        let cost = self.held.push(frame);
        self.held_bytes += cost;
        context.shared.held_bytes += cost;
    }

    /// Takes out the frames that were held.
    pub(crate) fn take_held(&mut self, shared: &mut Shared) -> Vec<u8> {
        shared.held_bytes -= std::mem::take(&mut self.held_bytes);
        self.held.take()
    }

    /// The client has confirmed the close: the number is free.
    pub(crate) fn confirmed_close(&mut self) {
        self.state = State::Gone;
    }

    /// What follows is no method's doing.
    pub(crate) fn forget_method(&mut self) {
        self.method = (0, 0);
    }

    /// Takes a frame of an open channel. `rest` is what follows it in the read buffer; returns how
    /// much of that was taken along.
    #[inline]
    pub(crate) fn frame<B: Broker>(
        &mut self,
        frame: &Frame<'_>,
        rest: &[u8],
        splitter: &Splitter,
        context: &mut Context<'_, B>,
    ) -> Result<usize, Fault> {
        if !matches!(self.content, Content::Method) {
            self.content_frame(frame, context)?;
            return Ok(0);
        }
        if frame.kind != FrameKind::METHOD {
            self.method = (0, 0);
            return Err(ConnectionError::ExpectedMethod.into());
        }
        match decode_method(frame.payload) {
            Ok(Method::Publish(publish)) => {
                self.method = BASIC_PUBLISH;
                self.publish(&publish, frame.payload, rest, splitter, context)
            }
            Ok(Method::Ack { delivery_tag, multiple }) => {
                self.method = (60, 80);
                self.settle(delivery_tag, multiple, Settlement::Ack, context).map(|()| 0)
            }
            Ok(Method::Nack { delivery_tag, multiple, requeue }) => {
                self.method = (60, 120);
                let how = if requeue { Settlement::Requeue } else { Settlement::Reject };
                self.settle(delivery_tag, multiple, how, context).map(|()| 0)
            }
            Ok(Method::Reject { delivery_tag, requeue }) => {
                self.method = (60, 90);
                let how =
                    if requeue { Settlement::RequeueFailed } else { Settlement::RejectFailed };
                self.settle(delivery_tag, false, how, context).map(|()| 0)
            }
            Ok(Method::Other(class)) => {
                self.method = method_id(frame.payload).unwrap_or((0, 0));
                self.dispatch(&class, frame.payload, context).map(|()| 0)
            }
            Err(error) => Err(self.undecodable(error, frame.payload)),
        }
    }

    #[cold]
    fn undecodable(&mut self, error: DecodeError, payload: &[u8]) -> Fault {
        let error = ConnectionError::decode(error, payload);
        self.method = error.method_of(payload);
        error.into()
    }

    fn dispatch<B: Broker>(
        &mut self,
        class: &AMQPClass,
        payload: &[u8],
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match class {
            AMQPClass::Basic(method) => self.basic(method, payload, context),
            AMQPClass::Queue(method) => self.queue(method, context),
            AMQPClass::Exchange(method) => self.exchange(method, context),
            AMQPClass::Channel(method) => self.channel(method, context),
            AMQPClass::Confirm(method) => self.confirm_class(method, context),
            AMQPClass::Tx(tx::AMQPMethod::Select(_)) => self.tx_select(context),
            AMQPClass::Tx(tx::AMQPMethod::Commit(_)) => self.tx_commit(context),
            AMQPClass::Tx(tx::AMQPMethod::Rollback(_)) => self.tx_rollback(context),
            AMQPClass::Access(access_class::AMQPMethod::Request(_)) => {
                self.access_ok(context);
                Ok(())
            }
            _ => Err(ConnectionError::UnimplementedMethod.into()),
        }
    }

    fn basic<B: Broker>(
        &mut self,
        method: &basic::AMQPMethod,
        payload: &[u8],
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match method {
            basic::AMQPMethod::Qos(method) => self.qos(method, payload, context),
            basic::AMQPMethod::Consume(method) => self.consume(method, context),
            basic::AMQPMethod::Cancel(method) => self.cancel(method, context),
            basic::AMQPMethod::Get(method) => self.get(method, context),
            basic::AMQPMethod::RecoverAsync(method) => self.recover(method.requeue, context),
            basic::AMQPMethod::Recover(method) => {
                self.recover(method.requeue, context)?;
                let ok = basic::AMQPMethod::RecoverOk(basic::RecoverOk {});
                self.reply(AMQPClass::Basic(ok), context);
                Ok(())
            }
            _ => Err(ConnectionError::UnimplementedMethod.into()),
        }
    }

    fn queue<B: Broker>(
        &mut self,
        method: &queue::AMQPMethod,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match method {
            queue::AMQPMethod::Declare(method) => self.queue_declare(method, context),
            queue::AMQPMethod::Bind(method) => self.queue_bind(method, context),
            queue::AMQPMethod::Unbind(method) => self.queue_unbind(method, context),
            queue::AMQPMethod::Purge(method) => self.queue_purge(method, context),
            queue::AMQPMethod::Delete(method) => self.queue_delete(method, context),
            _ => Err(ConnectionError::UnimplementedMethod.into()),
        }
    }

    fn exchange<B: Broker>(
        &mut self,
        method: &exchange::AMQPMethod,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match method {
            exchange::AMQPMethod::Declare(method) => self.exchange_declare(method, context),
            exchange::AMQPMethod::Delete(method) => self.exchange_delete(method, context),
            exchange::AMQPMethod::Bind(method) => self.exchange_bind(method, context),
            exchange::AMQPMethod::Unbind(method) => self.exchange_unbind(method, context),
            _ => Err(ConnectionError::UnimplementedMethod.into()),
        }
    }

    fn channel<B: Broker>(
        &mut self,
        method: &channel::AMQPMethod,
        context: &mut Context<'_, B>,
    ) -> Result<(), Fault> {
        match method {
            channel::AMQPMethod::Open(_) => Err(ConnectionError::ChannelOpenTwice.into()),
            channel::AMQPMethod::Close(_) => {
                self.close_by_client(context);
                Ok(())
            }
            channel::AMQPMethod::Flow(flow) if flow.active => {
                let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
                self.reply(AMQPClass::Channel(ok), context);
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(ConnectionError::FlowOff.into()),
            _ => Err(ConnectionError::UnimplementedMethod.into()),
        }
    }

    /// access.request-ok with ticket 1, which the catalogue cannot write.
    // rabbitmq: access.request
    fn access_ok<B>(&self, context: &mut Context<'_, B>) {
        let [high, low] = self.key.number.to_be_bytes();
        let kind = FrameKind::METHOD.0;
        let frame = [kind, high, low, 0, 0, 0, 6, 0, 30, 0, 11, 0, 1, FRAME_END];
        context.out.buf().extend_from_slice(&frame);
    }

    pub(crate) fn reply<B>(&self, method: AMQPClass, context: &mut Context<'_, B>) {
        put_method(context.out.buf(), self.key.number, &method);
    }

    fn reply_unless<B>(&self, nowait: bool, method: AMQPClass, context: &mut Context<'_, B>) {
        if !nowait {
            self.reply(method, context);
        }
    }

    /// What management shows.
    pub(crate) fn info<'a>(
        &self,
        consumers: impl Fn(ConsumerId) -> Option<&'a Consumer>,
    ) -> ChannelInfo {
        let (uncommitted, uncommitted_acks) = match &self.mode {
            Mode::Tx(transaction) => transaction.uncommitted(),
            _ => (0, 0),
        };
        let unconfirmed = match &self.mode {
            Mode::Confirm(confirms) => confirms.outstanding(),
            _ => 0,
        };
        ChannelInfo {
            key: self.key,
            consumers: self
                .consumers
                .values()
                .filter_map(|id| consumers(*id))
                .map(consumer_info)
                .collect(),
            unacked: self.unacked.len(),
            unconfirmed,
            uncommitted,
            uncommitted_acks,
            prefetch: self.prefetch,
            global_prefetch: self.credit.as_ref().map_or(0, |credit| credit.limit()),
            confirm: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Tx(_)),
            waiting: self.is_waiting(),
            counters: self.counters,
        }
    }

    /// Counts for the channel and its connection.
    #[inline]
    fn count(&mut self, shared: &mut Shared, add: impl Fn(&mut MessageCounters)) {
        add(&mut self.counters);
        add(&mut shared.counters.messages);
    }
}

fn consumer_info(consumer: &Consumer) -> ConsumerInfo {
    ConsumerInfo {
        id: consumer.id,
        tag: consumer.tag.clone(),
        queue: consumer.queue,
        queue_name: consumer.queue_name.clone(),
        no_ack: consumer.no_ack,
        exclusive: consumer.exclusive,
        prefetch: consumer.prefetch,
        arguments: consumer.arguments.clone(),
    }
}
