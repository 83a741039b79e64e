//! Deadlines of queues (message TTL at the head, `x-expires`, messages that wait for their time): a heap, and one
//! waker for whoever watches it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use leveret_engine::{QueueId, Timestamp};
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Timers {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    heap: BinaryHeap<Reverse<(u64, QueueId)>>,
    waker: Option<Waker>,
}

impl Timers {
    /// Makes sure that `who` is looked at by `deadline`; `armed` is the earliest look that is due. One that is too early
    /// stays: a look too many is harmless, and a deadline that moves later (the usual case) costs nothing here.
    #[inline]
    pub(crate) fn arm(&self, who: QueueId, armed: &AtomicU64, deadline: Option<Timestamp>) {
        let Some(Timestamp(at)) = deadline else { return };
        if armed.load(Ordering::Relaxed) <= at {
            return;
        }
        let waker = {
            let mut inner = self.inner.lock();
            armed.store(at, Ordering::Relaxed);
            let earliest = inner.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
            inner.heap.push(Reverse((at, who)));
            if earliest { inner.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// When the next is to be looked at. `waker` is woken when that moves earlier.
    pub(crate) fn next(&self, waker: &Waker) -> Option<Timestamp> {
        let mut inner = self.inner.lock();
        inner.waker = Some(waker.clone());
        inner.heap.peek().map(|Reverse((at, _))| Timestamp(*at))
    }

    /// Those whose time has come.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<QueueId> {
        let mut inner = self.inner.lock();
        let mut due = Vec::new();
        while let Some(Reverse((at, who))) = inner.heap.peek().copied() {
            if at > now.0 {
                break;
            }
            inner.heap.pop();
            due.push(who);
        }
        due
    }
}
