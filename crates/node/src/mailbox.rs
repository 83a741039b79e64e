//! How the rest of the node reaches a connection: a mailbox of events and of queues that have something
//! for one of its consumers. Only the task that owns the connection empties it.
//!
//! *Invariant (no lost wake-up):* what is posted and the waker are under one lock. [`Mailbox::drain`] either
//! hands out what is there or leaves the waker behind; whoever posts next takes that waker and wakes it.

use std::sync::Arc;
use std::task::Waker;

use leveret_engine::ConsumerId;
use leveret_protocol::Event;
use parking_lot::Mutex;

use crate::queues::QueueCell;

/// A queue that has assigned messages to a consumer of this connection.
pub(crate) struct Ready {
    pub(crate) queue: Arc<QueueCell>,
    pub(crate) consumer: ConsumerId,
}

#[derive(Default)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    ready: Vec<Ready>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Leaves an event for the connection.
    pub(crate) fn post(&self, event: Event) {
        self.leave(|inner| inner.events.push(event));
    }

    /// Tells the connection that `queue` has something for `consumer`.
    pub(crate) fn ready(&self, queue: &Arc<QueueCell>, consumer: ConsumerId) {
        self.leave(|inner| inner.ready.push(Ready { queue: Arc::clone(queue), consumer }));
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

    /// Moves everything out, and leaves `waker` for the next arrival. Returns whether there was anything.
    pub(crate) fn drain(
        &self,
        events: &mut Vec<Event>,
        ready: &mut Vec<Ready>,
        waker: &Waker,
    ) -> bool {
        let mut inner = self.inner.lock();
        match &inner.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => inner.waker = Some(waker.clone()),
        }
        let any = !inner.events.is_empty() || !inner.ready.is_empty();
        events.append(&mut inner.events);
        ready.append(&mut inner.ready);
        any
    }
}
