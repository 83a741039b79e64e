//! What Rust programs do with lapin, against the broker that `AMQP_URL` names.

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions, BasicRejectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Consumer, ErrorKind, ExchangeKind};
use leveret_interop_lapin::{Session, declare, next, publish, within};

type Outcome = anyhow::Result<()>;

async fn consume(session: &Session, no_ack: bool) -> anyhow::Result<Consumer> {
    let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
    let queue = session.queue.clone();
    let tag = "".into();
    Ok(session.channel.basic_consume(queue, tag, options, FieldTable::default()).await?)
}

async fn depth(session: &Session) -> anyhow::Result<u32> {
    let options = QueueDeclareOptions::default().passive();
    let queue = session.queue.clone();
    Ok(session.channel.queue_declare(queue, options, FieldTable::default()).await?.message_count())
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

/// The reply code with which the broker closed the channel.
fn soft_error(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

#[tokio::test]
async fn message_arrives_with_its_properties() -> Outcome {
    let session = Session::open().await?;
    let headers = arguments(&[
        ("text", text("ä")),
        ("number", AMQPValue::LongLongInt(-1)),
        ("table", AMQPValue::FieldTable(arguments(&[("yes", AMQPValue::Boolean(true))]))),
    ]);
    let sent = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_correlation_id("correlation".into())
        .with_delivery_mode(2)
        .with_timestamp(1_700_000_000)
        .with_headers(headers);
    let queue = session.queue.as_str();
    assert!(publish(&session.channel, "", queue, b"hello", sent.clone()).await?.is_ack());
    let delivery = next(&mut consume(&session, true).await?).await?;
    assert_eq!(delivery.data, b"hello");
    assert_eq!(delivery.properties, sent);
    assert!(!delivery.redelivered);
    Ok(())
}

#[tokio::test]
async fn bodies_of_several_frames_arrive_whole() -> Outcome {
    let session = Session::open().await?;
    let mut consumer = consume(&session, true).await?;
    for size in [0, 1, 131_064, 131_065, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
        session.publish(&body).await?;
        assert!(next(&mut consumer).await?.data == body, "{size} bytes differ");
    }
    Ok(())
}

#[tokio::test]
async fn thousand_unawaited_publishes_are_all_confirmed_and_in_order() -> Outcome {
    let session = Session::open().await?;
    let mut confirms = Vec::new();
    for i in 0..1000_u32 {
        let body = i.to_be_bytes();
        let confirm = session.channel.basic_publish(
            "".into(),
            session.queue.clone(),
            lapin::options::BasicPublishOptions::default(),
            &body,
            BasicProperties::default(),
        );
        confirms.push(confirm.await?);
    }
    for confirm in confirms {
        assert!(within(confirm).await??.is_ack());
    }
    let mut consumer = consume(&session, true).await?;
    for i in 0..1000_u32 {
        assert_eq!(next(&mut consumer).await?.data, i.to_be_bytes());
    }
    Ok(())
}

#[tokio::test]
async fn unroutable_message_is_returned_with_its_confirm() -> Outcome {
    let session = Session::open().await?;
    let properties = BasicProperties::default().with_priority(7);
    let confirm = publish(&session.channel, "", "nobody", b"back", properties.clone()).await?;
    assert!(confirm.is_ack());
    let returned = confirm.take_message().unwrap();
    assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    assert_eq!((returned.data.as_slice(), &returned.properties), (&b"back"[..], &properties));
    Ok(())
}

#[tokio::test]
async fn full_queue_refuses_with_a_nack() -> Outcome {
    let limit = [("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))];
    let session = Session::with_queue_arguments(arguments(&limit)).await?;
    assert!(session.publish(b"first").await?.is_ack());
    assert!(session.publish(b"second").await?.is_nack());
    assert_eq!(depth(&session).await?, 1);
    Ok(())
}

#[tokio::test]
async fn prefetch_limits_what_is_unacknowledged() -> Outcome {
    let session = Session::open().await?;
    for i in 0..10_u8 {
        session.publish(&[i]).await?;
    }
    session.channel.basic_qos(3, BasicQosOptions::default()).await?;
    let mut consumer = consume(&session, false).await?;
    next(&mut consumer).await?;
    next(&mut consumer).await?;
    let third = next(&mut consumer).await?;
    assert_eq!(depth(&session).await?, 7);
    third.acker.ack(BasicAckOptions { multiple: true }).await?;
    for i in 3..6_u8 {
        assert_eq!(next(&mut consumer).await?.data, [i]);
    }
    assert_eq!(depth(&session).await?, 4);
    Ok(())
}

#[tokio::test]
async fn requeued_message_comes_back_marked_and_in_its_place() -> Outcome {
    let session = Session::open().await?;
    session.publish(b"first").await?;
    session.publish(b"second").await?;
    let options = BasicGetOptions::default();
    let got = session.channel.basic_get(session.queue.clone(), options).await?.unwrap();
    got.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await?;
    let mut consumer = consume(&session, true).await?;
    let (first, second) = (next(&mut consumer).await?, next(&mut consumer).await?);
    assert_eq!((first.data.as_slice(), first.redelivered), (&b"first"[..], true));
    assert_eq!((second.data.as_slice(), second.redelivered), (&b"second"[..], false));
    Ok(())
}

#[tokio::test]
async fn rejected_message_is_dead_lettered() -> Outcome {
    let session = Session::open().await?;
    let to = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(session.queue.as_str())),
    ];
    let source = declare(&session.channel, arguments(&to)).await?;
    publish(&session.channel, "", source.as_str(), b"bad", BasicProperties::default()).await?;
    let options = BasicGetOptions::default();
    let got = session.channel.basic_get(source.clone(), options).await?.unwrap();
    got.acker.reject(BasicRejectOptions { requeue: false }).await?;
    let dead = next(&mut consume(&session, true).await?).await?;
    let headers = dead.properties.headers().clone().unwrap_or_default();
    assert_eq!(headers.inner().get("x-first-death-reason"), Some(&text("rejected")));
    assert_eq!(headers.inner().get("x-first-death-queue"), Some(&text(source.as_str())));
    Ok(())
}

#[tokio::test]
async fn topic_exchange_routes_by_pattern() -> Outcome {
    let session = Session::open().await?;
    let exchange = ShortString::from(format!("lapin-{}", session.queue));
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    let channel = &session.channel;
    let none = FieldTable::default();
    channel.exchange_declare(exchange.clone(), ExchangeKind::Topic, options, none.clone()).await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(session.queue.clone(), exchange.clone(), "*.log.#".into(), bind, none)
        .await?;
    for (key, matches) in [("a.log", true), ("a.log.b.c", true), ("a.b.log", false)] {
        let properties = BasicProperties::default();
        let confirm = publish(channel, exchange.as_str(), key, key.as_bytes(), properties).await?;
        assert_eq!(confirm.take_message().is_none(), matches, "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn cancelled_consumer_ends_and_leaves_the_rest() -> Outcome {
    let session = Session::open().await?;
    let consumer = consume(&session, false).await?;
    session.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    session.publish(b"left").await?;
    assert_eq!(depth(&session).await?, 1);
    Ok(())
}

#[tokio::test]
async fn deleting_the_queue_ends_its_consumer() -> Outcome {
    let session = Session::open().await?;
    let mut consumer = consume(&session, true).await?;
    let other = session.connection.create_channel().await?;
    other.queue_delete(session.queue.clone(), QueueDeleteOptions::default()).await?;
    assert!(within(futures_lite::StreamExt::next(&mut consumer)).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn missing_queue_closes_the_channel_with_404_and_no_other() -> Outcome {
    let session = Session::open().await?;
    let options = QueueDeclareOptions::default().passive();
    let doomed = session.connection.create_channel().await?;
    let error = doomed
        .queue_declare("lapin-gone".into(), options, FieldTable::default())
        .await
        .expect_err("there is no such queue");
    assert_eq!(soft_error(&error), Some(&AMQPSoftError::NOTFOUND));
    assert!(error.to_string().contains("NOT_FOUND - no queue 'lapin-gone' in vhost '/'"));
    assert!(session.publish(b"still works").await?.is_ack());
    Ok(())
}

#[tokio::test]
async fn other_arguments_close_the_channel_with_406() -> Outcome {
    let session = Session::open().await?;
    let options = QueueDeclareOptions::exclusive();
    // Not the session's queue: names of the broker's making cannot be declared again at all.
    let name = ShortString::from(format!("lapin-{}", session.queue));
    session.channel.queue_declare(name.clone(), options, FieldTable::default()).await?;
    let other = arguments(&[("x-max-length", AMQPValue::LongInt(5))]);
    let error = session
        .channel
        .queue_declare(name, options, other)
        .await
        .expect_err("the queue has no such limit");
    assert_eq!(soft_error(&error), Some(&AMQPSoftError::PRECONDITIONFAILED));
    Ok(())
}

#[tokio::test]
async fn exclusive_queue_is_locked_to_other_connections() -> Outcome {
    let (owner, stranger) = (Session::open().await?, Session::open().await?);
    let options = QueueDeclareOptions::default().passive();
    let error = stranger
        .channel
        .queue_declare(owner.queue.clone(), options, FieldTable::default())
        .await
        .expect_err("the queue is another connection's");
    assert_eq!(soft_error(&error), Some(&AMQPSoftError::RESOURCELOCKED));
    Ok(())
}
