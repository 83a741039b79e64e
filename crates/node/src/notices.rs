//! The event exchange: whether anything is bound to it, and what is published there then. While nothing is, an event
//! costs one look at a flag.

use std::sync::atomic::{AtomicBool, Ordering};

use leveret_engine::Topology;
use leveret_engine::notice::clients::ClientFacts;
use leveret_engine::notice::{EVENT_EXCHANGE, EVENT_VHOST, Event, Notice};
use leveret_protocol::ConnectionEnd;

use crate::connections::{Handle, Shape};
use crate::effects::{Scope, Unsent};
use crate::node::Node;

/// Whether anybody wants to hear of events. Written with the topology locked, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    listened: AtomicBool,
}

impl Watched {
    /// Looks at what the topology says.
    pub(crate) fn follow(&self, topology: &Topology) {
        let vhost = topology.vhost(EVENT_VHOST);
        let bound = vhost.is_some_and(|vhost| vhost.bindings_from(EVENT_EXCHANGE).next().is_some());
        self.listened.store(bound, Ordering::Relaxed);
    }

    /// Whether anybody wants to hear of events.
    #[inline]
    pub(crate) fn is_listened(&self) -> bool {
        self.listened.load(Ordering::Relaxed)
    }
}

impl Node {
    fn notify(&self, vhost: &str, notice: Option<Notice>, scope: &mut Scope<'_>) {
        let Some(Notice { exchange, key, block }) = notice else { return };
        self.send(vhost, &Unsent { exchange, keys: &[&key], block: &block }, |_| true, scope);
    }

    /// Tells whoever listens what happened.
    pub(crate) fn tell(&self, event: Event, scope: &mut Scope<'_>) {
        let notice = event.notice(scope.now);
        self.notify(EVENT_VHOST, notice, scope);
    }

    /// Tells what a client does, if anybody listens.
    pub(crate) fn tell_of(
        &self,
        handle: &Handle,
        scope: &mut Scope<'_>,
        event: impl FnOnce(&ClientFacts<'_>) -> Event,
    ) {
        if !self.watched.is_listened() {
            return;
        }
        let Some(shape) = handle.shape() else { return };
        let event = event(&self.facts(&shape, handle));
        self.tell(event, scope);
    }

    fn facts<'a>(&'a self, shape: &'a Shape, handle: &'a Handle) -> ClientFacts<'a> {
        let info = &shape.connection;
        ClientFacts {
            peer: &info.peer,
            local: &handle.endpoints.local,
            user: &info.user,
            vhost: &info.vhost,
            mechanism: info.mechanism,
            tls: handle.endpoints.tls.is_some(),
            properties: &info.client_properties,
            heartbeat: info.heartbeat,
            frame_max: info.frame_max,
            channel_max: info.channel_max,
            connected_at: info.connected_at,
            node: &self.name,
        }
    }

    /// A client has logged in and opened its vhost.
    pub(crate) fn connection_opened(
        &self,
        handle: &Handle,
        user: &str,
        vhost: &str,
        scope: &mut Scope<'_>,
    ) {
        self.tell_of(handle, scope, |client| ClientFacts { user, vhost, ..*client }.logged_in());
        self.tell_of(handle, scope, |client| ClientFacts { user, vhost, ..*client }.connected());
    }

    /// A client is gone, or was not let in.
    pub(crate) fn connection_ended(
        &self,
        handle: &Handle,
        end: &ConnectionEnd,
        was_open: bool,
        scope: &mut Scope<'_>,
    ) {
        if let ConnectionEnd::LoginRefused { user, reason } = end {
            self.tell_of(handle, scope, |client| {
                ClientFacts { user, ..*client }.login_refused(reason)
            });
        } else if was_open {
            self.tell_of(handle, scope, |client| client.disconnected());
        }
    }
}
