//! What a dead letter looks like, against what RabbitMQ 4.3 sent.

use super::{DeadLetter, DeathReason, Republished};
use crate::block::Block;
use crate::record::{Body, NewRecord};
use crate::settings::DeadLetterTarget;
use crate::time::Timestamp;
use leveret_codec::{Properties, PropertiesWriter, Table, Value, ValueView};
use std::sync::Arc;

fn properties(headers: Option<&[u8]>, expiration: Option<&str>) -> Vec<u8> {
    let expiration = expiration.map(str::as_bytes);
    PropertiesWriter { headers, expiration, ..PropertiesWriter::default() }.to_bytes().unwrap()
}

fn letter(
    block: Block,
    queue: &str,
    reason: DeathReason,
    exchange: &str,
    key: Option<&str>,
) -> DeadLetter {
    DeadLetter {
        held_at: None,
        source: crate::ids::QueueId(1),
        first: 0,
        n: block.len(),
        block: Arc::new(block),
        reason,
        redelivered: false,
        vhost: "/".into(),
        queue: queue.into(),
        target: DeadLetterTarget { exchange: exchange.into(), routing_key: key.map(Arc::from) },
    }
}

fn message(address: &[u8], properties: &[u8]) -> Block {
    let mut block = Block::new();
    block.push(&NewRecord {
        address,
        properties,
        persistent: true,
        priority: 3,
        expires_at: Some(Timestamp(5)),
        body: Body::Inline(b"m"),
    });
    block
}

fn die(block: Block, queue: &str, reason: DeathReason, exchange: &str, key: Option<&str>) -> Block {
    let letter = letter(block, queue, reason, exchange, key);
    let mut after = Block::new();
    for republished in letter.republish(Timestamp(7_500)) {
        republished.push_to(&mut after);
    }
    after
}

/// Headers as text, in their order.
fn show(value: ValueView<'_>) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match value {
        ValueView::LongString(bytes) => format!("'{}'", text(bytes)),
        ValueView::Long(n) => n.to_string(),
        ValueView::Timestamp(n) => format!("T{n}"),
        ValueView::Array(array) => {
            let all: Vec<_> = array.iter().map(|value| show(value.unwrap())).collect();
            format!("[{}]", all.join(", "))
        }
        ValueView::Table(table) => {
            let all = table.iter().map(|field| {
                let (key, value) = field.unwrap();
                format!("{}={}", text(key), show(value))
            });
            format!("{{{}}}", all.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn headers(block: &Block) -> String {
    let properties = Properties::new(block.record(0).properties());
    properties.check().unwrap();
    show(ValueView::Table(properties.headers().unwrap()))
}

fn table(fill: impl FnOnce(&mut Table)) -> Vec<u8> {
    let mut table = Table::default();
    fill(&mut table);
    table.to_bytes()
}

#[test]
fn rejected_message_keeps_everything_but_its_address_and_tells_of_its_death() {
    let own = table(|t| t.insert("own", Value::Int(1)));
    let after = die(
        message(b"\x01x\x01k", &properties(Some(&own), None)),
        "q",
        DeathReason::Rejected,
        "dlx",
        None,
    );
    let record = after.record(0);
    assert_eq!((record.exchange(), record.routing_key()), (&b"dlx"[..], &b"k"[..]));
    assert_eq!((record.body().bytes(), record.priority()), (&b"m"[..], 3));
    assert!(record.persistent() && !record.redelivered() && record.expires_at().is_none());
    assert_eq!(
        headers(&after),
        "{own=Int(1), x-death=[{count=1, reason='rejected', queue='q', time=T7, exchange='x', \
         routing-keys=['k']}], x-first-death-exchange='x', x-first-death-queue='q', \
         x-first-death-reason='rejected', x-last-death-exchange='x', x-last-death-queue='q', \
         x-last-death-reason='rejected'}"
    );
}

#[test]
fn expiration_moves_into_x_death() {
    let after = die(
        message(b"\x00\x01q", &properties(None, Some("100"))),
        "q",
        DeathReason::Expired,
        "",
        Some("d"),
    );
    assert_eq!(Properties::new(after.record(0).properties()).expiration(), None);
    assert!(headers(&after).starts_with(
        "{x-death=[{original-expiration='100', count=1, reason='expired', queue='q', time=T7, \
         exchange='', routing-keys=['q']}], x-first-death-exchange=''"
    ));
}

#[test]
fn retry_loop_counts_up_and_moves_to_the_front() {
    let mut block = message(b"\x00\x04work", &properties(None, Some("60000")));
    for _ in 0..2 {
        block = die(block, "work", DeathReason::Rejected, "", Some("wait"));
        block = die(block, "wait", DeathReason::Expired, "", Some("work"));
    }
    assert_eq!(
        headers(&block),
        "{x-death=[{count=2, reason='expired', queue='wait', time=T7, exchange='', \
         routing-keys=['wait']}, {original-expiration='60000', count=2, reason='rejected', \
         queue='work', time=T7, exchange='', routing-keys=['work']}], x-first-death-exchange='', \
         x-first-death-queue='work', x-first-death-reason='rejected', x-last-death-exchange='', \
         x-last-death-queue='wait', x-last-death-reason='expired'}"
    );
}

#[test]
fn x_death_of_a_wrong_type_is_replaced() {
    let own = table(|t| {
        t.insert("x-death", Value::LongString("nonsense".into()));
        t.insert("x-first-death-queue", Value::Int(5));
    });
    let after = die(
        message(b"\x00\x01q", &properties(Some(&own), None)),
        "q",
        DeathReason::Rejected,
        "",
        Some("d"),
    );
    assert_eq!(
        headers(&after),
        "{x-death=[{count=1, reason='rejected', queue='q', time=T7, exchange='', \
         routing-keys=['q']}], x-first-death-exchange='', x-first-death-queue='q', \
         x-first-death-reason='rejected', x-last-death-exchange='', x-last-death-queue='q', \
         x-last-death-reason='rejected'}"
    );
}

#[test]
fn x_death_that_a_client_published_again_is_continued() {
    let first = die(
        message(b"\x00\x01q", &properties(None, None)),
        "q",
        DeathReason::Rejected,
        "",
        Some("d"),
    );
    let by_client = message(b"\x00\x01q", first.record(0).properties());
    let after = die(by_client, "q", DeathReason::Rejected, "", Some("d"));
    assert!(headers(&after).starts_with("{x-death=[{count=2, reason='rejected', queue='q'"));
}

fn with_copies() -> Block {
    let cc = table(|t| t.insert("CC", Value::Array(vec![Value::LongString("c".into())])));
    message(b"\x00\x01q\x01b", &properties(Some(&cc), None))
}

fn keys(letter: &DeadLetter) -> Vec<Vec<u8>> {
    let republished = letter.republish(Timestamp(0)).next().unwrap();
    republished.routing_keys().iter().map(|key| key.to_vec()).collect()
}

#[test]
fn without_a_key_of_its_own_a_dead_letter_goes_by_all_keys_of_the_message() {
    let once = letter(with_copies(), "q", DeathReason::Rejected, "dlx", None);
    assert_eq!(keys(&once), [b"q", b"c", b"b"]);
    let block = die(with_copies(), "q", DeathReason::Rejected, "dlx", None);
    assert_eq!(block.record(0).address(), b"\x03dlx\x01q");
    assert!(headers(&block).contains("routing-keys=['q', 'c']"));
    assert_eq!(keys(&letter(block, "d", DeathReason::Rejected, "dlx", None)), [b"q", b"c", b"b"]);
}

#[test]
fn with_a_key_of_its_own_a_dead_letter_goes_by_that_alone_from_then_on() {
    let once = letter(with_copies(), "q", DeathReason::Rejected, "dlx", Some("n"));
    assert_eq!(keys(&once), [b"n"]);
    let block = die(with_copies(), "q", DeathReason::Rejected, "dlx", Some("n"));
    assert!(headers(&block).starts_with("{CC=['c'], x-death=[{"), "the CC header stays");
    assert_eq!(keys(&letter(block.clone(), "d", DeathReason::Rejected, "dlx", None)), [b"n"]);
    let twice = die(block, "d", DeathReason::Rejected, "dlx", None);
    assert!(headers(&twice).contains("queue='d', time=T7, exchange='dlx', routing-keys=['n']}"));
}

fn republished(letter: &DeadLetter) -> Republished<'_> {
    letter.republish(Timestamp(0)).next().unwrap()
}

#[test]
fn automatic_cycle_is_cut_and_one_with_a_rejection_is_not() {
    let plain = || message(b"\x00\x01a", &properties(None, None));
    let at_a = letter(plain(), "a", DeathReason::Expired, "", Some("b"));
    assert!(!republished(&at_a).is_cycle("b"));
    assert!(republished(&at_a).is_cycle("a"), "straight back into the queue it expired in");
    let in_b = die(plain(), "a", DeathReason::Expired, "", Some("b"));
    let at_b = letter(in_b.clone(), "b", DeathReason::Expired, "", Some("a"));
    assert!(republished(&at_b).is_cycle("a"));
    let rejected_at_b = letter(in_b.clone(), "b", DeathReason::Rejected, "", Some("a"));
    assert!(!republished(&rejected_at_b).is_cycle("a"));
    let in_a = die(in_b, "b", DeathReason::Rejected, "", Some("a"));
    let at_a_again = letter(in_a, "a", DeathReason::Expired, "", Some("b"));
    assert!(!republished(&at_a_again).is_cycle("b"), "rejected in b since it was there last");
}

#[test]
fn failed_delivery_marks_the_dead_letter_as_redelivered() {
    let mut letter = letter(
        message(b"\x00\x01q", &properties(None, None)),
        "q",
        DeathReason::Rejected,
        "",
        None,
    );
    letter.redelivered = true;
    let mut after = Block::new();
    republished(&letter).push_to(&mut after);
    assert!(after.record(0).redelivered());
}
