//! Dead letters on their way whose queues keep them until every target has confirmed them: who waits for which answers.
// rabbitmq: quorum queues, at-least-once dead lettering

use foldhash::HashMap;
use leveret_engine::{ChannelKey, ConfirmRun, ConnectionId, QueueId, Seq, SettleOutcome, Settled};
use parking_lot::Mutex;

/// The connection that dead letters are published by: none of a client's has this id.
const INSIDE: ChannelKey = ChannelKey { connection: ConnectionId(0), number: 0, incarnation: 0 };

/// A dead letter, as the queue that keeps it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) queue: QueueId,
    pub(crate) position: Seq,
    pub(crate) tries: Tries,
}

/// When a letter that nobody has taken is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tries {
    /// Until every target has it, and while there is none.
    UntilTaken,
    /// While a target refuses it. Where there is none it is gone.
    UntilNotRefused,
    /// Once: where there is no target, or one refuses it, it is gone. It waits for those that do not answer.
    Once,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) letter: Letter,
    /// Every target has it.
    pub(crate) taken: bool,
}

/// The dead letters that wait for answers. Bounded by what each queue may have on its way.
#[derive(Default)]
pub(crate) struct Letters {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
    waiting: HashMap<u64, Waiting>,
}

struct Waiting {
    letter: Letter,
    /// Answers to come.
    n: usize,
    refused: bool,
}

impl Letters {
    /// Notes a dead letter that goes to `n` queues, at least one; each is to be asked for this confirm.
    pub(crate) fn send(&self, letter: Letter, n: usize) -> ConfirmRun {
        let mut inner = self.inner.lock();
        inner.last += 1;
        let ticket = inner.last;
        inner.waiting.insert(ticket, Waiting { letter, n, refused: false });
        ConfirmRun { first_record: 0, n: 1, channel: INSIDE, first_tag: ticket }
    }

    /// Whether an answer is one for a dead letter.
    pub(crate) fn are_told(settled: &Settled) -> bool {
        settled.channel == INSIDE
    }

    /// Takes in answers; those that were the last of their letters are told.
    pub(crate) fn settled(&self, settled: &Settled, mut told: impl FnMut(Answered)) {
        let mut inner = self.inner.lock();
        for ticket in settled.first_tag..settled.first_tag + u64::from(settled.n) {
            let Some(waiting) = inner.waiting.get_mut(&ticket) else { continue };
            waiting.refused |= settled.outcome == SettleOutcome::Rejected;
            waiting.n -= 1;
            if waiting.n == 0
                && let Some(Waiting { letter, refused, .. }) = inner.waiting.remove(&ticket)
            {
                let taken = !refused || letter.tries == Tries::Once;
                told(Answered { letter, taken });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(ticket: u64, outcome: SettleOutcome) -> Settled {
        Settled { channel: INSIDE, first_tag: ticket, n: 1, outcome }
    }

    #[test]
    fn letter_is_answered_when_the_last_of_its_targets_is() {
        let letters = Letters::default();
        let letter = |index| {
            let (queue, position) = (QueueId(1), Seq::new(0, index));
            Letter { queue, position, tries: Tries::UntilTaken }
        };
        let runs = [letters.send(letter(0), 2), letters.send(letter(1), 1)];
        assert_ne!(runs[0].first_tag, runs[1].first_tag);
        let mut told = Vec::new();
        let mut settle = |ticket, outcome| {
            let before = told.len();
            letters.settled(&answer(ticket, outcome), |answered| {
                told.push((answered.letter.position.index(), answered.taken));
            });
            told.get(before).copied()
        };
        assert_eq!(settle(runs[0].first_tag, SettleOutcome::Rejected), None);
        assert_eq!(settle(runs[1].first_tag, SettleOutcome::Accepted), Some((1, true)));
        assert_eq!(settle(runs[0].first_tag, SettleOutcome::Accepted), Some((0, false)));
        assert_eq!(settle(runs[0].first_tag, SettleOutcome::Accepted), None);
    }
}
