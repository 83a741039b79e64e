//! What the lapin tests share: a connection, a channel and a queue of their own, and waiting with
//! a limit.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Context;
use futures_lite::StreamExt;
use lapin::Confirmation;
use lapin::message::Delivery;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

/// How long anything may take that the broker is expected to do.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection with one channel in confirm mode, and a queue that goes with the connection.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// Its first channel, with confirms.
    pub channel: Channel,
    /// An exclusive queue named by the broker.
    pub queue: ShortString,
}

impl Session {
    /// Connects to the broker that `AMQP_URL` names.
    ///
    /// # Errors
    /// When there is no such variable or the broker refuses.
    pub async fn open() -> anyhow::Result<Self> {
        Self::with_queue_arguments(FieldTable::default()).await
    }

    /// As [`Session::open`], with arguments for the queue.
    ///
    /// # Errors
    /// When there is no such variable or the broker refuses.
    pub async fn with_queue_arguments(arguments: FieldTable) -> anyhow::Result<Self> {
        let url = std::env::var("AMQP_URL").context("AMQP_URL names the broker under test")?;
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        let connection = within(connecting).await??;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let queue = declare(&channel, arguments).await?;
        Ok(Self { connection, channel, queue })
    }

    /// Publishes to the session's queue and waits for the confirm.
    ///
    /// # Errors
    /// When the channel is closed or no confirm comes.
    pub async fn publish(&self, body: &[u8]) -> anyhow::Result<Confirmation> {
        publish(&self.channel, "", self.queue.as_str(), body, BasicProperties::default()).await
    }
}

/// An exclusive queue with a name from the broker.
///
/// # Errors
/// When the broker refuses it.
pub async fn declare(channel: &Channel, arguments: FieldTable) -> anyhow::Result<ShortString> {
    let options = QueueDeclareOptions::exclusive();
    Ok(channel.queue_declare("".into(), options, arguments).await?.name().clone())
}

/// Publishes with the mandatory flag and waits for the confirm.
///
/// # Errors
/// When the channel is closed or no confirm comes.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> anyhow::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?;
    Ok(within(confirm).await??)
}

/// The consumer's next delivery.
///
/// # Errors
/// When none comes or the consumer has ended.
pub async fn next(consumer: &mut Consumer) -> anyhow::Result<Delivery> {
    within(consumer.next()).await?.context("the consumer has ended")?.context("no delivery")
}

/// Waits with the limit that every step of these tests has.
///
/// # Errors
/// When the limit is over.
pub async fn within<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(LIMIT, future)
        .await
        .with_context(|| format!("nothing happened for {} s", LIMIT.as_secs()))
}
