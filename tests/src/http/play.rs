//! Plays tables against a broker: asks in order, and compares, or writes the answers down.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::compare::{Difference, compare};
use super::differences::Known;
use super::mask::mask;
use super::table::{Answer, Ask, Line, Table};
use crate::Target;
use crate::client::{Client, Login, Outgoing};
use crate::clock::{Deadline, PATIENCE, pause};
use crate::request::Request;
use leveret_codec::amqp::{basic, queue};

/// The user of the tables, an administrator.
const GUEST: &str = "guest:guest";

/// The vhost of the tables.
const VHOST: &str = "http";

/// How long an answer may take to become right where statistics lag.
const EVENTUALLY: Duration = Duration::from_secs(8);

/// How long RabbitMQ's statistics may lag when they are recorded.
const LAG: Duration = Duration::from_secs(4);

/// Plays all tables of a folder, and answers with how many requests there were and what is wrong.
///
/// # Errors
/// When the folder cannot be read or the broker does not answer.
pub fn play_all(folder: &Path, target: Target) -> Result<(usize, Vec<String>), String> {
    let known = Known::load(&folder.join("differences.txt"))?;
    let (mut asked, mut problems) = (0, Vec::new());
    for mut table in Table::load_all(folder)? {
        let name = table.name();
        let mut check = |player: &Player, ask: &mut Ask| {
            asked += 1;
            let Some(recorded) = &ask.answer else {
                problems.push(format!("{name}: {} has no recorded answer", ask.name()));
                return Ok(());
            };
            for difference in player.differences(ask, recorded, &known)? {
                let Difference { place, what } = difference;
                problems.push(format!("{name} | {} | {place} | {what}", ask.name()));
            }
            Ok(())
        };
        Player::new(target)?.play(&mut table, &mut check)?;
    }
    problems.extend(known.unmet().map(|line| format!("no longer true: {line}")));
    Ok((asked, problems))
}

/// Records all tables of a folder anew, and answers with how many requests there were.
///
/// # Errors
/// When the folder cannot be read or written, or the broker does not answer.
pub fn record_all(folder: &Path, target: Target) -> Result<usize, String> {
    let mut asked = 0;
    for mut table in Table::load_all(folder)? {
        let mut record = |player: &Player, ask: &mut Ask| {
            asked += 1;
            if ask.eventually {
                pause(LAG);
            }
            ask.answer = Some(player.ask(ask)?);
            Ok(())
        };
        Player::new(target)?.play(&mut table, &mut record)?;
        table.save().map_err(|error| format!("{}: {error}", table.name()))?;
    }
    Ok(asked)
}

struct Player {
    target: Target,
    user: String,
    node: String,
    client: Option<Client>,
    /// The client's connection, once it is there.
    connection: String,
}

impl Player {
    /// A player for one table, with an empty vhost.
    fn new(target: Target) -> Result<Self, String> {
        let mut player = Self {
            target,
            user: GUEST.to_owned(),
            node: String::new(),
            client: None,
            connection: String::new(),
        };
        let overview = player.send("GET", "/api/overview", "")?;
        player.node = overview.body["node"].as_str().unwrap_or_default().to_owned();
        player.clean()?;
        player.send("PUT", &format!("/api/vhosts/{VHOST}"), "{}")?;
        let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
        player.send("PUT", &format!("/api/permissions/{VHOST}/guest"), everything)?;
        Ok(player)
    }

    /// Deletes what tables leave behind.
    fn clean(&self) -> Result<(), String> {
        for what in ["vhosts", "users", "global-parameters"] {
            let all = self.send("GET", &format!("/api/{what}"), "")?;
            let names = all.body.as_array().into_iter().flatten();
            for name in names.filter_map(|one| one["name"].as_str()) {
                if name.starts_with(VHOST) {
                    self.send("DELETE", &format!("/api/{what}/{name}"), "")?;
                }
            }
        }
        Ok(())
    }

    fn play(
        &mut self,
        table: &mut Table,
        each: &mut dyn FnMut(&Self, &mut Ask) -> Result<(), String>,
    ) -> Result<(), String> {
        for line in &mut table.lines {
            match line {
                Line::Text(_) => {}
                Line::As(user) => user.clone_into(&mut self.user),
                Line::ClientOpens => self.open_client()?,
                Line::ClientLeaves => self.client = None,
                Line::Ask(ask) => each(self, ask)?,
            }
        }
        self.client = None;
        GUEST.clone_into(&mut self.user);
        self.clean()
    }

    /// A client with one channel, two messages published, one of them delivered and not acknowledged.
    fn open_client(&mut self) -> Result<(), String> {
        let login = Login { vhost: VHOST, ..Login::default() };
        let mut client = Client::login(self.target.amqp, &login);
        client.open(1);
        client
            .call(1, queue::Declare { queue: "busy".into(), durable: true, ..Default::default() });
        client.call(1, basic::Qos { prefetch_count: 1, global: false });
        client.confirms(1);
        for (tag, body) in [(1, "one"), (2, "two")] {
            client.publish(1, &Outgoing::new("", "busy", body));
            client.all_confirmed(1, tag, 1);
        }
        let consume = basic::Consume {
            queue: "busy".into(),
            consumer_tag: "tag".into(),
            ..Default::default()
        };
        client.call(1, consume);
        let _held = client.next_message(1);
        self.client = Some(client);
        self.connection = self.await_connection()?;
        Ok(())
    }

    fn await_connection(&self) -> Result<String, String> {
        let deadline = Deadline::after(EVENTUALLY);
        while !deadline.is_over() {
            let all = self.send("GET", &format!("/api/vhosts/{VHOST}/connections"), "")?;
            if let Some(name) = all.body[0]["name"].as_str() {
                return Ok(name.to_owned());
            }
            pause(Duration::from_millis(50));
        }
        Err("the client's connection is not in the list".to_owned())
    }

    /// The answer, masked, with this broker's own names taken out.
    fn ask(&self, ask: &Ask) -> Result<Answer, String> {
        let answer = self.send(&ask.verb, &self.with_names(&ask.path), &ask.body)?;
        let text = mask(&answer.body, ask.only_types).to_string();
        let mut text = text.replace(&self.node, "{node}");
        if !self.connection.is_empty() {
            text = text.replace(&self.connection, "{connection}");
        }
        let body: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(Answer { status: answer.status, body })
    }

    fn with_names(&self, path: &str) -> String {
        let connection = self.connection.replace(' ', "%20").replace('>', "%3E");
        path.replace("{node}", &self.node).replace("{connection}", &connection)
    }

    fn send(&self, verb: &str, path: &str, body: &str) -> Result<Answer, String> {
        let (to, user, limit) = (self.target.management, &*self.user, PATIENCE);
        let (status, body) = Request { to, user, verb, path, body, limit }.send()?;
        Ok(Answer { status, body })
    }

    /// What is wrong with the answer to a request, and not known to be.
    fn differences(
        &self,
        ask: &Ask,
        recorded: &Answer,
        known: &Known,
    ) -> Result<Vec<Difference>, String> {
        let deadline = Deadline::after(EVENTUALLY);
        let name = ask.name();
        loop {
            let mut found = compare(recorded, &self.ask(ask)?);
            found.retain(|difference| !known.has(&name, difference));
            if found.is_empty() || !ask.eventually || deadline.is_over() {
                return Ok(found);
            }
            pause(Duration::from_millis(100));
        }
    }
}
