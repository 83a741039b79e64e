//! What a scenario is played on: its vhost, users and connections, and the transcript that it writes. This
//! file sets up, waits and cleans up; `deeds` does what the steps say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::connection::Connection;
use super::event::Event;
use super::mask::Mask;
use super::step::Place;
use super::text::Order;
use crate::clock::{Deadline, pause};
use crate::management::Management;

/// How long a scenario waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// For what must come. A busy machine is slow, so a scenario that is expected to pass has patience.
    pub(super) patience: Duration,
    /// For what must not come, before the scenario is over.
    pub(super) quiet: Duration,
}

/// How long a request to the management API may take: RabbitMQ deletes a vhost at leisure.
const HTTP_PATIENCE: Duration = Duration::from_secs(60);

/// How long a scenario may take altogether.
const LIMIT: Duration = Duration::from_secs(180);

/// The pause between two questions to the broker.
pub(super) const PAUSE: Duration = Duration::from_millis(15);

/// One scenario at work.
#[derive(Debug)]
pub(super) struct Stage {
    amqp: SocketAddr,
    management: Management,
    pub(super) mask: Mask,
    pub(super) order: Order,
    connections: BTreeMap<String, Connection>,
    transcript: Vec<String>,
    end: Deadline,
    patience: Duration,
}

/// What a scenario cannot go on after.
#[derive(Debug)]
pub(super) struct Stuck(pub(super) String);

impl Stage {
    /// A vhost of its own, in which guest may do everything.
    pub(super) fn set(
        amqp: SocketAddr,
        management: SocketAddr,
        run: String,
        order: Order,
        patience: Duration,
    ) -> Result<Self, Stuck> {
        let mut stage = Self {
            amqp,
            management: Management(management),
            mask: Mask::new(run),
            order,
            connections: BTreeMap::new(),
            transcript: Vec::new(),
            end: Deadline::after(LIMIT),
            patience,
        };
        let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
        stage.request("PUT", "/api/vhosts/<vhost>", "{}")?;
        stage.request("PUT", "/api/permissions/<vhost>/guest", everything)?;
        Ok(stage)
    }

    /// Deletes what the scenario made, as far as it is still there.
    pub(super) fn strike(&mut self) {
        self.connections.clear();
        let made: Vec<_> =
            self.mask.made().map(|(real, alias)| (real.to_owned(), alias.to_owned())).collect();
        for (real, alias) in made {
            let kind = if alias.starts_with("<vhost") { "vhosts" } else { "users" };
            // What cannot be deleted is in nobody's way.
            let path = format!("/api/{kind}/{real}");
            let _ = self.management.status("DELETE", &path, "", HTTP_PATIENCE);
        }
    }

    /// The transcript so far.
    pub(super) fn transcript(&self) -> String {
        let mut text = self.transcript.join("\n");
        text.push('\n');
        text
    }

    /// Adds a line.
    pub(super) fn log(&mut self, line: &str) {
        let line = self.mask.hide(line);
        self.transcript.push(line);
    }

    /// Adds what the broker did.
    pub(super) fn show(&mut self, place: &Place, event: &Event) {
        let line = format!("{place}< {}", event.show(self.order));
        self.log(&line);
    }

    /// A request to the management API; answers with the status.
    pub(super) fn request(&mut self, verb: &str, path: &str, body: &str) -> Result<u16, Stuck> {
        let (path, body) = (self.mask.reveal(path), self.mask.reveal(body));
        match self.management.status(verb, &path, &body, HTTP_PATIENCE) {
            Ok(status) if status < 500 => Ok(status),
            Ok(status) => Err(Stuck(format!("{verb} {path} answered {status}"))),
            Err(error) => Err(Stuck(format!("{verb} {path}: {error}"))),
        }
    }

    /// The time until when to wait for what must come.
    pub(super) fn patience(&self) -> Deadline {
        self.deadline(self.patience)
    }

    /// The time until when to wait now.
    pub(super) fn deadline(&self, limit: Duration) -> Deadline {
        if self.end.left() < limit { self.end } else { Deadline::after(limit) }
    }

    /// Whether the scenario has taken its time.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_over()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        pause(time.min(self.end.left()));
    }

    /// A new socket under the label.
    pub(super) fn connect(&mut self, label: &str) -> Result<(), Stuck> {
        match Connection::open(self.amqp) {
            Ok(connection) => {
                self.connections.insert(label.to_owned(), connection);
                Ok(())
            }
            Err(error) => Err(Stuck(format!("{label} cannot connect: {error}"))),
        }
    }

    /// The connection of a label, where there is one.
    pub(super) fn connection(&mut self, label: &str) -> Option<&mut Connection> {
        self.connections.get_mut(label)
    }

    /// Closes the socket; the label is free for a new one.
    pub(super) fn forget(&mut self, label: &str) {
        self.connections.remove(label);
    }

    /// Labels of the open connections.
    pub(super) fn labels(&self) -> Vec<String> {
        self.connections.keys().cloned().collect()
    }

    /// The first event of a channel that is `wanted`; whatever ends the connection comes too. `None` where
    /// nothing of it comes by the deadline.
    pub(super) fn wait(
        &mut self,
        place: &Place,
        deadline: Deadline,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<(Place, Event)> {
        let whole = Place { connection: place.connection.clone(), channel: 0 };
        loop {
            let connection = self.connections.get_mut(&place.connection)?;
            if let Some(event) = connection.channel(place.channel).take(&wanted) {
                return Some((place.clone(), event));
            }
            if let Some(event) = connection.take_ending() {
                return Some((whole, event));
            }
            if connection.is_ended() || !connection.pump(deadline) {
                return None;
            }
        }
    }
}
