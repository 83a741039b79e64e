//! A copy that does not lead: it holds what the ops made of it and does nothing by itself. No consumer is served, nothing
//! expires, no limit is enforced, no op is emitted; [`Queue::apply`] is the one way in which it changes.

use super::level::Level;
use super::ops::{Log, OpIndex, Shown};
use super::{Effects, Queue};
use crate::queue::stats::Amount;
use crate::time::Timestamp;

impl Queue {
    /// Whether this copy leads: it takes publishes, serves consumers and emits ops. A queue with one copy always does.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Stops leading. What consumers have is ready again, and they are served no more until they are taken elsewhere;
    /// publishers that still wait for an answer are told no: what they published may be there or not.
    pub fn stand_down(&mut self, fx: &mut Effects) {
        self.leads = false;
        self.may_deliver = false;
        self.take_all_back();
        if let Some(log) = &mut self.log {
            log.refuse_all(fx);
        }
        let again = !self.is_stream();
        let ready = self.levels.iter_mut().map(|level| level.all_back(again));
        self.ready = ready.fold(Amount::default(), |sum, part| sum + part);
        (self.unacked, self.in_flight) = (Amount::default(), Amount::default());
        self.find_held();
    }

    /// Holds nothing any more, and does not lead. Its consumers stay until they are taken elsewhere.
    pub fn begin_again(&mut self, log: Log, now: Timestamp, fx: &mut Effects) {
        let (vhost, name) = (self.vhost.clone(), self.name.clone());
        let empty = Self::new(self.id, vhost, name, self.settings.clone(), now);
        let before = std::mem::replace(self, empty);
        (self.consumers, self.stats) = (before.consumers, before.stats);
        self.last_used = before.last_used;
        self.set_log(log, now, fx);
        self.stand_down(fx);
    }

    /// Begins to lead, with the op after `last` as its next one. All that is here is taken for delivered before. Nothing is
    /// delivered until [`Queue::may_deliver`] says so.
    pub fn lead(&mut self, last: OpIndex, now: Timestamp, fx: &mut Effects) {
        self.skip_op(last);
        if self.leads {
            return;
        }
        self.leads = true;
        if !self.is_stream() {
            self.levels.iter_mut().for_each(Level::mark_all_redelivered);
        }
        self.last_used = now;
        self.truncate(now, fx);
        self.drop_excess(fx);
    }

    /// Takes back what consumers have assigned and did not take yet: it must not be delivered any more.
    pub fn take_all_back(&mut self) {
        let Some(mut consumers) = self.consumers.take() else { return };
        let ids: Vec<_> = consumers.iter().map(|(consumer, _)| consumer.spec.id).collect();
        for key in ids.into_iter().filter_map(|id| consumers.key(id)).collect::<Vec<_>>() {
            self.take_back(&mut consumers, key);
            consumers.admit(key);
        }
        self.keep_consumers(consumers);
    }

    /// Whether there are other copies: they have to know a message before it is delivered, and a chunk that is written stays
    /// as it is, since it may be on its way to one of them.
    pub fn set_copied(&mut self, copied: bool, now: Timestamp, fx: &mut Effects) {
        self.copied = copied;
        let shown = if copied || self.is_stream() { Shown::WhenVisible } else { Shown::AtOnce };
        let Some(log) = &mut self.log else { return };
        log.set_shown(shown);
        if shown == Shown::AtOnce {
            self.visible(OpIndex(u64::MAX), now, fx);
        }
    }

    /// No message that an op before this one published is here; 0 if that is not known.
    #[must_use]
    pub fn oldest_op(&self) -> OpIndex {
        let oldest = self.levels.iter().filter_map(Level::oldest_op).min();
        OpIndex(oldest.unwrap_or_else(|| self.last_op().unwrap_or_default().0 + 1))
    }
}
