//! What management sees of this node: copies, made when somebody asks.

use std::sync::Arc;

use leveret_engine::view::{
    ChannelView, ConnectionView, ConsumerView, MessageStats, QueueFigures, Registry, TlsView,
    Totals,
};
use leveret_engine::{
    BrokerError, ConnectionId, QueueId, QueueMeta, ResourceName, Timestamp, Topology,
};
use leveret_protocol::{ChannelInfo, Event, MessageCounters};

use crate::connections::Handle;
use crate::effects::Scope;
use crate::node::Node;

/// The two ends of a connection, as management shows them.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The broker's address and port.
    pub local: Arc<str>,
    /// What TLS has settled; `None` without TLS.
    pub tls: Option<Arc<TlsView>>,
}

impl Registry for Node {
    fn with_topology(&self, f: &mut dyn FnMut(&Topology)) {
        f(&self.topology.read());
    }

    fn queue_figures(&self, id: QueueId) -> Option<QueueFigures> {
        let cell = self.queues.get(id)?;
        let queue = cell.queue.lock();
        let single = queue.settings().single_active_consumer;
        let tag = |wanted: bool, exclusive: bool| {
            queue
                .consumers()
                .find(|consumer| {
                    wanted && (if exclusive { consumer.spec.exclusive } else { consumer.active })
                })
                .map(|consumer| Arc::clone(&consumer.spec.tag))
        };
        Some(QueueFigures {
            counts: queue.counts(),
            stats: *queue.stats(),
            memory: queue.memory() as u64,
            oldest_ready: queue.oldest_ready(),
            exclusive_consumer: tag(true, true),
            single_active_consumer: tag(single, false),
        })
    }

    fn connections(&self) -> Vec<ConnectionView> {
        self.connections.all().iter().filter_map(|handle| connection_view(handle)).collect()
    }

    fn channels(&self) -> Vec<ChannelView> {
        let mut channels = Vec::new();
        for handle in self.connections.all() {
            if let Some(shape) = handle.shape() {
                channels.extend(shape.channels.iter().map(channel_view));
            }
        }
        channels
    }

    fn consumers(&self) -> Vec<ConsumerView> {
        let mut consumers = Vec::new();
        for cell in self.queues.all() {
            let queue = cell.queue.lock();
            consumers.extend(queue.consumers().map(|consumer| ConsumerView {
                id: consumer.spec.id,
                channel: consumer.spec.channel,
                queue: cell.id,
                vhost: Arc::clone(queue.vhost()),
                queue_name: Arc::clone(queue.name()),
                tag: Arc::clone(&consumer.spec.tag),
                no_ack: consumer.spec.no_ack,
                exclusive: consumer.spec.exclusive,
                active: consumer.active,
                prefetch: consumer.spec.prefetch,
                arguments: consumer.spec.arguments.clone(),
                user: Arc::clone(&consumer.spec.user),
            }));
        }
        consumers
    }

    fn totals(&self) -> Totals {
        let tally = self.tally();
        let mut totals = Totals {
            connections: self.connections.len() as u64,
            connections_opened: self.ids.connections_made(),
            connections_closed: tally.connections_closed,
            channels: tally.channels_opened.saturating_sub(tally.channels_closed),
            channels_opened: tally.channels_opened,
            channels_closed: tally.channels_closed,
            received_bytes: tally.bytes_received,
            sent_bytes: tally.bytes_sent,
            messages: message_stats(&tally.messages),
            published_bytes: tally.messages.publish_bytes,
            published_sizes: tally.messages.publish_sizes,
            ..Totals::default()
        };
        self.queues.churn().add_to(&mut totals);
        for cell in self.queues.all() {
            let counts = cell.queue.lock().counts();
            totals.queues += 1;
            totals.consumers += u64::from(counts.consumers);
            totals.ready += counts.ready;
            totals.unacked += counts.unacked;
            totals.ready_bytes += counts.ready_bytes;
            totals.unacked_bytes += counts.unacked_bytes;
        }
        totals
    }
}

impl Node {
    /// Removes what is ready in a queue, and says how much that was.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn purge_queue(&self, vhost: &str, name: &str, now: Timestamp) -> Result<u64, BrokerError> {
        let queue = self.find_queue(vhost, name)?;
        let Some(cell) = self.queues.get(queue.id) else { return Ok(0) };
        let mut scope = Scope::new(now);
        let purged = self.with_queue(&cell, &mut scope, |queue, fx| queue.purge(fx));
        self.finish(&mut scope);
        Ok(purged)
    }

    /// A queue by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_queue(&self, vhost: &str, name: &str) -> Result<Arc<QueueMeta>, BrokerError> {
        let found = self.topology.read().queue(vhost, name).cloned();
        found.ok_or_else(|| BrokerError::NotFound(ResourceName::queue(&Arc::from(vhost), name)))
    }

    /// Asks a client to go: 320 with `reason`. `false` if it is gone already.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let event = Event::forced_close(reason);
        self.connections.with(id, |handle| handle.mailbox.post(event)).is_some()
    }
}

fn connection_view(handle: &Handle) -> Option<ConnectionView> {
    let shape = handle.shape()?;
    let (counters, sent_bytes) = handle.counters();
    let info = &shape.connection;
    Some(ConnectionView {
        id: info.id,
        peer: Arc::clone(&info.peer),
        local: Arc::clone(&handle.endpoints.local),
        tls: handle.endpoints.tls.clone(),
        user: Arc::clone(&info.user),
        vhost: Arc::clone(&info.vhost),
        mechanism: info.mechanism,
        client_properties: info.client_properties.clone(),
        user_provided_name: info.user_provided_name.as_deref().map(Arc::from),
        state: info.state.name(),
        channels: info.channels as u32,
        channel_max: info.channel_max,
        frame_max: info.frame_max,
        heartbeat: info.heartbeat,
        connected_at: info.connected_at,
        received_bytes: counters.bytes_received,
        sent_bytes,
        received_frames: counters.frames_received,
    })
}

fn channel_view(info: &ChannelInfo) -> ChannelView {
    ChannelView {
        key: info.key,
        consumers: info.consumers.len() as u32,
        unacked: info.unacked,
        unconfirmed: info.unconfirmed,
        uncommitted: info.uncommitted,
        uncommitted_acks: info.uncommitted_acks,
        prefetch: u32::from(info.prefetch),
        global_prefetch: info.global_prefetch,
        confirm: info.confirm,
        transactional: info.transactional,
        stats: message_stats(&info.counters),
    }
}

fn message_stats(counters: &MessageCounters) -> MessageStats {
    MessageStats {
        publish: counters.publish,
        confirm: counters.confirm,
        return_unroutable: counters.return_unroutable,
        drop_unroutable: counters.drop_unroutable,
        deliver: counters.deliver,
        deliver_no_ack: counters.deliver_no_ack,
        redeliver: counters.redeliver,
        get: counters.get,
        get_no_ack: counters.get_no_ack,
        get_empty: counters.get_empty,
        ack: counters.ack,
    }
}
