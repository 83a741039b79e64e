//! An AMQP client inside the process, for a person who came by HTTP: publishing and getting by hand go
//! the way of every other client, so that rights, limits and errors are the same. Holds no broker rule.

mod client;
pub(crate) mod redrive;

use crate::clock::Clock;
use client::{Client, Said};
use leveret_codec::amqp::{AMQPClass, basic};
use leveret_codec::{put_body, put_content_header, put_method, put_nack, short_string};
use leveret_engine::auth::User;
use leveret_engine::view::{
    HandGet, HandGot, HandPublish, HandPublished, HandRefused, HandSettle, PutMessage,
};
use leveret_node::Node;
use std::sync::Arc;
use std::time::Duration;

/// How long a person waits for all of one request. A broker under an alarm does not read publishers,
/// and a mirror may be slow; RabbitMQ waits five seconds.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Payload kept for one request to get messages, in bytes: they are all in memory until the answer is
/// written. Beyond it fewer messages are got than were asked for.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Messages that one request gets at most; each costs a few hundred bytes until the answer is written.
const GOT_MAX: u64 = 50_000;

/// The channel used.
const CHANNEL: u16 = 1;

/// Publishes a message and waits for the confirm.
pub(crate) async fn publish(
    node: &Arc<Node>,
    clock: &Arc<Clock>,
    message: HandPublish,
) -> Result<HandPublished, HandRefused> {
    let work = async {
        let mut client = Client::open(node, clock, &message.user, &message.vhost).await?;
        client.select_confirms().await?;
        let publish = basic::AMQPMethod::Publish(basic::Publish {
            exchange: short_string(&message.exchange),
            routing_key: short_string(&message.routing_key),
            mandatory: true,
            immediate: false,
        });
        client.send(|out, frame_max| {
            put_method(out, CHANNEL, &AMQPClass::Basic(publish));
            put_content_header(out, CHANNEL, message.body.len() as u64, &message.properties);
            put_body(out, CHANNEL, frame_max, &message.body);
        });
        let mut outcome = HandPublished::Routed;
        loop {
            match client.said().await? {
                Said::Method(AMQPClass::Basic(basic::AMQPMethod::Return(_))) => {
                    outcome = HandPublished::Unroutable;
                }
                Said::Confirmed(_) => break,
                Said::Refused(_) => {
                    outcome = HandPublished::Rejected;
                    break;
                }
                Said::Method(_) | Said::Header { .. } | Said::Body(_) => {}
            }
        }
        client.close().await;
        Ok(outcome)
    };
    within(work).await
}

/// Puts messages into a queue as they are, and waits until it has confirmed them all.
pub(crate) async fn put(
    node: &Arc<Node>,
    clock: &Arc<Clock>,
    vhost: &str,
    queue: &str,
    messages: Vec<PutMessage>,
) -> Result<(), HandRefused> {
    let work = async {
        let refused = |text: String| HandRefused { code: 406, text };
        let queue = node.find_queue(vhost, queue).map_err(|error| refused(error.explain()))?;
        let mut client = Client::open(node, clock, &Arc::new(User::operator()), vhost).await?;
        client.select_confirms().await?;
        for message in &messages {
            client.put(queue.id, message);
        }
        let mut left: Vec<u64> = (1..=messages.len() as u64).collect();
        while !left.is_empty() {
            match client.said().await? {
                Said::Confirmed(settled) => left.retain(|number| !settled.is_of(*number)),
                Said::Refused(_) => return Err(refused("the queue is full".to_owned())),
                Said::Method(_) | Said::Header { .. } | Said::Body(_) => {}
            }
        }
        client.close().await;
        Ok(())
    };
    within(work).await
}

/// Gets messages, and settles them as was asked.
pub(crate) async fn get(
    node: &Arc<Node>,
    clock: &Arc<Clock>,
    wanted: HandGet,
) -> Result<Vec<HandGot>, HandRefused> {
    let work = async {
        let mut client = Client::open(node, clock, &wanted.user, &wanted.vhost).await?;
        let mut got = Vec::new();
        let mut kept = 0;
        let mut last = 0;
        while (got.len() as u64) < wanted.count.min(GOT_MAX) && kept < KEPT_BYTES_MAX {
            let (queue, no_ack) = (&wanted.queue, wanted.settle == HandSettle::Ack);
            let got_one = one(&mut client, queue, no_ack, wanted.keep_bytes).await?;
            let Some((tag, message)) = got_one else { break };
            kept += message.body.len();
            last = tag;
            got.push(message);
        }
        if last > 0 {
            client.send(|out, _| settle(out, wanted.settle, last));
        }
        client.close().await;
        Ok(got)
    };
    within(work).await
}

async fn within<T>(work: impl Future<Output = Result<T, HandRefused>>) -> Result<T, HandRefused> {
    match tokio::time::timeout(TIME_MAX, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(HandRefused { code: 541, text: "timeout".to_owned() }),
    }
}

/// One message and its delivery tag; `None` when the queue has no more.
async fn one(
    client: &mut Client,
    queue: &str,
    no_ack: bool,
    keep_bytes: usize,
) -> Result<Option<(u64, HandGot)>, HandRefused> {
    let get = basic::AMQPMethod::Get(basic::Get { queue: short_string(queue), no_ack });
    client.send(|out, _| put_method(out, CHANNEL, &AMQPClass::Basic(get)));
    let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = client.method().await? else {
        return Ok(None);
    };
    let mut message = HandGot {
        redelivered: ok.redelivered,
        exchange: ok.exchange.to_string(),
        routing_key: ok.routing_key.to_string(),
        message_count: u64::from(ok.message_count),
        ..HandGot::default()
    };
    let mut left = 0;
    let mut begun = false;
    while !begun || left > 0 {
        match client.said().await? {
            Said::Header { body_bytes, properties } => {
                begun = true;
                left = body_bytes;
                message.body_bytes = body_bytes;
                message.properties = properties;
            }
            Said::Body(piece) => {
                left = left.saturating_sub(piece.len() as u64);
                let room = keep_bytes.saturating_sub(message.body.len());
                message.body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
            }
            Said::Method(_) | Said::Confirmed(_) | Said::Refused(_) => {}
        }
    }
    Ok(Some((ok.delivery_tag, message)))
}

fn settle(out: &mut bytes::BytesMut, how: HandSettle, last: u64) {
    match how {
        HandSettle::Ack => {}
        HandSettle::Return => put_nack(out, CHANNEL, last, true, true),
        HandSettle::RejectAndReturn | HandSettle::Reject => {
            let requeue = how == HandSettle::RejectAndReturn;
            // Reject knows no "multiple"; tags of one channel count from 1.
            for delivery_tag in 1..=last {
                let reject = basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue });
                put_method(out, CHANNEL, &AMQPClass::Basic(reject));
            }
        }
    }
}
