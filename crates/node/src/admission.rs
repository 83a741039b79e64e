//! Who may connect and open channels: connections are counted by node, vhost and user, channels by user.

use foldhash::HashMap;
use std::sync::Arc;

use leveret_engine::{BrokerError, ConnectionId, ConnectionLimit, Topology};
use parking_lot::Mutex;

/// The counts, and what each connection was admitted as, so that all of it is given back when the connection ends.
pub(crate) struct Admission {
    connection_max: Option<u64>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    admitted: HashMap<ConnectionId, Admitted>,
    by_vhost: HashMap<Arc<str>, u64>,
    by_user: HashMap<Arc<str>, User>,
}

struct Admitted {
    vhost: Arc<str>,
    user: Arc<str>,
    channels: u64,
}

#[derive(Default)]
struct User {
    connections: u64,
    channels: u64,
}

impl Admission {
    pub(crate) fn new(connection_max: Option<u64>) -> Self {
        Self { connection_max, counts: Mutex::default() }
    }

    /// Counts a connection in, or names the limit that is reached: node, then vhost, then user.
    // rabbitmq: connection.open
    pub(crate) fn connection(
        &self,
        topology: &Topology,
        id: ConnectionId,
        vhost: &Arc<str>,
        user: &Arc<str>,
    ) -> Result<(), BrokerError> {
        let mut counts = self.counts.lock();
        let refuse = |what, limit| Err(BrokerError::ConnectionLimit { what, limit });
        if let Some(limit) = self.connection_max
            && counts.admitted.len() as u64 >= limit
        {
            return refuse(ConnectionLimit::NodeConnections, limit);
        }
        if let Some(limit) = topology.vhost_connection_limit(vhost)
            && counts.by_vhost.get(vhost).copied().unwrap_or(0) >= limit
        {
            let what = ConnectionLimit::VhostConnections {
                vhost: Arc::clone(vhost),
                user: Arc::clone(user),
            };
            return refuse(what, limit);
        }
        if let Some(limit) = topology.user_connection_limit(user)
            && counts.by_user.get(user).map_or(0, |user| user.connections) >= limit
        {
            return refuse(ConnectionLimit::UserConnections(Arc::clone(user)), limit);
        }
        *counts.by_vhost.entry(Arc::clone(vhost)).or_default() += 1;
        counts.by_user.entry(Arc::clone(user)).or_default().connections += 1;
        let admitted = Admitted { vhost: Arc::clone(vhost), user: Arc::clone(user), channels: 0 };
        counts.admitted.insert(id, admitted);
        Ok(())
    }

    /// Counts a channel in, or names the user's limit.
    pub(crate) fn channel(
        &self,
        topology: &Topology,
        id: ConnectionId,
        user: &Arc<str>,
    ) -> Result<(), BrokerError> {
        let mut counts = self.counts.lock();
        let counts = &mut *counts;
        let open = counts.by_user.entry(Arc::clone(user)).or_default();
        if let Some(limit) = topology.user_channel_limit(user)
            && open.channels >= limit
        {
            let what = ConnectionLimit::UserChannels(Arc::clone(user));
            return Err(BrokerError::ConnectionLimit { what, limit });
        }
        open.channels += 1;
        if let Some(admitted) = counts.admitted.get_mut(&id) {
            admitted.channels += 1;
        }
        Ok(())
    }

    /// Counts a channel out.
    pub(crate) fn release_channel(&self, id: ConnectionId) {
        let mut counts = self.counts.lock();
        let counts = &mut *counts;
        if let Some(admitted) = counts.admitted.get_mut(&id)
            && admitted.channels > 0
        {
            admitted.channels -= 1;
            if let Some(user) = counts.by_user.get_mut(&admitted.user) {
                user.channels -= 1;
            }
        }
    }

    /// Counts a connection and its channels out.
    pub(crate) fn release(&self, id: ConnectionId) {
        let mut counts = self.counts.lock();
        let Some(admitted) = counts.admitted.remove(&id) else { return };
        if let Some(n) = counts.by_vhost.get_mut(&admitted.vhost) {
            *n -= 1;
            if *n == 0 {
                counts.by_vhost.remove(&admitted.vhost);
            }
        }
        if let Some(user) = counts.by_user.get_mut(&admitted.user) {
            user.connections -= 1;
            user.channels -= admitted.channels;
            if user.connections == 0 {
                counts.by_user.remove(&admitted.user);
            }
        }
    }
}
