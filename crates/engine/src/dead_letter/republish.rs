//! The message that is published in place of a dead one: address, properties with `x-death`, body.

use super::{DeadLetter, DeathReason};
use crate::block::Block;
use crate::record::{NewRecord, Record};
use crate::time::Timestamp;
use leveret_codec::{
    ArrayView, ArrayWriter, Change, Field, Properties, PropertyChanges, TableView, TableWriter,
    ValueView, rewrite,
};
use smallvec::SmallVec;
use std::sync::Arc;

pub(super) const X_DEATH: &[u8] = b"x-death";
const REJECTED: &[u8] = b"rejected";

/// The headers that tell of the first and of the last death, without the word that ends them.
const FIRST: &str = "x-first-death-";
const LAST: &str = "x-last-death-";

/// A dead letter as it is published. Not mandatory, not confirmed, no permission asked.
#[derive(Debug)]
pub struct Republished<'a> {
    record: Record<'a>,
    exchange: Arc<str>,
    /// The new key, if it has no longer its own.
    routing_key: Option<Arc<str>>,
    address: Vec<u8>,
    properties: Vec<u8>,
    redelivered: bool,
    reason: DeathReason,
    /// Queue and whether it was rejected there, most recent death first.
    deaths: Vec<(Vec<u8>, bool)>,
}

impl DeadLetter {
    /// The messages to publish, in their order.
    pub fn republish(&self, now: Timestamp) -> impl Iterator<Item = Republished<'_>> {
        (self.first..self.first + self.n).map(move |at| self.republish_one(at, now))
    }

    fn republish_one(&self, at: u32, now: Timestamp) -> Republished<'_> {
        let record = self.block.record(at);
        let (properties, deaths) = self.properties(&record, now);
        Republished {
            record,
            exchange: self.target.exchange.clone(),
            routing_key: self.target.routing_key.clone(),
            address: self.address(&record),
            properties,
            redelivered: self.redelivered,
            reason: self.reason,
            deaths,
        }
    }

    /// The new exchange and key; hidden keys stay where the key does.
    fn address(&self, record: &Record<'_>) -> Vec<u8> {
        let mut address = Vec::with_capacity(record.whole_address().len() + 16);
        put_short(&mut address, self.target.exchange.as_bytes());
        match &self.target.routing_key {
            Some(key) => put_short(&mut address, key.as_bytes()),
            None => {
                put_short(&mut address, record.routing_key());
                record.hidden_keys().for_each(|key| put_short(&mut address, key));
            }
        }
        address
    }

    /// The properties with this death written down and without expiration, so that the message
    /// does not expire again where it goes; and all its deaths.
    // rabbitmq: dead lettering
    fn properties(&self, record: &Record<'_>, now: Timestamp) -> (Vec<u8>, Vec<(Vec<u8>, bool)>) {
        let before = Properties::new(record.properties());
        let headers = before.headers().unwrap_or_default();
        let x_death = match headers.get(X_DEATH) {
            Some(ValueView::Array(array)) => array,
            _ => ArrayView::default(),
        };
        let mut table = Vec::with_capacity(headers.as_bytes().len() + 256);
        let mut deaths = vec![(self.queue.as_bytes().to_vec(), self.is_rejection())];
        let mut writer = TableWriter::new(&mut table);
        for field in headers.fields().map_while(Result::ok).filter(|field| !is_death(field)) {
            writer.copy(&field);
        }
        writer.array(X_DEATH, |array| {
            self.write_deaths(array, x_death, record, now, &mut deaths);
        });
        self.write_first(&mut writer, headers, deaths.len() > 1 || self.was_here(x_death), record);
        let [exchange, queue, reason] = self.facts(record);
        write_facts(&mut writer, LAST, [exchange, queue, reason]);
        let changes = PropertyChanges {
            headers: Change::Set(&table),
            expiration: Change::Remove,
            ..PropertyChanges::default()
        };
        let mut after = Vec::with_capacity(record.properties().len() + table.len() + 4);
        if rewrite(record.properties(), &changes, &mut after).is_err() {
            // They were checked when the message was published.
            after = record.properties().to_vec();
        }
        (after, deaths)
    }

    fn is_rejection(&self) -> bool {
        self.reason == DeathReason::Rejected
    }

    /// Exchange, queue and reason of this death.
    fn facts<'r>(&'r self, record: &Record<'r>) -> [&'r [u8]; 3] {
        [record.exchange(), self.queue.as_bytes(), self.reason.as_str().as_bytes()]
    }

    fn is_this(&self, death: TableView<'_>) -> bool {
        text(death, "queue") == Some(self.queue.as_bytes())
            && text(death, "reason") == Some(self.reason.as_str().as_bytes())
    }

    /// Whether the message died here for this reason before.
    fn was_here(&self, x_death: ArrayView<'_>) -> bool {
        tables(x_death).any(|death| self.is_this(death))
    }

    /// This death comes first: its entry counted up if there is one, or a new one. The others
    /// follow as they stand, whoever wrote them: programs that publish a message again with its
    /// headers rely on the count going on.
    fn write_deaths(
        &self,
        array: &mut ArrayWriter<'_>,
        x_death: ArrayView<'_>,
        record: &Record<'_>,
        now: Timestamp,
        deaths: &mut Vec<(Vec<u8>, bool)>,
    ) {
        match tables(x_death).find(|death| self.is_this(*death)) {
            Some(death) => array.table(|table| count_up(table, death)),
            None => array.table(|table| self.write_death(table, record, now)),
        }
        for death in tables(x_death).filter(|death| !self.is_this(*death)) {
            array.value(ValueView::Table(death));
            let queue = text(death, "queue").unwrap_or_default();
            deaths.push((queue.to_vec(), text(death, "reason") == Some(REJECTED)));
        }
    }

    fn write_death(&self, table: &mut TableWriter<'_>, record: &Record<'_>, now: Timestamp) {
        let properties = Properties::new(record.properties());
        if let Some(expiration) = properties.expiration() {
            table.string("original-expiration", expiration);
        }
        let [exchange, queue, reason] = self.facts(record);
        table.long("count", 1);
        table.string("reason", reason);
        table.string("queue", queue);
        table.value("time", ValueView::Timestamp(now.seconds()));
        table.string("exchange", exchange);
        table.array("routing-keys", |array| {
            array.string(record.routing_key());
            record.cc_keys().for_each(|key| array.string(key));
        });
    }

    /// The first death stays what it was, if there was one.
    fn write_first(
        &self,
        writer: &mut TableWriter<'_>,
        headers: TableView<'_>,
        died_before: bool,
        record: &Record<'_>,
    ) {
        let kept = |fact: &str| text(headers, &format!("{FIRST}{fact}")).filter(|_| died_before);
        let first = match (kept("exchange"), kept("queue"), kept("reason")) {
            (Some(exchange), Some(queue), Some(reason)) => [exchange, queue, reason],
            _ => self.facts(record),
        };
        write_facts(writer, FIRST, first);
    }
}

impl Republished<'_> {
    /// The exchange it is published to; it need not exist.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The keys it is routed by: its queue's dead-letter routing key, or else its own with those
    /// of its CC and BCC headers.
    #[must_use]
    pub fn routing_keys(&self) -> SmallVec<[&[u8]; 4]> {
        match &self.routing_key {
            Some(key) => SmallVec::from_iter([key.as_bytes()]),
            None => self.record.routing_keys(),
        }
    }

    /// The headers it has now.
    #[must_use]
    pub fn headers(&self) -> Option<TableView<'_>> {
        Properties::new(&self.properties).headers()
    }

    /// The property bytes it has now.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        &self.properties
    }

    /// Whether sending it to this queue would close a loop that no consumer takes part in: it
    /// died there before, and was not rejected by anybody since. Such a message is dropped.
    // rabbitmq: dead lettering/cycles
    #[must_use]
    pub fn is_cycle(&self, queue: &str) -> bool {
        if self.reason == DeathReason::Rejected {
            return false;
        }
        let upto = self.deaths.iter().position(|(died, _)| died == queue.as_bytes());
        upto.is_some_and(|upto| !self.deaths[..=upto].iter().any(|(_, rejected)| *rejected))
    }

    /// Appends it to a block.
    pub fn push_to(&self, block: &mut Block) {
        block.push(&NewRecord {
            address: &self.address,
            properties: &self.properties,
            persistent: self.record.persistent(),
            priority: self.record.priority(),
            expires_at: None,
            body: self.record.body(),
        });
        if self.redelivered {
            block.mark_redelivered(block.len() - 1);
        }
        if self.routing_key.is_some() || self.record.cc_spent() {
            block.mark_cc_spent(block.len() - 1);
        }
    }
}

/// Whether a header is one that dead-lettering writes itself.
fn is_death(field: &Field<'_>) -> bool {
    field.key == X_DEATH
        || [FIRST, LAST].iter().any(|kind| {
            let fact = field.key.strip_prefix(kind.as_bytes());
            matches!(fact, Some(b"exchange" | b"queue" | b"reason"))
        })
}

fn write_facts(writer: &mut TableWriter<'_>, kind: &str, [exchange, queue, reason]: [&[u8]; 3]) {
    writer.string(format!("{kind}exchange"), exchange);
    writer.string(format!("{kind}queue"), queue);
    writer.string(format!("{kind}reason"), reason);
}

/// Copies an entry with its count one higher.
fn count_up(table: &mut TableWriter<'_>, death: TableView<'_>) {
    let count = death.get("count").and_then(ValueView::as_i64);
    if count.is_none() {
        table.long("count", 1);
    }
    for field in death.fields().map_while(Result::ok) {
        match (field.key, count) {
            (b"count", Some(count)) => table.long("count", count.saturating_add(1)),
            (b"count", None) => (),
            _ => table.copy(&field),
        }
    }
}

pub(super) fn tables(array: ArrayView<'_>) -> impl Iterator<Item = TableView<'_>> {
    array.iter().map_while(Result::ok).filter_map(|value| match value {
        ValueView::Table(table) => Some(table),
        _ => None,
    })
}

pub(super) fn text<'a>(table: TableView<'a>, key: &str) -> Option<&'a [u8]> {
    table.get(key).and_then(ValueView::as_bytes)
}

/// Appends a short string; names and keys are never longer than 255 bytes.
fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(usize::from(u8::MAX))];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}
