//! Which publishes a queue knows: a publisher's node that did not hear of a confirm sends them again to the next leader,
//! and they must not be there twice.

use super::ids::SessionId;
use super::log::{Entry, Origin, Payload};
use std::collections::BTreeMap;

/// The numbers of the last publishes of each session. What is in here follows from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sessions(BTreeMap<SessionId, Known>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    /// The last one that is in the log.
    logged: u64,
    /// The last one that is committed.
    committed: u64,
}

/// What to do with publishes that may have come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// How many at the front are in the log already: leave them out of the op.
    pub skip: u32,
    /// How many of those are committed: confirm them at once. The others are confirmed as the log is.
    pub confirmed: u32,
}

/// Publishes before these are missing: they were lost on the way, and whoever sent them sends all of them again. Taken
/// now, they would make those before them look like known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("publish {expected} of the session is missing")]
pub struct Gap {
    /// The number of the next publish that can be taken.
    pub expected: u64,
}

impl Sessions {
    /// The sessions as they were when a copy was made.
    pub(super) fn restored(committed: &[(SessionId, u64)]) -> Self {
        let known = |(session, last): &(SessionId, u64)| {
            (*session, Known { logged: *last, committed: *last })
        };
        Self(committed.iter().map(known).collect())
    }

    /// What a copy of the queue has to know of them.
    pub(super) fn committed(&self) -> Vec<(SessionId, u64)> {
        self.0.iter().map(|(session, known)| (*session, known.committed)).collect()
    }

    /// The last publish of a session that is in the log, and the last that is committed; 0 if there is none.
    pub(super) fn known(&self, session: SessionId) -> (u64, u64) {
        let known = self.0.get(&session).copied().unwrap_or_default();
        (known.logged, known.committed)
    }

    pub(super) fn admit(&self, origin: Origin) -> Result<Admitted, Gap> {
        let known = self.0.get(&origin.session).copied().unwrap_or_default();
        let expected = known.logged + 1;
        if origin.first > expected {
            return Err(Gap { expected });
        }
        let upto = |last: u64| {
            let n = (last + 1).saturating_sub(origin.first).min(u64::from(origin.n));
            u32::try_from(n).unwrap_or(origin.n)
        };
        Ok(Admitted { skip: upto(known.logged), confirmed: upto(known.committed) })
    }

    /// An entry is in the log.
    pub(super) fn log(&mut self, entry: &Entry) {
        if let Some(origin) = origin(entry) {
            let known = self.0.entry(origin.session).or_default();
            known.logged = known.logged.max(origin.last());
        }
    }

    /// An entry is committed.
    pub(super) fn commit(&mut self, entry: &Entry) {
        if let Some(origin) = origin(entry) {
            let known = self.0.entry(origin.session).or_default();
            known.logged = known.logged.max(origin.last());
            known.committed = known.committed.max(origin.last());
        } else if let Payload::SessionEnd(session) = &entry.payload {
            self.0.remove(session);
        }
    }

    /// What is not committed may be cut off.
    pub(super) fn forget_uncommitted(&mut self) {
        self.0.values_mut().for_each(|known| known.logged = known.committed);
    }
}

/// Whose publishes an entry has.
pub(super) fn origin(entry: &Entry) -> Option<Origin> {
    if let Payload::Op(op) = &entry.payload { op.origin } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::ids::{Epoch, Incarnation};
    use super::super::log::OpBytes;
    use super::*;

    const SESSION: SessionId = SessionId { incarnation: Incarnation(1), channel: 1 };

    fn publishes(first: u64, n: u32) -> Origin {
        Origin { session: SESSION, first, n }
    }

    fn entry(origin: Origin) -> Entry {
        let op = OpBytes { origin: Some(origin), transient: false, bytes: [].into() };
        Entry { epoch: Epoch(1), payload: Payload::Op(op) }
    }

    #[test]
    fn of_publishes_that_come_again_only_those_beyond_the_log_are_new() {
        let mut sessions = Sessions::default();
        sessions.commit(&entry(publishes(1, 3)));
        sessions.log(&entry(publishes(4, 2)));
        let admitted = |first, n| {
            let Admitted { skip, confirmed } = sessions.admit(publishes(first, n)).unwrap();
            (skip, confirmed)
        };
        assert_eq!(admitted(1, 2), (2, 2));
        assert_eq!(admitted(3, 2), (2, 1));
        assert_eq!(admitted(5, 4), (1, 0));
        assert_eq!(admitted(6, 4), (0, 0));
        assert_eq!(sessions.admit(publishes(7, 1)), Err(Gap { expected: 6 }));
    }

    #[test]
    fn a_session_that_ended_is_forgotten_once_that_is_committed() {
        let mut sessions = Sessions::default();
        sessions.commit(&entry(publishes(1, 3)));
        let end = Entry { epoch: Epoch(1), payload: Payload::SessionEnd(SESSION) };
        sessions.log(&end);
        assert_eq!(sessions.committed(), [(SESSION, 3)]);
        sessions.commit(&end);
        assert!(sessions.committed().is_empty());
    }
}
