//! The ways in which applications use a broker, with lapin, the client that most Rust programs use; what it
//! cannot do (transactions half done, replies to nobody) with the raw client.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_lite::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    ExchangeKind,
};
use leveret_tests::{Broker, Client, Login, Outgoing, PATIENCE, Stopwatch, tx};

/// A connection with one channel in confirm mode.
struct Session {
    connection: Connection,
    channel: Channel,
}

impl Session {
    async fn open(broker: &Broker) -> Result<Self> {
        let uri = broker.uri();
        let connecting = Connection::connect(&uri, ConnectionProperties::default());
        let connection = within(connecting).await??;
        let channel = within(connection.create_channel()).await??;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await??;
        Ok(Self { connection, channel })
    }

    /// An exclusive queue named by the broker.
    async fn queue(&self, arguments: FieldTable) -> Result<ShortString> {
        let options = QueueDeclareOptions::exclusive();
        let declared = within(self.channel.queue_declare("".into(), options, arguments)).await??;
        Ok(declared.name().clone())
    }

    /// An exchange that goes when nothing is bound to it any more.
    async fn exchange(&self, name: &str, kind: ExchangeKind, arguments: FieldTable) -> Result<()> {
        let options =
            ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
        let declared = self.channel.exchange_declare(name.into(), kind, options, arguments);
        Ok(within(declared).await??)
    }

    async fn bind(&self, queue: &ShortString, exchange: &str, key: &str) -> Result<()> {
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound =
            self.channel.queue_bind(queue.clone(), exchange.into(), key.into(), options, none);
        Ok(within(bound).await??)
    }

    /// Publishes with the mandatory flag and waits for the confirm.
    async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: &str,
        properties: BasicProperties,
    ) -> Result<Confirmation> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (exchange.into(), key.into());
        let publish =
            self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        Ok(within(within(publish).await??).await??)
    }

    async fn send(&self, exchange: &str, key: &str, body: &str) -> Result<()> {
        let confirm = self.publish(exchange, key, body, BasicProperties::default()).await?;
        anyhow::ensure!(confirm.is_ack() && confirm.take_message().is_none(), "{body} got nowhere");
        Ok(())
    }

    async fn consume(&self, queue: &ShortString, no_ack: bool) -> Result<Consumer> {
        let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
        let none = FieldTable::default();
        let consumer = self.channel.basic_consume(queue.clone(), "".into(), options, none);
        Ok(within(consumer).await??)
    }

    /// Messages that are ready in a queue.
    async fn depth(&self, queue: &ShortString) -> Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.clone(), options, FieldTable::default());
        Ok(within(declared).await??.message_count())
    }
}

async fn within<T>(future: impl Future<Output = T>) -> Result<T> {
    let limit = tokio::time::timeout(PATIENCE, future).await;
    limit.with_context(|| format!("nothing happened for {PATIENCE:?}"))
}

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    within(consumer.next()).await?.context("the consumer has ended")?.context("no delivery")
}

async fn next_text(consumer: &mut Consumer) -> Result<String> {
    Ok(String::from_utf8(next(consumer).await?.data)?)
}

fn arguments(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn none() -> FieldTable {
    FieldTable::default()
}

#[tokio::test]
async fn every_subscriber_gets_its_copy() -> Result<()> {
    let broker = Broker::shared();
    let publisher = Session::open(&broker).await?;
    publisher.exchange("pattern-news", ExchangeKind::Fanout, none()).await?;
    let mut subscribers = Vec::new();
    for _ in 0..3 {
        let session = Session::open(&broker).await?;
        let queue = session.queue(none()).await?;
        session.bind(&queue, "pattern-news", "ignored").await?;
        let consumer = session.consume(&queue, true).await?;
        subscribers.push((session, consumer));
    }
    for body in ["one", "two", "three"] {
        publisher.send("pattern-news", "", body).await?;
    }
    for (_, consumer) in &mut subscribers {
        for body in ["one", "two", "three"] {
            assert_eq!(next_text(consumer).await?, body);
        }
    }
    Ok(())
}

#[tokio::test]
async fn idle_worker_gets_the_work_that_a_busy_one_has_no_credit_for() -> Result<()> {
    let broker = Broker::shared();
    let (slow, fast) = (Session::open(&broker).await?, Session::open(&broker).await?);
    let queue = ShortString::from("pattern-work");
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    within(slow.channel.queue_declare(queue.clone(), options, none())).await??;
    for session in [&slow, &fast] {
        within(session.channel.basic_qos(1, BasicQosOptions::default())).await??;
    }
    let mut slow_work = slow.consume(&queue, false).await?;
    let mut fast_work = fast.consume(&queue, false).await?;
    for n in 0..20 {
        slow.send("", queue.as_str(), &n.to_string()).await?;
    }
    // The slow one is at its first message for as long as the fast one does the rest.
    let first = next(&mut slow_work).await?;
    assert_eq!(first.data, b"0");
    for n in 1..20 {
        let work = next(&mut fast_work).await?;
        assert_eq!(work.data, n.to_string().as_bytes());
        within(work.acker.ack(BasicAckOptions::default())).await??;
    }
    within(first.acker.ack(BasicAckOptions::default())).await??;
    Ok(())
}

#[tokio::test]
async fn topics_reach_those_whose_pattern_matches() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    session.exchange("pattern-topics", ExchangeKind::Topic, none()).await?;
    let patterns = ["#", "stock.*.nyse", "stock.#", "*.ibm.*", "stock.ibm.nyse", "#.nyse.#"];
    let mut queues = Vec::new();
    for pattern in patterns {
        let queue = session.queue(none()).await?;
        session.bind(&queue, "pattern-topics", pattern).await?;
        queues.push(queue);
    }
    for key in ["stock.ibm.nyse", "stock.ibm", "stock", "", "a.ibm.b", "nyse", "stock..nyse"] {
        session.send("pattern-topics", key, key).await?;
    }
    let mut counts = Vec::new();
    for queue in &queues {
        counts.push(session.depth(queue).await?);
    }
    assert_eq!(counts, [7, 2, 4, 2, 1, 3]);
    Ok(())
}

#[tokio::test]
async fn call_is_answered_without_a_reply_queue() -> Result<()> {
    let broker = Broker::shared();
    let (server, caller) = (Session::open(&broker).await?, Session::open(&broker).await?);
    let calls = server.queue(none()).await?;
    let mut serving = server.consume(&calls, true).await?;
    let mut replies = caller.consume(&"amq.rabbitmq.reply-to".into(), true).await?;
    for n in 0..100_u32 {
        let properties = BasicProperties::default()
            .with_reply_to("amq.rabbitmq.reply-to".into())
            .with_correlation_id(n.to_string().into());
        assert!(caller.publish("", calls.as_str(), "call", properties).await?.is_ack());
        let call = next(&mut serving).await?;
        let reply_to = call.properties.reply_to().clone().context("no reply_to")?;
        assert!(reply_to.as_str().starts_with("amq.rabbitmq.reply-to."), "{reply_to}");
        let id = call.properties.correlation_id().clone().context("no correlation_id")?;
        let answer = BasicProperties::default().with_correlation_id(id.clone());
        assert!(server.publish("", reply_to.as_str(), "answer", answer).await?.is_ack());
        let reply = next(&mut replies).await?;
        assert_eq!((reply.data.as_slice(), reply.exchange.as_str()), (&b"answer"[..], ""));
        assert_eq!(reply.properties.correlation_id().as_ref(), Some(&id));
    }
    Ok(())
}

#[tokio::test]
async fn reply_to_a_caller_that_is_gone_is_dropped() -> Result<()> {
    let broker = Broker::shared();
    let (server, caller) = (Session::open(&broker).await?, Session::open(&broker).await?);
    let calls = server.queue(none()).await?;
    let mut serving = server.consume(&calls, true).await?;
    let replies = caller.consume(&"amq.rabbitmq.reply-to".into(), true).await?;
    let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
    caller.publish("", calls.as_str(), "call", properties).await?;
    let call = next(&mut serving).await?;
    let reply_to = call.properties.reply_to().clone().context("no reply_to")?;
    drop(replies);
    within(caller.connection.close(200, "bye".into())).await??;
    // As RabbitMQ since 4.2: not returned, although it is mandatory.
    server.send("", reply_to.as_str(), "late").await?;
    Ok(())
}

#[tokio::test]
async fn persistent_message_in_a_durable_queue_is_confirmed() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    let queue = ShortString::from("pattern-durable");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    within(session.channel.queue_declare(queue.clone(), durable, none())).await??;
    for n in 0..50 {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = n.to_string();
        assert!(session.publish("", queue.as_str(), &body, properties).await?.is_ack());
    }
    let deleted =
        within(session.channel.queue_delete(queue, QueueDeleteOptions::default())).await??;
    assert_eq!(deleted, 50);
    Ok(())
}

#[tokio::test]
async fn failed_work_is_retried_after_a_pause_and_given_up_by_its_count() -> Result<()> {
    const RETRIES: i64 = 3;
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    // Work is rejected into the waiting room, where it expires back to the work queue.
    session.exchange("pattern-retry", ExchangeKind::Direct, none()).await?;
    let work = session.queue(arguments(&[
        ("x-dead-letter-exchange", text("pattern-retry")),
        ("x-dead-letter-routing-key", text("wait")),
    ]));
    let work = work.await?;
    let waiting = session.queue(arguments(&[
        ("x-message-ttl", AMQPValue::LongInt(100)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(work.as_str())),
    ]));
    let waiting = waiting.await?;
    session.bind(&waiting, "pattern-retry", "wait").await?;
    let mut consumer = session.consume(&work, false).await?;
    session.send("", work.as_str(), "try").await?;
    let mut time = Stopwatch::start();
    for attempt in 0..=RETRIES {
        let delivery = next(&mut consumer).await?;
        assert_eq!(deaths(&delivery, work.as_str(), "rejected"), attempt);
        assert_eq!(deaths(&delivery, waiting.as_str(), "expired"), attempt);
        if attempt > 0 {
            // As above.
            assert!(time.elapsed() >= Duration::from_millis(99), "never early");
        }
        time = Stopwatch::start();
        if attempt < RETRIES {
            within(delivery.acker.reject(BasicRejectOptions { requeue: false })).await??;
        } else {
            within(delivery.acker.ack(BasicAckOptions::default())).await??;
        }
    }
    Ok(())
}

/// How often the message died in that queue for that reason, as its headers tell.
fn deaths(delivery: &Delivery, queue: &str, reason: &str) -> i64 {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let Some(AMQPValue::FieldArray(list)) = headers.inner().get("x-death").cloned() else {
        return 0;
    };
    let count = list.as_slice().iter().find_map(|entry| {
        let AMQPValue::FieldTable(entry) = entry else { return None };
        let entry = entry.inner();
        let is = |name: &str, value: &str| entry.get(name) == Some(&text(value));
        match entry.get("count") {
            Some(AMQPValue::LongLongInt(count)) if is("queue", queue) && is("reason", reason) => {
                Some(*count)
            }
            _ => None,
        }
    });
    count.unwrap_or(0)
}

#[tokio::test]
async fn dead_letter_keeps_its_message_and_tells_where_it_died() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    let grave = session.queue(none()).await?;
    session.exchange("pattern-dlx", ExchangeKind::Direct, none()).await?;
    session.bind(&grave, "pattern-dlx", "work.key").await?;
    session.exchange("pattern-in", ExchangeKind::Direct, none()).await?;
    let to_grave = arguments(&[("x-dead-letter-exchange", text("pattern-dlx"))]);
    let source = session.queue(to_grave).await?;
    session.bind(&source, "pattern-in", "work.key").await?;
    let properties = BasicProperties::default()
        .with_headers(arguments(&[("mine", AMQPValue::Boolean(true))]))
        .with_message_id("id-1".into())
        .with_expiration("60000".into())
        .with_delivery_mode(2);
    assert!(session.publish("pattern-in", "work.key", "bad", properties).await?.is_ack());
    let got =
        within(session.channel.basic_get(source.clone(), BasicGetOptions::default())).await??;
    let nack = BasicNackOptions { requeue: false, multiple: false };
    within(got.context("nothing to get")?.acker.nack(nack)).await??;
    let dead = next(&mut session.consume(&grave, true).await?).await?;
    assert_eq!((dead.exchange.as_str(), dead.routing_key.as_str()), ("pattern-dlx", "work.key"));
    assert_eq!(dead.data, b"bad");
    assert_eq!(dead.properties.message_id().as_ref().map(ShortString::as_str), Some("id-1"));
    assert_eq!(*dead.properties.delivery_mode(), Some(2));
    assert_eq!(*dead.properties.expiration(), None);
    assert_eq!(deaths(&dead, source.as_str(), "rejected"), 1);
    let headers = dead.properties.headers().clone().unwrap_or_default();
    let headers = headers.inner();
    assert_eq!(headers.get("mine"), Some(&AMQPValue::Boolean(true)));
    assert_eq!(headers.get("x-first-death-exchange"), Some(&text("pattern-in")));
    assert_eq!(headers.get("x-last-death-reason"), Some(&text("rejected")));
    Ok(())
}

#[tokio::test]
async fn messages_expire_and_never_early() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    let grave = session.queue(none()).await?;
    let source = session
        .queue(arguments(&[
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(grave.as_str())),
        ]))
        .await?;
    let mut dying = session.consume(&grave, true).await?;
    let time = Stopwatch::start();
    for (body, expiration) in [("short", "300"), ("long", "600")] {
        let properties = BasicProperties::default().with_expiration(expiration.into());
        session.publish("", source.as_str(), body, properties).await?;
    }
    for (body, least) in [("short", 300), ("long", 600)] {
        assert_eq!(next_text(&mut dying).await?, body);
        let took = time.elapsed();
        // Clocks that count whole milliseconds may be one apart.
        assert!(took >= Duration::from_millis(least - 1), "{body} after {took:?}");
        assert!(
            took < Duration::from_millis(least) + Duration::from_secs(2),
            "{body} after {took:?}"
        );
    }
    assert_eq!(session.depth(&source).await?, 0);
    Ok(())
}

#[tokio::test]
async fn higher_priorities_come_first_and_each_in_order() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    let queue = session.queue(arguments(&[("x-max-priority", AMQPValue::LongInt(5))])).await?;
    // None is 0, and what is above the maximum is the maximum.
    let messages = [
        ("a", Some(1)),
        ("b", None),
        ("c", Some(5)),
        ("d", Some(1)),
        ("e", Some(200)),
        ("f", Some(0)),
    ];
    for (body, priority) in messages {
        let properties = BasicProperties::default();
        let properties = match priority {
            Some(priority) => properties.with_priority(priority),
            None => properties,
        };
        session.publish("", queue.as_str(), body, properties).await?;
    }
    let mut consumer = session.consume(&queue, true).await?;
    let mut order = String::new();
    for _ in messages {
        order.push_str(&next_text(&mut consumer).await?);
    }
    assert_eq!(order, "ceadbf");
    Ok(())
}

#[tokio::test]
async fn unroutable_messages_go_to_the_alternate_exchange() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    session.exchange("pattern-rest", ExchangeKind::Fanout, none()).await?;
    let rest = session.queue(none()).await?;
    session.bind(&rest, "pattern-rest", "").await?;
    let alternate = arguments(&[("alternate-exchange", text("pattern-rest"))]);
    session.exchange("pattern-main", ExchangeKind::Direct, alternate).await?;
    let known = session.queue(none()).await?;
    session.bind(&known, "pattern-main", "known").await?;
    session.send("pattern-main", "known", "a").await?;
    // Routed by the alternate exchange, so not returned either.
    session.send("pattern-main", "unknown", "b").await?;
    assert_eq!((session.depth(&known).await?, session.depth(&rest).await?), (1, 1));
    let mut consumer = session.consume(&rest, true).await?;
    let delivery = next(&mut consumer).await?;
    assert_eq!(
        (delivery.exchange.as_str(), delivery.routing_key.as_str()),
        ("pattern-main", "unknown")
    );
    Ok(())
}

#[tokio::test]
async fn consumer_is_told_that_its_queue_is_deleted() -> Result<()> {
    let broker = Broker::shared();
    let (owner, other) = (Session::open(&broker).await?, Session::open(&broker).await?);
    let queue = ShortString::from("pattern-deleted");
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    within(owner.channel.queue_declare(queue.clone(), options, none())).await??;
    let mut consumer = owner.consume(&queue, true).await?;
    within(other.channel.queue_delete(queue, QueueDeleteOptions::default())).await??;
    assert!(within(consumer.next()).await?.is_none());
    // The channel lives on.
    owner.queue(none()).await?;
    Ok(())
}

#[tokio::test]
async fn exchanges_bound_to_exchanges_pass_on_each_message_once() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    for name in ["pattern-e1", "pattern-e2", "pattern-e3"] {
        session.exchange(name, ExchangeKind::Fanout, none()).await?;
    }
    let bind = |to: &str, from: &str| {
        let options = lapin::options::ExchangeBindOptions::default();
        session.channel.exchange_bind(to.into(), from.into(), "".into(), options, none())
    };
    // A circle, and two ways to the same queue.
    for (to, from) in [
        ("pattern-e2", "pattern-e1"),
        ("pattern-e3", "pattern-e2"),
        ("pattern-e1", "pattern-e3"),
        ("pattern-e3", "pattern-e1"),
    ] {
        within(bind(to, from)).await??;
    }
    let queue = session.queue(none()).await?;
    session.bind(&queue, "pattern-e3", "").await?;
    session.bind(&queue, "pattern-e1", "").await?;
    session.send("pattern-e1", "", "once").await?;
    assert_eq!(session.depth(&queue).await?, 1);
    Ok(())
}

#[tokio::test]
async fn headers_route_by_what_they_hold() -> Result<()> {
    let broker = Broker::shared();
    let session = Session::open(&broker).await?;
    session.exchange("pattern-headers", ExchangeKind::Headers, none()).await?;
    let mut queues = Vec::new();
    for kind in ["all", "any"] {
        let queue = session.queue(none()).await?;
        let criteria = arguments(&[
            ("x-match", text(kind)),
            ("format", text("pdf")),
            ("pages", AMQPValue::LongInt(3)),
        ]);
        let options = QueueBindOptions::default();
        let exchange = "pattern-headers".into();
        within(session.channel.queue_bind(queue.clone(), exchange, "".into(), options, criteria))
            .await??;
        queues.push(queue);
    }
    let pdf = ("format", text("pdf"));
    let three = ("pages", AMQPValue::LongLongInt(3));
    for headers in [vec![pdf.clone(), three.clone()], vec![pdf], vec![three], vec![]] {
        let properties = BasicProperties::default().with_headers(arguments(&headers));
        session.publish("pattern-headers", "", "x", properties).await?;
    }
    assert_eq!((session.depth(&queues[0]).await?, session.depth(&queues[1]).await?), (1, 3));
    Ok(())
}

#[test]
fn transaction_takes_effect_with_its_commit_and_not_before() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    client.open(2);
    client.declare(2, "pattern-tx");
    client.call(1, tx::Select::default());
    for number in 1..=3 {
        client.publish(1, &Outgoing::number("pattern-tx", number));
    }
    assert_eq!(client.counts(1, "pattern-tx").0, 0);
    client.call(1, tx::Commit::default());
    assert_eq!(client.counts(2, "pattern-tx").0, 3);

    // An ack that is rolled back leaves the message unacked; the commit of the next one takes it.
    client.publish(1, &Outgoing::number("pattern-tx", 4));
    let first = client.get(1, "pattern-tx", false).unwrap();
    client.ack(1, first.delivery_tag, false);
    client.call(1, tx::Rollback::default());
    assert_eq!(client.counts(2, "pattern-tx").0, 2);
    client.ack(1, first.delivery_tag, false);
    client.call(1, tx::Commit::default());
    client.close_channel(1);
    assert_eq!(client.counts(2, "pattern-tx").0, 2);
    assert_eq!(client.get(2, "pattern-tx", true).unwrap().number(), 2);
}

#[test]
fn commit_without_a_transaction_closes_the_channel() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    let refused = client.refused(1, tx::Commit::default());
    let text = "PRECONDITION_FAILED - channel is not transactional";
    assert_eq!((refused.channel, refused.code, refused.text.as_str()), (1, 406, text));
}

#[test]
fn consumer_that_cannot_be_told_of_its_cancel_hears_nothing() {
    let broker = Broker::shared();
    let login = Login { capable: false, ..Login::default() };
    let mut old = Client::login(broker.amqp(), &login);
    old.open(1);
    let mut client = Client::connect(&broker);
    client.declare(1, "pattern-uncancelled");
    old.consume(1, "pattern-uncancelled", "old", false);
    let delete = leveret_tests::queue::Delete {
        queue: "pattern-uncancelled".into(),
        ..leveret_tests::queue::Delete::default()
    };
    client.call(1, delete);
    assert_eq!(old.next_event(Duration::from_millis(300)), None);
    let _ = old.declare_own(1);
}

#[test]
fn mandatory_message_without_a_queue_is_returned_before_its_confirm() {
    let broker = Broker::shared();
    let mut client = Client::connect(&broker);
    client.confirms(1);
    client.publish(1, &Outgoing::new("amq.direct", "nobody", "back").mandatory());
    let first = client.next_event(PATIENCE);
    let Some(leveret_tests::Event::Returned(message, text)) = first else {
        panic!("{first:?} came first")
    };
    assert_eq!((message.text().as_str(), text.as_str()), ("back", "NO_ROUTE"));
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), ("amq.direct", "nobody"));
    assert_eq!(client.next_confirm(1), (1, false, true));
}
