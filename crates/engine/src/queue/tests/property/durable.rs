//! The harness's part with a disk: batches, checkpoints, paging, crashes.

use super::{Harness, Mode, Step};
use crate::ids::ConsumerId;
use crate::queue::Queue;
use crate::queue::credit::ChannelCredit;
use crate::queue::effects::{Budget, Delivery, Effects};
use crate::queue::ops::{Keep, OpIndex, Returns};
use crate::queue::tests::disk::{Disk, contents, load_all};
use crate::queue::tests::model::{Message, Model, State};
use crate::settings::QueueSettings;
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Numbers of messages as the disk was told of them.
#[derive(Debug, Default)]
pub(super) struct Told {
    live: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

fn is_live(message: &Message) -> bool {
    matches!(message.state, State::Ready | State::Assigned(_) | State::Taken(_))
}

impl Harness {
    /// Whether a message survives a restart.
    pub(super) fn lasts(&self, id: u64) -> bool {
        self.keep == Keep::All || id.is_multiple_of(2)
    }

    fn lasting(&self) -> impl Iterator<Item = &Message> {
        let live = self.model.messages.iter().filter(|message| is_live(message));
        live.filter(|message| self.lasts(message.id))
    }

    pub(super) fn answer_loads(&mut self) {
        if self.mode == Mode::Durable {
            // What comes back may turn out to have expired, so both drop what has.
            let now = Timestamp(self.now);
            self.disk.answer_loads(&mut self.queue, now, &mut self.fx);
            self.queue.tick(now, &mut self.fx);
            self.disk.answer_loads(&mut self.queue, now, &mut self.fx);
            self.model.expire(self.now);
        }
    }

    /// Takes as if all were in memory: what is loaded in the meantime is taken as well.
    pub(super) fn take_with_loads(&mut self, id: u64, budget: Budget) -> (Vec<Delivery>, bool) {
        let (mut all, mut left) = (Vec::new(), budget);
        loop {
            let mut out = Vec::new();
            let now = Timestamp(self.now);
            let more = self.queue.take(ConsumerId(id), left, now, &mut out, &mut self.fx);
            for delivery in &out {
                let records = delivery.first..delivery.first + delivery.n;
                left.records -= delivery.n;
                let bytes = delivery.block.body_bytes(records);
                left.bytes = left.bytes.saturating_sub(bytes as u32);
            }
            all.append(&mut out);
            self.disk.answer_loads(&mut self.queue, now, &mut self.fx);
            let woken = self.fx.wake.iter().position(|(_, consumer)| consumer.0 == id);
            if let Some(at) = woken.filter(|_| !more) {
                self.fx.wake.remove(at);
                if left.records > 0 && left.bytes > 0 {
                    continue;
                }
                return (all, true);
            }
            return (all, more);
        }
    }

    pub(super) fn disk_step(&mut self, step: &Step) {
        match step {
            Step::Seal => self.seal(),
            Step::Checkpoint(ago) => {
                let last = self.queue.last_op().unwrap_or_default();
                self.disk.emitted(&mut self.fx.ops);
                let checkpoint = self.queue.checkpoint(OpIndex(last.0.saturating_sub(*ago)));
                self.disk.checkpoint(checkpoint);
            }
            Step::PageOut(bytes) => {
                if let Some(checkpoint) = self.queue.page_out(*bytes).checkpoint {
                    self.disk.checkpoint(checkpoint);
                }
            }
            Step::Crash { written } => self.crash(*written),
            _ => {}
        }
    }

    fn seal(&mut self) {
        let (numbers, gcn) = self.disk.seal();
        for number in numbers {
            self.queue.checkpoint_stored(number, gcn);
        }
        self.told.live = self.lasting().map(|message| message.id).collect();
        let done = self.model.messages.iter().filter(|message| !is_live(message));
        self.told.done.extend(done.map(|message| message.id));
    }

    /// What would come back is what has to.
    pub(super) fn check_disk(&mut self) {
        let (_, ids) = self.look(&self.disk);
        let now: BTreeSet<u64> = self.lasting().map(|message| message.id).collect();
        let back: BTreeSet<u64> = ids.iter().copied().collect();
        assert!(back.is_superset(&(&self.told.live & &now)), "lost");
        assert!(back.is_disjoint(&self.told.done), "come back to life");
        assert!(back.iter().all(|id| self.lasts(*id)));
        let mut disk = self.disk.clone();
        disk.seal();
        let (queue, ids) = self.look(&disk);
        let mut expected: Vec<_> = self.lasting().collect();
        expected.sort_by_key(|message| std::cmp::Reverse(message.level));
        assert_eq!(ids, expected.iter().map(|message| message.id).collect::<Vec<_>>());
        let positions: BTreeSet<_> = contents(&queue).iter().map(|(seq, ..)| *seq).collect();
        let counts = self.queue.delivery_counts().filter(|(seq, _)| positions.contains(seq));
        assert_eq!(queue.delivery_counts().collect::<Vec<_>>(), counts.collect::<Vec<_>>());
    }

    /// The queue that a disk makes, all of it in memory, and the numbers of its messages.
    fn look(&self, disk: &Disk) -> (Queue, Vec<u64>) {
        let (mut fx, now) = (Effects::default(), Timestamp(0));
        let mut queue = disk.recover(QueueSettings::default(), self.keep, now, &mut fx);
        let before = queue.counts();
        load_all(&mut queue, disk, now, &mut fx);
        let found = contents(&queue);
        assert!(fx.ops.is_empty() && before.ready == found.len() as u64);
        for (_, id, expires) in &found {
            let message = self.model.messages.iter().find(|message| message.id == *id);
            if let Some(message) = message.filter(|message| is_live(message)) {
                assert_eq!(expires.map(|at| at.0), message.expires);
            }
        }
        let live = |id: &u64| self.model.messages.iter().find(|message| message.id == *id);
        let ids: Vec<u64> = found.iter().map(|(_, id, _)| *id).collect();
        let bytes: u64 = ids.iter().filter_map(live).map(|message| message.bytes).sum();
        assert_eq!(queue.counts().ready_bytes, bytes);
        (queue, ids)
    }

    fn crash(&mut self, written: bool) {
        self.disk.emitted(&mut self.fx.ops);
        if written {
            self.seal();
        } else {
            self.disk.crash();
        }
        let (mirror, ids) = self.look(&self.disk);
        self.mirror = mirror;
        self.forget_all_but(&ids);
        self.fx.clear();
        let settings = self.model.settings.clone();
        self.queue = self.disk.recover(settings, self.keep, Timestamp(self.now), &mut self.fx);
        self.model.drop_excess();
        self.model.expire(self.now);
        self.answer_loads();
    }

    /// The model after a restart that brought these messages back.
    fn forget_all_but(&mut self, ids: &[u64]) {
        let before = std::mem::take(&mut self.model);
        let limit = before.credit_limit;
        self.model = Model::new(before.settings, limit);
        let back = before.messages.into_iter().filter(|message| ids.contains(&message.id));
        self.model.messages = back
            .map(|message| Message {
                redelivered: true,
                failed: false,
                returns: self.mirror_returns(message.id),
                op: 0,
                state: State::Ready,
                ..message
            })
            .collect();
        self.n_recovered = ids.len() as u64;
        self.credit = Arc::new(ChannelCredit::new(limit));
        self.awake.clear();
        self.taken.clear();
        (self.unanswered, self.n_deaths, self.n_refused) = (0, 0, 0);
        self.told.live = ids.iter().copied().collect();
        assert_eq!(self.mode, Mode::Durable);
    }

    fn mirror_returns(&self, id: u64) -> Returns {
        let seq = contents(&self.mirror).into_iter().find(|(_, number, _)| *number == id);
        let counts = self.mirror.delivery_counts();
        let mut own = counts.filter(|(at, _)| seq.is_some_and(|(seq, ..)| seq == *at));
        own.next().map(|(_, returns)| returns).unwrap_or_default()
    }
}
