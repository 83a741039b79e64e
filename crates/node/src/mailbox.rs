//! How the rest of the node reaches a connection: a mailbox of events and of queues that have something
//! for one of its consumers. Only the task that owns the connection empties it.
//!
//! *Invariant (no lost wake-up):* what is posted and the waker are under one lock. [`Mailbox::drain`] either
//! hands out what is there or leaves the waker behind; whoever posts next takes that waker and wakes it.

use std::sync::Arc;
use std::task::Waker;

use leveret_engine::{ChannelKey, ConsumerId};
use leveret_protocol::Event;
use parking_lot::Mutex;

use crate::queues::QueueCell;
use crate::remote::Consumer;

/// Something for a consumer of this connection.
pub(crate) struct Ready {
    pub(crate) source: Source,
    pub(crate) consumer: ConsumerId,
}

/// Where it is.
pub(crate) enum Source {
    /// A queue has assigned messages to the consumer.
    Queue(Arc<QueueCell>),
    /// Another node has sent messages for it.
    Far(Arc<Consumer>),
}

/// A `basic.get` whose queue was reading from disk, to be tried again.
pub(crate) struct Retry {
    pub(crate) queue: Arc<QueueCell>,
    pub(crate) channel: ChannelKey,
    pub(crate) no_ack: bool,
}

#[derive(Default)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    ready: Vec<Ready>,
    retries: Vec<Retry>,
    rested: bool,
    waker: Option<Waker>,
}

/// What a connection finds in its mailbox.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) events: Vec<Event>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) retries: Vec<Retry>,
    /// Whether what the client was not read for is over.
    pub(crate) rested: bool,
}

impl Mailbox {
    /// Leaves an event for the connection.
    pub(crate) fn post(&self, event: Event) {
        self.leave(|inner| inner.events.push(event));
    }

    /// Tells the connection that there is something for one of its consumers.
    pub(crate) fn ready(&self, ready: Ready) {
        self.leave(|inner| inner.ready.push(ready));
    }

    /// Tells the connection that the disk has caught up with what it published.
    pub(crate) fn end_rest(&self) {
        self.leave(|inner| inner.rested = true);
    }

    /// Tells the connection that a `basic.get` is worth another try.
    pub(crate) fn retry(&self, retry: Retry) {
        self.leave(|inner| inner.retries.push(retry));
    }

    fn leave(&self, put: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.inner.lock();
            put(&mut inner);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves everything out, and leaves `waker` for the next arrival.
    pub(crate) fn drain(&self, mail: &mut Mail, waker: &Waker) {
        let mut inner = self.inner.lock();
        match &inner.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => inner.waker = Some(waker.clone()),
        }
        mail.events.append(&mut inner.events);
        mail.ready.append(&mut inner.ready);
        mail.retries.append(&mut inner.retries);
        mail.rested |= std::mem::take(&mut inner.rested);
    }
}
