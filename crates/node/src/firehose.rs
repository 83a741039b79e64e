//! Publishes copies of messages to the firehose of their vhost.
// rabbitmq: rabbit_trace

use leveret_engine::firehose::{Copy, EXCHANGE, Event, Sighting};
use leveret_protocol::{Tap, TapEvent};

use crate::effects::{Scope, Unsent};
use crate::node::Node;

impl Node {
    /// Copies what a client has published or is about to get, over the broker's end `local` of its connection.
    pub(crate) fn tap(&self, tap: &Tap<'_>, local: &str, scope: &mut Scope<'_>) {
        let connection = format!("{} -> {local}", tap.peer);
        let Some(copy) = self.copy(tap, &connection) else { return };
        let keys = [copy.routing_key.as_slice()];
        let message = Unsent { exchange: EXCHANGE, keys: &keys, block: &copy.block };
        self.send(tap.vhost, &message, |_| true, scope);
    }

    fn copy(&self, tap: &Tap<'_>, connection: &str) -> Option<Copy> {
        let topology = self.topology.read();
        let name = |id| topology.queue_by_id(id).map(|queue| &*queue.name);
        let routed: Vec<&str>;
        let event = match tap.event {
            TapEvent::Published(queues) => {
                routed = queues.iter().filter_map(|id| name(*id)).collect();
                Event::Published(&routed)
            }
            TapEvent::Delivered { queue, redelivered } => {
                Event::Delivered { queue: name(queue)?, redelivered }
            }
        };
        let seen = Sighting {
            node: &self.name,
            vhost: tap.vhost,
            connection,
            channel: tap.channel,
            user: tap.user,
            event,
        };
        Copy::of(&tap.record, &seen)
    }
}
