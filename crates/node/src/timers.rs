//! Deadlines of queues (message TTL at the head, `x-expires`): a heap, and one waker for whoever watches it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use leveret_engine::{QueueId, Timestamp};
use parking_lot::Mutex;

use crate::queues::QueueCell;

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
    /// Makes sure that `cell` is looked at by `deadline`. An earlier look that is already due stays: a look too many is
    /// harmless, and a deadline that moves later (the usual case) costs nothing here.
    pub(crate) fn arm(&self, cell: &Arc<QueueCell>, deadline: Option<Timestamp>) {
        let Some(Timestamp(at)) = deadline else { return };
        if cell.armed.load(Ordering::Relaxed) <= at {
            return;
        }
        let waker = {
            let mut inner = self.inner.lock();
            cell.armed.store(at, Ordering::Relaxed);
            let earliest = inner.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
            inner.heap.push(Reverse((at, cell.id)));
            if earliest { inner.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// When the next queue is to be looked at. `waker` is woken when that moves earlier.
    pub(crate) fn next(&self, waker: &Waker) -> Option<Timestamp> {
        let mut inner = self.inner.lock();
        inner.waker = Some(waker.clone());
        inner.heap.peek().map(|Reverse((at, _))| Timestamp(*at))
    }

    /// The queues whose time has come.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<QueueId> {
        let mut inner = self.inner.lock();
        let mut due = Vec::new();
        while let Some(Reverse((at, id))) = inner.heap.peek().copied() {
            if at > now.0 {
                break;
            }
            inner.heap.pop();
            due.push(id);
        }
        due
    }
}
