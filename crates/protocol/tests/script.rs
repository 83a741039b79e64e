//! Conversations as text. A script is a list of lines; the lines of the server are compared with
//! what it really says.
//!
//! ```text
//! C1: queue.declare queue=q durable      the client on channel 1 of connection C
//! S1: queue.declare-ok queue=q           what came back
//! D2: ...  T2: ...                       a second connection, D, and its server's side, T
//! C1: publish key=q body=hello           method, header and body; properties by their names
//! S1: basic.get-ok ... | content_type=x | hello
//! C1: a \                                sent together with the next line
//! + 3s                                   time passes
//! S: closed                              the server closed the socket
//! ```
//! Also: `C: connect`, `C: log in …`, `C: header`, `C: raw …`, `C: octet N`, `C1: frame …`, `C: gone`,
//! `node …`, `user …`, `permit …`, `limit …`, `alarm …`, `force …`, and `holds`, which is followed by
//! what every queue holds (`# q: 1 ready, 0 unacked`).

#![expect(clippy::expect_used, reason = "a script that cannot be played is a broken test")]

pub(crate) mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use leveret_codec::{FrameKind, ReplyCode, Splitter};
use leveret_engine::auth::{HashAlgorithm, PasswordHash};
use leveret_engine::command::{
    PermissionSpec, TopicPermissionSpec, UserLimit, UserSpec, VhostLimit,
};
use leveret_engine::{Command, ConnectionId};
use leveret_protocol::testing::World;
use leveret_protocol::{ConnectionConfig, Event, Peer};

/// Names of connections and of their servers' sides.
const SIDES: &[(&str, &str)] = &[("C", "S"), ("D", "T"), ("E", "U")];

/// Capabilities that most clients declare.
const CAPABILITIES: &str = "{authentication_failure_close=t:true, consumer_cancel_notify=t:true, \
                            connection.blocked=t:true}";

/// Plays a script without looking at the server's heartbeats.
#[track_caller]
pub(crate) fn check_but_heartbeats(script: &str) {
    compare(script, &play(ConnectionConfig::default(), script).replace("S: heartbeat\n", ""));
}

struct Play {
    world: World,
    connections: BTreeMap<&'static str, ConnectionId>,
    batch: Vec<u8>,
    transcript: String,
}

/// Plays a script between logged-in clients; connections are made when they are first named.
#[track_caller]
pub(crate) fn check(script: &str) {
    check_with(ConnectionConfig::default(), script);
}

/// The same with other settings.
#[track_caller]
pub(crate) fn check_with(config: ConnectionConfig, script: &str) {
    compare(script, &play(config, script));
}

fn lines(script: &str) -> Vec<&str> {
    script.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn compare(script: &str, actual: &str) {
    let (expected, actual) = (lines(script).join("\n"), actual.trim_end());
    assert!(actual == expected, "\n--- expected\n{expected}\n--- actual\n{actual}\n");
}

/// Plays the client's lines; returns them with what the server said.
fn play(config: ConnectionConfig, script: &str) -> String {
    let mut play = Play {
        world: World::new(config),
        connections: BTreeMap::new(),
        batch: Vec::new(),
        transcript: String::new(),
    };
    for line in lines(script) {
        if line.starts_with("# ") && !line.ends_with(" unacked") {
            let _ = writeln!(play.transcript, "{line}");
        } else if !is_servers(line) && !line.starts_with('#') {
            play.line(line);
        }
    }
    play.transcript
}

fn is_servers(line: &str) -> bool {
    SIDES.iter().any(|(_, server)| {
        line.strip_prefix(server)
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(number, _)| number.chars().all(|c| c.is_ascii_digit()))
    })
}

impl Play {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.transcript, "{line}");
        let words = wire::words(line.trim_end_matches('\\'));
        let more = line.ends_with('\\');
        match words[0].as_str() {
            "+" => self.pass(&words[1]),
            "node" => self.node(&words[1..]),
            "user" => self.user(&words[1]),
            "permit" => self.permit(&words[1..]),
            "limit" => self.limit(&words[1..]),
            "alarm" => self.alarm(line.strip_prefix("alarm").unwrap_or_default().trim()),
            "force" => self.force(line.strip_prefix("force").unwrap_or_default().trim()),
            "holds" => self.holds(),
            _ => self.client_line(&words, more),
        }
        if !more {
            self.show();
        }
    }

    fn client_line(&mut self, words: &[String], more: bool) {
        let who = words[0].strip_suffix(':').expect("a colon behind the speaker");
        let (side, number) = who.split_at(1);
        let side = SIDES.iter().find(|(name, _)| *name == side).expect("a known speaker").0;
        let channel = number.parse().unwrap_or(0);
        let rest = &words[1..];
        match rest[0].as_str() {
            "connect" => self.connect(side, rest),
            "log" => self.log_in(side, &rest[1..]),
            "gone" => {
                let id = self.connections.remove(side).expect("a connection");
                self.world.drop_socket(id);
            }
            "header" => self.send(side, b"AMQP\x00\x00\x09\x01".to_vec(), more),
            "octet" => self.send(side, vec![rest[1].parse().expect("a byte")], more),
            "raw" => self.send(side, wire::bytes(&rest[1]), more),
            _ => {
                self.ensure(side, channel);
                let bytes = frames(channel, rest);
                self.send(side, bytes, more);
            }
        }
    }

    /// A connection that is logged in and has the channel open, without a word in the transcript.
    fn ensure(&mut self, side: &'static str, channel: u16) {
        if !self.connections.contains_key(side) {
            self.log_in(side, &[]);
        }
        let id = self.connections[side];
        let client = self.world.client(id).expect("a connection");
        let running = client.connection.state().name() == "running";
        let open = client.connection.channel_infos().iter().any(|c| c.key.number == channel);
        let known = self.transcript.contains(&format!("{side}{channel}: "));
        let first = self.transcript.matches(&format!("{side}{channel}: ")).count() <= 1;
        if channel != 0 && running && !open && known && first && !self.opens(side, channel) {
            let open = wire::frame(1, channel, &wire::method(&["channel.open".to_owned()]));
            let before = std::mem::take(&mut self.batch);
            self.send(side, open, false);
            self.batch = before;
            self.received(id);
        }
    }

    /// Whether the line in hand is itself about opening, or not to be helped.
    fn opens(&self, side: &str, channel: u16) -> bool {
        let line = self.transcript.lines().last().unwrap_or_default();
        let said = line.strip_prefix(&format!("{side}{channel}: ")).unwrap_or_default();
        said.starts_with("channel.open") || said.starts_with("unopened")
    }

    fn connect(&mut self, side: &'static str, words: &[String]) {
        let remote = words.iter().any(|word| word == "remote");
        let certificate = words.iter().find_map(|word| word.strip_prefix("certificate="));
        let id = self.world.connect_from(Peer {
            address: "peer".into(),
            loopback: !remote,
            certificate_name: certificate.map(Arc::from),
            known: None,
        });
        self.connections.insert(side, id);
    }

    /// The whole handshake; what the server says to it is not shown.
    fn log_in(&mut self, side: &'static str, words: &[String]) {
        if !self.connections.contains_key(side) {
            self.connect(side, words);
        }
        let get = |name: &str, usual: &str| {
            let found = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or(usual).to_owned()
        };
        let user = get("user", "guest");
        let steps = [
            format!(
                "connection.start-ok properties={{capabilities=F{}}} mechanism=PLAIN \
                 response='\\0{user}\\0{user}' locale=en_US",
                get("capabilities", CAPABILITIES)
            ),
            format!(
                "connection.tune-ok channel_max={} frame_max={} heartbeat={}",
                get("channel_max", "2047"),
                get("frame_max", "131072"),
                get("heartbeat", "0"),
            ),
            format!("connection.open vhost={}", get("vhost", "/")),
        ];
        let id = self.connections[side];
        self.send(side, b"AMQP\x00\x00\x09\x01".to_vec(), false);
        for step in steps {
            self.received(id);
            let payload = wire::method(&wire::words(&step));
            self.send(side, wire::frame(1, 0, &payload), false);
        }
        if self.world.client(id).expect("a connection").connection.state().name() == "running" {
            self.received(id);
        }
    }

    fn send(&mut self, side: &str, bytes: Vec<u8>, more: bool) {
        self.batch.extend(bytes);
        if !more {
            let batch = std::mem::take(&mut self.batch);
            let id = self.connections[side];
            self.world.send(id, &batch);
        }
    }

    fn received(&mut self, id: ConnectionId) -> Vec<u8> {
        std::mem::take(&mut self.world.client(id).expect("a connection").received)
    }

    /// What the servers have said, in the order of the connections.
    fn show(&mut self) {
        for (client, server) in SIDES {
            let Some(id) = self.connections.get(client).copied() else { continue };
            let bytes = self.received(id);
            for line in shown(&bytes) {
                let _ = writeln!(self.transcript, "{server}{line}");
            }
            if self.world.client(id).expect("a connection").closed {
                let _ = writeln!(self.transcript, "{server}: closed");
                self.connections.remove(client);
                self.world.drop_socket(id);
            }
        }
    }

    fn pass(&mut self, text: &str) {
        let ms = match text.strip_suffix("ms") {
            Some(ms) => ms.parse().expect("milliseconds"),
            None => {
                let seconds: u64 = text.trim_end_matches('s').parse().expect("seconds");
                seconds * 1000
            }
        };
        self.world.pass(ms);
    }

    fn node(&mut self, words: &[String]) {
        match words[0].as_str() {
            "defers" => self.world.node.defer = true,
            "answers" => {
                let n = words.get(1).map_or(usize::MAX, |n| n.parse().expect("a number"));
                self.world.node.answer_calls(n);
                self.world.settle();
            }
            "prompt" => self.world.node.defer = false,
            other => panic!("node {other}"),
        }
    }

    fn apply(&mut self, command: &Command) {
        self.world.node.apply(command).expect("a command that applies");
    }

    /// A user whose password is its name, with all permissions.
    fn user(&mut self, name: &str) {
        let password = Some(PasswordHash::new(HashAlgorithm::Sha256, name.as_bytes(), [2; 4]));
        self.apply(&Command::PutUser(UserSpec { name: name.into(), password, tags: Vec::new() }));
        self.permit(&[name, ".*", ".*", ".*"].map(str::to_owned));
    }

    /// `permit USER CONFIGURE WRITE READ`, or `permit USER topic EXCHANGE WRITE READ`.
    fn permit(&mut self, words: &[String]) {
        let arc = |at: usize| Arc::<str>::from(words[at].trim_matches('\''));
        let (user, vhost) = (arc(0), Arc::<str>::from("/"));
        if words[1] == "topic" {
            let (exchange, write, read) = (arc(2), arc(3), arc(4));
            let spec = TopicPermissionSpec { user, vhost, exchange, write, read };
            return self.apply(&Command::SetTopicPermission(spec));
        }
        let (configure, write, read) = (arc(1), arc(2), arc(3));
        let spec = PermissionSpec { user, vhost, configure, write, read };
        self.apply(&Command::SetPermission(spec));
    }

    fn limit(&mut self, words: &[String]) {
        let value = Some(words[2].parse().expect("a number"));
        let name = Arc::<str>::from(&*words[1]);
        let command = match words[0].as_str() {
            "vhost-connections" => {
                Command::SetVhostLimit { vhost: name, limit: VhostLimit::Connections, value }
            }
            "vhost-queues" => {
                Command::SetVhostLimit { vhost: name, limit: VhostLimit::Queues, value }
            }
            "user-connections" => {
                Command::SetUserLimit { user: name, limit: UserLimit::Connections, value }
            }
            "user-channels" => {
                Command::SetUserLimit { user: name, limit: UserLimit::Channels, value }
            }
            other => panic!("limit {other}"),
        };
        self.apply(&command);
    }

    fn alarm(&mut self, reason: &str) {
        let reason = (reason != "clears").then(|| Arc::<str>::from(reason));
        self.world.tell_all(|| Event::Alarm(reason.clone()));
    }

    fn force(&mut self, text: &str) {
        self.world.tell_all(|| Event::Close {
            code: ReplyCode::CONNECTION_FORCED,
            text: text.to_owned(),
        });
    }

    /// What the queues hold.
    fn holds(&mut self) {
        for (name, ready, unacked) in self.world.node.contents() {
            let _ = writeln!(self.transcript, "# {name}: {ready} ready, {unacked} unacked");
        }
    }
}

/// The frames of a client's line.
fn frames(channel: u16, words: &[String]) -> Vec<u8> {
    let get = |name: &str| {
        words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let number =
        |name: &str, usual: u64| get(name).map_or(usual, |text| text.parse().expect("a number"));
    let body = wire::bytes(&get("body").unwrap_or_default());
    match words[0].as_str() {
        "publish" => {
            let mut method = words.to_vec();
            method[0] = "basic.publish".to_owned();
            let header = wire::header(60, 0, body.len() as u64, &wire::properties(words));
            let mut out = wire::frame(1, channel, &wire::method(&method));
            out.extend(wire::frame(2, channel, &header));
            for piece in body.chunks(number("piece", 131_064) as usize) {
                out.extend(wire::frame(3, channel, piece));
            }
            out
        }
        "content" => {
            let (class, weight) = (number("class", 60) as u16, number("weight", 0) as u16);
            let header = wire::header(class, weight, number("size", 0), &wire::properties(words));
            wire::frame(2, channel, &header)
        }
        "body" => wire::frame(3, channel, &wire::bytes(words.get(1).map_or("''", |w| w))),
        "heartbeat" => wire::frame(8, channel, &body),
        "unopened" => wire::frame(1, channel, &wire::method(&words[1..])),
        "frame" => {
            let numbers = words[2..].iter().filter(|word| !word.contains('='));
            let payload: Vec<u8> = numbers.map(|byte| byte.parse().expect("a byte")).collect();
            let mut out = wire::frame(words[1].parse().expect("a kind"), channel, &payload);
            if get("end").is_some() {
                out.pop();
            }
            out
        }
        _ => wire::frame(1, channel, &wire::method(words)),
    }
}

/// Received bytes as lines, each starting with its channel's number and a colon; content is one line
/// with its method.
fn shown(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = bytes;
    if let Some(after) = rest.strip_prefix(b"AMQP") {
        lines.push(format!(": AMQP {:?}", &after[..4]));
        rest = &after[4..];
    }
    let mut open: BTreeMap<u16, (usize, u64, Vec<u8>)> = BTreeMap::new();
    while let Some((frame, len)) = Splitter::new(0).split(rest).expect("a stream of frames") {
        rest = &rest[len..];
        let channel = frame.channel;
        let label = if channel == 0 { String::new() } else { channel.to_string() };
        match frame.kind {
            FrameKind::METHOD => {
                lines.push(format!("{label}: {}", wire::shown_method(frame.payload)));
                if wire::has_content(frame.payload) {
                    open.insert(channel, (lines.len() - 1, 0, Vec::new()));
                }
            }
            FrameKind::HEADER => {
                let (at, size, _) = open.get_mut(&channel).expect("a method with content");
                *size = u64::from_be_bytes(frame.payload[4..12].try_into().expect("eight bytes"));
                let properties = wire::shown_properties(&frame.payload[12..]);
                let _ = write!(lines[*at], " |{properties}");
            }
            FrameKind::BODY => {
                open.get_mut(&channel).expect("a header").2.extend(frame.payload);
            }
            FrameKind::HEARTBEAT => lines.push(format!("{label}: heartbeat")),
            other => lines.push(format!("{label}: frame of kind {}", other.0)),
        }
        if let Some((at, size, body)) = open.get(&channel)
            && frame.kind != FrameKind::METHOD
            && body.len() as u64 == *size
        {
            let _ = write!(lines[*at], " | {}", wire::shown(body));
            open.remove(&channel);
        }
    }
    assert!(rest.is_empty(), "{} bytes are no frame", rest.len());
    assert!(open.is_empty(), "content without its end");
    lines
}
