//! One copy beside its queue: what its log says is done to the queue, and what the queue does is put into the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use leveret_cluster::replication::stored::{FoundCopy, Head, Kept, Life, PartState};
use leveret_cluster::replication::{
    self, Epoch, Handover, Happened, LEASE_MS, OpBytes, Part, Position, QueueRecord, Replica,
    ReplicaRole, Supply, SyncMode, Ticket, Write, WriteWhat,
};
use leveret_engine::queue::Queue;
use leveret_engine::queue::ops::encode::encode_op;
use leveret_engine::queue::ops::{LoggedOp, Op, OpIndex};
use leveret_engine::{Effects, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::ops_of;
use super::parts::Outgoing;
use crate::journal::CopyWrite;
use crate::queues::QueueCell;

/// How long a copy is not looked after again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 10;

/// Where a queue's cell has its copy.
#[derive(Default)]
pub(crate) struct CopyPlace {
    here: AtomicBool,
    /// How often the queue was made again.
    made: AtomicU64,
    copy: Mutex<Option<Box<Copy>>>,
}

/// A copy of a queue.
#[derive(Debug)]
pub(crate) struct Copy {
    log: Log,
    /// The queue has done the ops up to here; `None` while it is being made again.
    applied: Option<OpIndex>,
    /// It leads, and the queue begins with this op once it has been made again.
    to_lead: Option<OpIndex>,
    /// From when on it may deliver, if it leads.
    deliver_from: Timestamp,
    /// Whether the queue delivers, and until when it may.
    delivers: bool,
    lease_until: Timestamp,
    /// When that was last looked at.
    looked_at: Timestamp,
    /// What the disk has been told of its life.
    life: Life,
    /// The last ticket that was given out.
    ticket: Ticket,
    /// The state of a copy that is on its way here, and whether no chunk of it has come yet.
    incoming: Arc<[u8]>,
    bare: bool,
    /// Copies that are on their way to mirrors, and the parts that these wait for.
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) supplies: Vec<Supply>,
    /// The oldest op that has a message in the queue, as it was after another.
    oldest: Option<(OpIndex, OpIndex)>,
    /// What its log wants done besides.
    pub(super) later: Vec<replication::Effects>,
    /// Whether the next thing to be written holds the open group.
    pub(super) hold: bool,
    /// Whether one did.
    pub(super) held: bool,
}

#[derive(Debug)]
enum Log {
    /// As it was found on disk, before anything is known of the others.
    Found(Option<FoundCopy>),
    Live(Box<Replica>),
}

impl CopyPlace {
    /// Whether there is a copy: the queue has others elsewhere.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.here.load(Ordering::Relaxed)
    }

    /// Under the queue's lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Box<Copy>>> {
        self.copy.lock()
    }

    /// How often the queue was made again.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub(super) fn count_making(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_here(&self, here: bool) {
        self.here.store(here, Ordering::Relaxed);
    }

    /// Whether the queue is as it should be.
    pub(crate) fn may_checkpoint(&self) -> bool {
        !self.is_here() || self.lock().as_ref().is_none_or(|copy| copy.may_checkpoint())
    }

    /// When the copy is to be looked after, if that is before `deadline`.
    pub(crate) fn deadline(&self, deadline: Option<Timestamp>) -> Option<Timestamp> {
        let place = self.lock();
        let own = place.as_ref().and_then(|copy| copy.next_deadline());
        deadline.into_iter().chain(own).min()
    }
}

impl QueueCell {
    /// A checkpoint of the queue is on disk: what of the log is in it need not stay in memory.
    pub(crate) fn retire_log(&self) {
        if !self.copy.is_here() {
            return;
        }
        let _queue = self.queue.lock();
        if let Some(replica) = self.copy.lock().as_mut().and_then(|copy| copy.replica_mut()) {
            replica.retire(self.place.retired());
        }
    }
}

impl Copy {
    /// A copy as it was found on disk, whose queue has done the ops up to `applied`.
    pub(super) fn found(found: FoundCopy, applied: OpIndex) -> Self {
        let life = found.life();
        Self::with(Log::Found(Some(found)), life, applied)
    }

    /// A copy that begins with what the queue holds after `applied`.
    pub(super) fn beginning(replica: Replica, applied: OpIndex) -> Self {
        let life = life_of(&replica);
        Self::with(Log::Live(Box::new(replica)), life, applied)
    }

    fn with(log: Log, life: Life, applied: OpIndex) -> Self {
        Self {
            log,
            applied: Some(applied),
            to_lead: None,
            deliver_from: Timestamp(0),
            delivers: false,
            lease_until: Timestamp(0),
            looked_at: Timestamp(0),
            life,
            ticket: Ticket::default(),
            incoming: Arc::default(),
            bare: true,
            outgoing: Vec::new(),
            supplies: Vec::new(),
            oldest: None,
            later: Vec::new(),
            hold: false,
            held: false,
        }
    }

    /// Makes the log that was found live.
    pub(super) fn open(&mut self, open: impl FnOnce(replication::Recovered) -> Replica) {
        if let Log::Found(found) = &mut self.log {
            let found = found.take().unwrap_or_default();
            self.log = Log::Live(Box::new(open(found.recovered())));
        }
    }

    fn replica(&self) -> Option<&Replica> {
        if let Log::Live(replica) = &self.log { Some(replica) } else { None }
    }

    pub(super) fn replica_mut(&mut self) -> Option<&mut Replica> {
        if let Log::Live(replica) = &mut self.log { Some(replica) } else { None }
    }

    pub(super) fn leads(&self) -> Option<Epoch> {
        self.replica().and_then(Replica::leads)
    }

    /// Its life.
    pub(super) fn life(&self) -> Life {
        self.life
    }

    /// How far it is known to be committed.
    pub(crate) fn commit(&self) -> OpIndex {
        self.replica().map(Replica::commit).unwrap_or_default()
    }

    fn may_checkpoint(&self) -> bool {
        self.applied.is_some() && matches!(self.log, Log::Live(_))
    }

    /// What stands before the state of a checkpoint that needs no op up to `retires`; `None` if it cannot be written now.
    pub(crate) fn head(&self, retires: OpIndex) -> Option<Head> {
        let replica = self.replica()?;
        let log = replica.log();
        let index = retires.max(log.base().index);
        let base = Position { epoch: log.epoch_at(index)?, index };
        Some(Head { life: life_of(replica), base, sessions: replica.sessions() })
    }

    /// What of a log's writes is to be kept, and what came of a copy on its way.
    pub(super) fn kept(&mut self, writes: Vec<Write>, happened: &[Happened]) -> Vec<CopyWrite> {
        let mut kept = Vec::new();
        for happened in happened {
            if let Happened::Received(part) = happened {
                kept.extend(self.receive(part));
            }
        }
        let Log::Live(replica) = &self.log else { return kept };
        let life = life_of(replica);
        if life != self.life {
            self.life = life;
            kept.push(CopyWrite::Kept(Kept::Life(life)));
        }
        for Write { ticket, what } in writes {
            self.ticket = ticket;
            kept.push(match what {
                WriteWhat::Append { first, entries } => {
                    CopyWrite::Kept(Kept::Append { first, entries })
                }
                WriteWhat::Truncate { first } => CopyWrite::Kept(Kept::Truncate { first }),
                WriteWhat::Replace { base } => {
                    let head = Head { life, base, sessions: replica.sessions() };
                    let state = std::mem::take(&mut self.incoming);
                    CopyWrite::Replace {
                        head,
                        state,
                        bare: std::mem::replace(&mut self.bare, true),
                    }
                }
            });
        }
        kept
    }

    fn receive(&mut self, part: &Part) -> Option<CopyWrite> {
        if part.part == 0 {
            (self.incoming, self.bare) = (Arc::default(), true);
        }
        match PartState::read(&part.state) {
            Ok(PartState::Chunk(chunk)) => {
                let first = std::mem::take(&mut self.bare);
                Some(CopyWrite::Chunk { chunk, first })
            }
            Ok(PartState::State(state)) => {
                self.incoming = state;
                None
            }
            // All of it is done, or the mirror begins without what is older.
            Ok(PartState::Gone) | Err(_) => None,
        }
    }

    /// Whether what is to be written makes the queue another than it is, so that it has to be made again.
    pub(super) fn made_again_for(&mut self, kept: &[CopyWrite]) -> bool {
        let undone = kept.iter().any(|write| match write {
            CopyWrite::Kept(Kept::Truncate { first }) => {
                self.applied.is_some_and(|applied| *first <= applied)
            }
            CopyWrite::Replace { .. } => true,
            CopyWrite::Kept(_) | CopyWrite::Chunk { .. } => false,
        });
        if undone {
            self.applied = None;
            self.outgoing.clear();
        }
        undone
    }

    /// The last entry of the log, and the ticket of the last write.
    pub(super) fn written_upto(&self) -> (OpIndex, Ticket) {
        let end = self.replica().map(|replica| replica.log().end().index);
        (end.unwrap_or_default(), self.ticket)
    }

    /// Puts an op of the queue into the log.
    pub(super) fn append(
        &mut self,
        logged: &LoggedOp,
        now: Timestamp,
        wanted: &mut replication::Effects,
    ) {
        let Log::Live(replica) = &mut self.log else { return };
        let mut bytes = Vec::new();
        encode_op(logged, &mut bytes);
        let transient = matches!(&logged.op, Op::Publish { block, .. } if !block.any_persistent());
        let op = OpBytes { origin: None, transient, bytes: bytes.into() };
        let index = replica.append(op, now, wanted);
        debug_assert_eq!(index, Ok(logged.index), "the log and its queue count alike");
        self.applied = Some(logged.index);
    }

    /// Tells the queue what has happened to its log.
    pub(super) fn note(
        &mut self,
        queue: &mut Queue,
        happened: Happened,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        match happened {
            Happened::Leads { next, .. } => {
                let handover = self.record().map(|record| record.handover);
                let wait = handover == Some(Handover::LeaseMayRun);
                // As long as the lease of the one before may run, by its clock.
                let wait = if wait { LEASE_MS + LEASE_MS / 10 } else { 0 };
                self.deliver_from = now.plus(wait);
                self.to_lead = Some(next);
                self.lead_if_made(queue, now, fx);
            }
            Happened::Deposed => {
                self.to_lead = None;
                (self.outgoing, self.supplies) = (Vec::new(), Vec::new());
                queue.stand_down(fx);
                self.delivers = false;
            }
            Happened::Visible(upto) => {
                // A stream shows what is committed.
                if self.to_lead.is_none() && !queue.is_stream() {
                    queue.visible(upto, now, fx);
                }
            }
            Happened::Committed(_) => self.committed(queue, now, fx),
            Happened::Quarantined { rid } => {
                tracing::warn!(copy = %rid, "a copy belongs to a history that was given up");
            }
            Happened::Confirmed { .. } | Happened::Received(_) => {}
        }
    }

    /// The queue has been made again with the ops up to `applied`: the others follow.
    pub(super) fn made(
        &mut self,
        queue: &mut Queue,
        applied: OpIndex,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        self.applied = Some(applied);
        self.committed(queue, now, fx);
        self.lead_if_made(queue, now, fx);
    }

    /// Begins to lead, if that is due and the queue is here: with all that is in the log, committed or not.
    fn lead_if_made(&mut self, queue: &mut Queue, now: Timestamp, fx: &mut Effects) {
        let Some(next) = self.to_lead.filter(|_| self.applied.is_some()) else { return };
        self.to_lead = None;
        let last = OpIndex(next.0 - 1);
        self.apply_upto(queue, last);
        queue.lead(last, now, fx);
    }

    /// What is committed is done; by a leader it has been.
    fn committed(&mut self, queue: &mut Queue, now: Timestamp, fx: &mut Effects) {
        if self.applied.is_none() || self.to_lead.is_some() {
            return;
        }
        let commit = self.commit();
        if self.leads().is_none() {
            self.apply_upto(queue, commit);
            queue.visible(commit, now, fx);
        } else {
            self.note_oldest(queue, now);
        }
        queue.durable(commit, now, fx);
    }

    fn apply_upto(&mut self, queue: &mut Queue, upto: OpIndex) {
        let (Log::Live(replica), Some(applied)) = (&self.log, &mut self.applied) else { return };
        while *applied < upto {
            let index = OpIndex(applied.0 + 1);
            let Some(entry) = replica.log().get(index) else { break };
            for (index, op) in ops_of(entry) {
                queue.apply(index, op);
            }
            queue.skip_op(index);
            *applied = index;
        }
    }

    /// Mirrors that take only what is new wait until what is older is gone; for sure, so not by what may be undone.
    fn note_oldest(&mut self, queue: &Queue, now: Timestamp) {
        let natural = |record: &Arc<QueueRecord>| {
            let natural = ReplicaRole::Learner(SyncMode::Natural);
            record.replicas.iter().any(|replica| replica.role == natural)
        };
        if !self.record().is_some_and(natural) {
            return;
        }
        let commit = self.commit();
        let last = queue.last_op().unwrap_or_default();
        let (oldest, at) = *self.oldest.get_or_insert_with(|| (queue.oldest_op(), last));
        if at <= commit
            && let Some(replica) = self.replica_mut()
        {
            let mut wanted = replication::Effects::default();
            replica.set_oldest_live(oldest, now, &mut wanted);
            self.later.push(wanted);
            self.oldest = None;
        }
    }

    /// Lets the queue deliver, or forbids it. Rule R14.
    pub(super) fn deliver(
        &mut self,
        queue: &mut Queue,
        lease_until: Timestamp,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let may = queue.leads()
            && self.leads().is_some()
            && now >= self.deliver_from
            && now < lease_until
            && self
                .record()
                .is_some_and(|record| record.in_sync().count() >= record.min_in_sync as usize);
        if may != self.delivers {
            self.delivers = may;
            queue.may_deliver(may, now, fx);
            if !may {
                queue.take_all_back();
            }
        }
        (self.lease_until, self.looked_at) = (lease_until, now);
    }

    /// The queue delivers already: it had no other copy until now.
    pub(super) fn delivers_already(mut self) -> Self {
        self.delivers = true;
        self
    }

    fn record(&self) -> Option<&Arc<QueueRecord>> {
        self.replica()?.record()
    }

    /// Whether there is no other copy any more, and nothing that a log is needed for.
    pub(super) fn is_alone_and_done(&self) -> bool {
        let Some(replica) = self.replica().filter(|replica| replica.leads().is_some()) else {
            return false;
        };
        let alone = self.record().is_some_and(|record| record.replicas.len() == 1);
        let log = replica.log();
        let done = replica.commit() == log.end().index && !log.is_writing();
        alone && done && self.applied == Some(log.end().index) && self.to_lead.is_none()
    }

    /// When it is to be looked after.
    fn next_deadline(&self) -> Option<Timestamp> {
        let replica = self.replica()?;
        let at = if self.delivers { self.lease_until } else { self.deliver_from };
        // What else it waits for is told.
        let delivery = replica.leads().map(|_| at).filter(|at| *at > self.looked_at);
        let next = replica.next_deadline().into_iter().chain(delivery).min();
        // What cannot be helped now is not looked at without a pause.
        next.map(|at| at.max(self.looked_at.plus(LOOK_AGAIN_MS)))
    }

    /// Whether something waits for more to be committed.
    pub(super) fn waits_for_commit(&self) -> bool {
        self.outgoing.iter().any(Outgoing::waits)
    }

    /// Mirrors want parts.
    pub(super) fn want_parts(&mut self, supplies: Vec<Supply>) {
        for supply in supplies {
            if !self.supplies.contains(&supply) {
                self.supplies.push(supply);
            }
        }
    }
}

fn life_of(replica: &Replica) -> Life {
    Life { rid: replica.rid(), lineage: replica.lineage(), lacks_upto: replica.lacks_upto() }
}
