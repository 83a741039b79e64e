//! What clients do, as events: they log in, open channels, consume, and go.
// rabbitmq: event exchange plugin

use super::Event;
use super::changes::put_arguments;
use crate::queue::consumers::ConsumerSpec;
use crate::time::Timestamp;
use leveret_codec::{Table, TableWriter};

/// A client, as events show it.
#[derive(Clone, Copy, Debug)]
pub struct ClientFacts<'a> {
    /// Its address and port.
    pub peer: &'a str,
    /// The broker's address and port.
    pub local: &'a str,
    /// The user.
    pub user: &'a str,
    /// The vhost.
    pub vhost: &'a str,
    /// The SASL mechanism.
    pub mechanism: &'a str,
    /// Whether it uses TLS.
    pub tls: bool,
    /// What it says of itself.
    pub properties: &'a Table,
    /// Heartbeat in seconds.
    pub heartbeat: u16,
    /// Largest frame.
    pub frame_max: u32,
    /// Largest number of channels.
    pub channel_max: u16,
    /// When it came.
    pub connected_at: Timestamp,
    /// The node's name.
    pub node: &'a str,
}

impl ClientFacts<'_> {
    /// The name of the connection.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    fn put_login(&self, headers: &mut TableWriter<'_>) {
        headers.string("connection_type", "network");
        headers.string("name", self.user);
        headers.string("connection_name", self.name());
        self.put_ends(headers);
    }

    fn put_ends(&self, headers: &mut TableWriter<'_>) {
        let ((peer_host, peer_port), (host, _)) = (ends(self.peer), ends(self.local));
        headers.string("peer_host", peer_host);
        headers.long("peer_port", peer_port);
        headers.string("host", host);
        headers.string("protocol", "{0,9,1}");
        headers.string("auth_mechanism", self.mechanism);
        headers.bool("ssl", self.tls);
    }

    fn put_actor(&self, headers: &mut TableWriter<'_>) {
        headers.string("user_who_performed_action", self.user);
    }

    /// It has proved who it is.
    #[must_use]
    pub fn logged_in(&self) -> Event {
        Event::new("user.authentication.success", |headers| self.put_login(headers))
    }

    /// It was not let in.
    #[must_use]
    pub fn login_refused(&self, reason: &str) -> Event {
        Event::new("user.authentication.failure", |headers| {
            self.put_login(headers);
            headers.string("error", format!("user '{}' - {reason}", self.user));
        })
    }

    /// It has opened its vhost.
    #[must_use]
    pub fn connected(&self) -> Event {
        Event::new("connection.created", |headers| {
            headers.string("type", "network");
            headers.string("name", self.name());
            self.put_ends(headers);
            headers.long("port", ends(self.local).1);
            headers.string("user", self.user);
            headers.string("vhost", self.vhost);
            headers.long("timeout", self.heartbeat.into());
            headers.long("frame_max", self.frame_max.into());
            headers.long("channel_max", self.channel_max.into());
            headers.table("client_properties", |table| self.properties.write_to(table));
            headers.long("connected_at", i64::try_from(self.connected_at.0).unwrap_or(0));
            headers.string("node", self.node);
            self.put_actor(headers);
        })
    }

    /// It is gone.
    #[must_use]
    pub fn disconnected(&self) -> Event {
        Event::new("connection.closed", |headers| {
            headers.string("name", self.name());
            headers.string("node", self.node);
            headers.table("client_properties", |table| self.properties.write_to(table));
            self.put_actor(headers);
        })
    }

    /// It has opened a channel.
    #[must_use]
    pub fn channel_opened(&self, number: u16) -> Event {
        Event::new("channel.created", |headers| self.put_channel(headers, number))
    }

    /// A channel of it is closed.
    #[must_use]
    pub fn channel_closed(&self, number: u16) -> Event {
        Event::new("channel.closed", |headers| self.put_channel(headers, number))
    }

    fn put_channel(&self, headers: &mut TableWriter<'_>, number: u16) {
        headers.string("name", format!("{} ({number})", self.name()));
        headers.long("number", number.into());
        headers.string("connection", self.name());
        headers.string("user", self.user);
        headers.string("vhost", self.vhost);
        self.put_actor(headers);
    }

    /// It consumes from a queue.
    #[must_use]
    pub fn consumes(&self, queue: &str, spec: &ConsumerSpec) -> Event {
        Event::new("consumer.created", |headers| {
            self.put_consumer(headers, queue, spec);
            headers.bool("exclusive", spec.exclusive);
            headers.bool("ack_required", !spec.no_ack);
            headers.long("prefetch_count", spec.prefetch.into());
            put_arguments(headers, &spec.arguments);
        })
    }

    /// It does not consume any more.
    #[must_use]
    pub fn cancelled(&self, queue: &str, spec: &ConsumerSpec) -> Event {
        Event::new("consumer.deleted", |headers| self.put_consumer(headers, queue, spec))
    }

    fn put_consumer(&self, headers: &mut TableWriter<'_>, queue: &str, spec: &ConsumerSpec) {
        headers.string("consumer_tag", spec.tag.as_bytes());
        headers.string("channel", format!("{} ({})", self.name(), spec.channel.number));
        headers.string("queue", queue);
        headers.string("vhost", self.vhost);
        self.put_actor(headers);
    }
}

/// An address and its port; 0 where there is none.
fn ends(address: &str) -> (&str, i64) {
    match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(0)),
        None => (address, 0),
    }
}
