//! Time in a queue: messages that expire at the head of their priority, and a queue that expires
//! because nobody uses it.

use super::level::{Level, Piece};
use super::{DeleteCause, DropReason, Effects, Queue};
use crate::time::Timestamp;
use std::ops::Range;

/// How many records from the start of a piece, at most `n`, fulfil a condition on their expiry.
/// One without expiry is taken to expire at the end of time.
pub(super) fn run(piece: &Piece<'_>, n: u32, condition: impl Fn(Timestamp) -> bool) -> u32 {
    let records = piece.first..piece.first + n.min(piece.n);
    let met =
        |record: &u32| condition(piece.block.expires_at(*record).unwrap_or(Timestamp(u64::MAX)));
    records.take_while(met).count() as u32
}

impl Queue {
    /// Drops what has expired at the head, which is that of the highest priority that has anything
    /// ready. A message behind one that lives longer stays, whatever its priority.
    // rabbitmq: ttl, per-message
    pub(super) fn expire(&mut self, now: Timestamp, fx: &mut Effects) {
        if !self.may_deliver || self.is_stream() {
            return;
        }
        while let Some(at) = self.head_level()
            && let Some(range) = self.expired_head(at, now, fx)
        {
            self.discard(at, range, DropReason::Expired, fx);
        }
    }

    /// What has expired at the head of a level, as far as it lies in one block.
    fn expired_head(&mut self, at: usize, now: Timestamp, fx: &mut Effects) -> Option<Range<u64>> {
        let level = self.levels.get(at).filter(|level| level.any_expires())?;
        let head = level.ready_head()?;
        let Some(piece) = level.piece(head.clone()) else {
            if level.slot(head.start)?.away_expiry().is_some_and(|expires| expires <= now) {
                self.load_from(at, head.start, fx);
            }
            return None;
        };
        if !piece.block.any_expires() {
            return None;
        }
        let n = run(&piece, piece.n, |expires| expires <= now);
        (n > 0).then_some(piece.start..piece.start + u64::from(n))
    }

    /// Does what is due: expired messages leave, an unused queue asks to be deleted.
    pub fn tick(&mut self, now: Timestamp, fx: &mut Effects) {
        if !self.leads {
            return;
        }
        self.truncate(now, fx);
        self.release_due(now, fx);
        self.expire(now, fx);
        if self.unused_until().is_some_and(|until| now >= until) {
            fx.delete = Some(DeleteCause::Expired);
        }
    }

    /// When [`Self::tick`] has something to do next, as far as is known now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if !self.leads {
            return None;
        }
        if self.is_stream() {
            return self.truncation_due();
        }
        let head = if self.may_deliver { self.head_expiry() } else { None };
        head.into_iter().chain(self.unused_until()).chain(self.held_due()).min()
    }

    /// The level of the message that is next.
    fn head_level(&self) -> Option<usize> {
        self.levels.iter().position(|level| level.ready_head().is_some())
    }

    fn head_expiry(&self) -> Option<Timestamp> {
        if !self.levels.iter().any(Level::any_expires) {
            return None;
        }
        let level = self.levels.get(self.head_level()?)?;
        let head = level.ready_head()?;
        match level.piece(head.clone()) {
            Some(piece) => piece.block.expires_at(piece.first),
            // While it is on its way there is nothing to do but to wait for it.
            None => level.slot(head.start)?.away_expiry(),
        }
    }

    /// When the queue goes if nobody uses it until then.
    // rabbitmq: ttl, queue ttl
    fn unused_until(&self) -> Option<Timestamp> {
        let expires = self.settings.expires?;
        (self.counts().consumers == 0).then(|| self.last_used.plus(expires))
    }
}
