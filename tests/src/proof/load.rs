//! The load: publishers with confirms and with transactions, consumers that ack, reject, hold and give back. They write
//! into the ledger what they are about to do and what they were told, and end quietly when the broker does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use leveret_codec::amqp::{AMQPClass, basic, queue, tx};
use leveret_codec::{PropertiesWriter, put_ack, put_method, put_nack};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ledger::{Ledger, QUEUES};
use super::messages::Id;
use crate::{Client, Event, Outgoing, PATIENCE};

/// The exchange that reaches the first two queues, and where consumers publish to learn what is on disk.
pub(super) const BOTH: &str = "both";
pub(super) const MARKS: &str = "marks";

/// Messages published at once, and on their way to be confirmed.
const BATCH: usize = 12;
const WINDOW: usize = 40;

/// Unacked messages of a consumer, and what it settles before it makes sure.
pub(super) const PREFETCH: u16 = 24;
const SURE_AFTER: usize = 16;

/// How long a consumer waits for a message before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);

/// What all clients of a round share.
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) ledger: Mutex<Ledger>,
    /// Messages confirmed in this round.
    pub(super) confirmed: AtomicU64,
    pub(super) stop: AtomicBool,
}

/// The broker is gone.
pub(super) struct Gone;

impl Shared {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirm(&self, ids: &[Id]) {
        let mut ledger = self.ledger();
        ids.iter().for_each(|id| ledger.confirm(*id));
        drop(ledger);
        self.confirmed.fetch_add(ids.len() as u64, Ordering::Relaxed);
    }
}

/// Publishes `count` messages to the queue number `own`, or to the exchange if `fanout`, each confirmed.
pub(super) fn publish(
    shared: &Shared,
    mut client: Client,
    (who, own, fanout): (u32, usize, bool),
    count: u32,
) -> Result<(), Gone> {
    let mut rng = StdRng::seed_from_u64(shared.seed ^ u64::from(who));
    let mut open = BTreeMap::new();
    let mut number = 0;
    while number < count {
        let mut out = BytesMut::new();
        for _ in 0..rng.random_range(1..=BATCH) {
            let id = Id::new(who, number);
            number += 1;
            let persistent = !rng.random_bool(0.05);
            let wide = fanout && rng.random_bool(0.3);
            let (address, queues): (_, &[usize]) =
                if wide { ((BOTH, ""), &[0, 1]) } else { (("", QUEUES[own]), &[own]) };
            shared.ledger().send(id, queues, persistent);
            id.outgoing(shared.seed, address, persistent).put(&mut out, 1, client.frame_max());
            open.insert(u64::from(number), id);
        }
        client.try_send_bytes(&out).map_err(|_| Gone)?;
        settle_confirms(shared, &mut client, &mut open, WINDOW)?;
    }
    settle_confirms(shared, &mut client, &mut open, 0)
}

/// Reads confirms until no more than `left` are open.
fn settle_confirms(
    shared: &Shared,
    client: &mut Client,
    open: &mut BTreeMap<u64, Id>,
    left: usize,
) -> Result<(), Gone> {
    while open.len() > left {
        let Event::Confirm { tag, multiple, ack, .. } = next(client)? else { continue };
        let Some(id) = open.remove(&tag) else {
            shared.ledger().breaks(format!("O4: confirm {tag} is not open"));
            continue;
        };
        let mut ids = vec![id];
        if multiple {
            let later = open.split_off(&tag);
            ids.extend(std::mem::replace(open, later).into_values());
        }
        // A broker that ends may refuse what it did not write.
        if ack {
            shared.confirm(&ids);
        }
    }
    Ok(())
}

/// Publishes transactions, some of which are rolled back.
pub(super) fn transact(
    shared: &Shared,
    mut client: Client,
    (who, own): (u32, usize),
    count: u32,
) -> Result<(), Gone> {
    let mut rng = StdRng::seed_from_u64(shared.seed ^ u64::from(who));
    let mut number = 0;
    while number < count {
        let mut out = BytesMut::new();
        let commits = rng.random_bool(0.8);
        let mut ids = Vec::new();
        for _ in 0..rng.random_range(1..=BATCH) {
            let id = Id::new(who, number);
            number += 1;
            if commits {
                shared.ledger().send(id, &[own], true);
            }
            let message = id.outgoing(shared.seed, ("", QUEUES[own]), true);
            message.put(&mut out, 1, client.frame_max());
            ids.push(id);
        }
        let end = if commits {
            tx::AMQPMethod::Commit(tx::Commit {})
        } else {
            tx::AMQPMethod::Rollback(tx::Rollback {})
        };
        put_method(&mut out, 1, &AMQPClass::Tx(end));
        client.try_send_bytes(&out).map_err(|_| Gone)?;
        while !matches!(next(&mut client)?, Event::Method { method: AMQPClass::Tx(_), .. }) {}
        if commits {
            shared.confirm(&ids);
        }
    }
    Ok(())
}

/// Consumes the queue number `own`: acks, rejects the share `rejects`, holds the rest for a while and gives it back.
pub(super) fn consume(
    shared: &Shared,
    client: Client,
    (who, own): (u32, usize),
    rejects: f64,
) -> Result<(), Gone> {
    let mut rng = StdRng::seed_from_u64(shared.seed ^ u64::from(who));
    let mut consumer =
        Consumer { shared, client, own, waiting: VecDeque::new(), unsure: Vec::new(), marks: 0 };
    let mut held = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let Some((tag, id)) = consumer.delivery()? else { continue };
        let decision: f64 = rng.random();
        if decision < 0.25 {
            held.push(tag);
        } else {
            consumer.settle(tag, id, decision < 0.25 + rejects)?;
        }
        if held.len() + 4 > usize::from(PREFETCH) {
            for tag in held.drain(..) {
                consumer.send(|out| put_nack(out, 1, tag, false, true))?;
            }
        }
        if consumer.unsure.len() >= SURE_AFTER {
            consumer.make_sure()?;
        }
    }
    Ok(())
}

struct Consumer<'a> {
    shared: &'a Shared,
    client: Client,
    own: usize,
    /// Deliveries that came while something else was waited for.
    waiting: VecDeque<(u64, Id)>,
    /// Settled and not known to be on disk.
    unsure: Vec<Id>,
    marks: u64,
}

impl Consumer<'_> {
    fn delivery(&mut self) -> Result<Option<(u64, Id)>, Gone> {
        if let Some(delivery) = self.waiting.pop_front() {
            return Ok(Some(delivery));
        }
        match self.client.next_event(LOOK) {
            Some(Event::End | Event::Closed(_)) => Err(Gone),
            Some(event) => Ok(self.known(&event)),
            None => Ok(None),
        }
    }

    /// A delivery as what it must be.
    fn known(&self, event: &Event) -> Option<(u64, Id)> {
        let Event::Message(message) = event else { return None };
        let mut ledger = self.shared.ledger();
        let name = QUEUES[self.own];
        match Id::of_body(&message.body, self.shared.seed) {
            Some(id) if ledger.knows(self.own, id) => return Some((message.delivery_tag, id)),
            Some(id) => ledger.breaks(format!("D2: {id} is delivered from {name}, wherefrom?")),
            None => ledger.breaks(format!("D2: {name} delivers what was never published")),
        }
        None
    }

    fn send(&mut self, put: impl FnOnce(&mut BytesMut)) -> Result<(), Gone> {
        let mut out = BytesMut::new();
        put(&mut out);
        self.client.try_send_bytes(&out).map_err(|_| Gone)
    }

    fn settle(&mut self, tag: u64, id: Id, rejected: bool) -> Result<(), Gone> {
        self.shared.ledger().settle(self.own, id, rejected);
        self.unsure.push(id);
        self.send(|out| {
            if rejected {
                put_nack(out, 1, tag, false, false);
            } else {
                put_ack(out, 1, tag, false);
            }
        })
    }

    /// A call is answered after what came before it on the channel was done; what is published after that answer is
    /// confirmed after what was done.
    fn make_sure(&mut self) -> Result<(), Gone> {
        let look = queue::Declare { queue: MARKS.into(), passive: true, ..Default::default() };
        let look = AMQPClass::Queue(queue::AMQPMethod::Declare(look));
        self.send(|out| put_method(out, 1, &look))?;
        self.wait(|event| matches!(event, Event::Method { method: AMQPClass::Queue(_), .. }))?;
        let properties = PropertiesWriter { delivery_mode: Some(2), ..PropertiesWriter::default() };
        let mark = Outgoing::new("", MARKS, self.marks.to_be_bytes()).with(&properties);
        self.marks += 1;
        let frame_max = self.client.frame_max();
        self.send(|out| mark.put(out, 1, frame_max))?;
        let wanted = self.marks;
        self.wait(
            |event| matches!(event, Event::Confirm { tag, ack: true, .. } if *tag == wanted),
        )?;
        self.shared.ledger().durable(self.own, &self.unsure);
        self.unsure.clear();
        Ok(())
    }

    fn wait(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<(), Gone> {
        loop {
            let event = next(&mut self.client)?;
            if wanted(&event) {
                return Ok(());
            }
            let delivery = self.known(&event);
            self.waiting.extend(delivery);
        }
    }
}

/// The next event; a broker that says nothing for long is stopped or stuck, and no better than one that is gone.
fn next(client: &mut Client) -> Result<Event, Gone> {
    match client.next_event(PATIENCE) {
        None | Some(Event::End | Event::Closed(_)) => Err(Gone),
        Some(event) => Ok(event),
    }
}

/// basic.consume with a limit on what is unacked, and confirms.
pub(super) fn start_consumer(client: &mut Client, own: usize) {
    client.confirms(1);
    client.call(1, basic::Qos { prefetch_count: PREFETCH, global: false });
    client.consume(1, QUEUES[own], "proof", false);
}
