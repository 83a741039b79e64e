//! One socket to the broker: what arrives becomes events by channel, and closes are answered. It never
//! waits without a limit, and knows nothing of transcripts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use leveret_codec::{FrameKind, Splitter, decode_content_header};

use super::catalogue;
use super::event::{Content, Event};
use super::wire;
use crate::clock::Deadline;
use crate::stream::Stream;

/// Octets read at once.
const READ_SIZE: usize = 64 * 1024;

/// A connection of a scenario.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    splitter: Splitter,
    input: Vec<u8>,
    channels: BTreeMap<u16, Channel>,
    /// Whether closes are answered by itself.
    pub(super) automatic: bool,
    /// Whether the broker has ended the socket.
    ended: bool,
    pub(super) frame_max: u32,
}

/// What is known of a channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) open: bool,
    inbox: VecDeque<Event>,
    partial: Option<Content>,
    confirming: bool,
    published: u64,
    outstanding: BTreeSet<u64>,
}

impl Channel {
    /// Publishes that wait for their confirm.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The first event that is `wanted`.
    pub(super) fn take(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let at = self.inbox.iter().position(wanted)?;
        self.inbox.remove(at)
    }

    fn confirm(&mut self, tag: u64, multiple: bool, ack: bool) -> Event {
        let tags: Vec<u64> = match (multiple, tag) {
            (true, 0) => self.outstanding.iter().copied().collect(),
            (true, tag) => self.outstanding.range(..=tag).copied().collect(),
            (false, tag) => self.outstanding.get(&tag).copied().into_iter().collect(),
        };
        if tags.is_empty() {
            let name = if ack { "ack" } else { "nack" };
            return Event::Odd(format!("{name} of {tag}, which is not outstanding"));
        }
        for tag in &tags {
            self.outstanding.remove(tag);
        }
        Event::Confirm { ack, tags }
    }
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            stream: Stream::plain(address)?,
            splitter: Splitter::new(0),
            input: Vec::new(),
            channels: BTreeMap::new(),
            automatic: true,
            ended: false,
            frame_max: 0,
        })
    }

    pub(super) fn channel(&mut self, number: u16) -> &mut Channel {
        self.channels.entry(number).or_default()
    }

    /// The channels that have been used.
    pub(super) fn channel_numbers(&self) -> Vec<u16> {
        self.channels.keys().copied().collect()
    }

    /// What ends the connection, if it has come.
    pub(super) fn take_ending(&mut self) -> Option<Event> {
        self.channel(0).take(|event| {
            event.is("connection.close") || matches!(event, Event::End | Event::Odd(_))
        })
    }

    /// A close of the channel that has come and was answered, but not shown yet.
    pub(super) fn take_pending_close(&mut self, number: u16) -> Option<Event> {
        let automatic = self.automatic;
        self.channel(number).take(|event| automatic && event.is("channel.close"))
    }

    /// Whether the scenario opens channels and answers closes itself. Without a frame size nobody has
    /// logged in yet: it shakes hands itself.
    pub(super) fn is_by_hand(&self) -> bool {
        !self.automatic || self.frame_max == 0
    }

    /// Whether the broker has ended the socket.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Writes; a socket that takes nothing has ended, which reading finds.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write(bytes);
    }

    /// Writes a method frame and remembers what it means for confirms.
    pub(super) fn write_method(&mut self, number: u16, name: &str, payload: &[u8]) {
        let channel = self.channel(number);
        match name {
            "confirm.select" => channel.confirming = true,
            "channel.open" => {
                let inbox = std::mem::take(&mut channel.inbox);
                *channel = Channel { inbox, ..Channel::default() };
            }
            "basic.publish" if channel.confirming => {
                channel.published += 1;
                channel.outstanding.insert(channel.published);
            }
            _ => {}
        }
        self.write(&wire::encode_frame(FrameKind::METHOD.0, number, payload, None, None));
    }

    /// Reads what comes until the deadline, at most once; `false` when nothing came.
    pub(super) fn pump(&mut self, deadline: Deadline) -> bool {
        if self.ended {
            return false;
        }
        let mut room = vec![0; READ_SIZE];
        let read = match self.stream.read(&mut room, deadline.left()) {
            Ok(None) => return false,
            Ok(Some(n)) => n,
            // A reset is an end as well.
            Err(_) => 0,
        };
        self.input.extend_from_slice(room.get(..read).unwrap_or_default());
        self.split();
        if read == 0 {
            self.ended = true;
            self.channel(0).inbox.push_back(Event::End);
        }
        true
    }

    fn split(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        loop {
            if let Some((head, tail)) = rest.split_at_checked(8)
                && head.starts_with(b"AMQP")
            {
                let version = head.get(4..).unwrap_or_default();
                self.channel(0).inbox.push_back(Event::Odd(format!("protocol header {version:?}")));
                rest = tail;
                continue;
            }
            match self.splitter.split(rest) {
                Ok(Some((frame, used))) => {
                    self.frame(frame.kind, frame.channel, frame.payload);
                    rest = rest.get(used..).unwrap_or_default();
                }
                Ok(None) => break,
                Err(error) => {
                    let event = Event::Odd(format!("what is no frame ({error})"));
                    self.channel(0).inbox.push_back(event);
                    rest = &[];
                    break;
                }
            }
        }
        self.input = rest.to_vec();
    }

    fn frame(&mut self, kind: FrameKind, number: u16, payload: &[u8]) {
        let event = match kind {
            // When they come is nobody's promise.
            FrameKind::HEARTBEAT if number == 0 && payload.is_empty() => return,
            FrameKind::METHOD => self.method(number, payload),
            FrameKind::HEADER | FrameKind::BODY => self.content(kind, number, payload),
            kind => Some(Event::Odd(format!("a frame of type {} {payload:?}", kind.0))),
        };
        if let Some(event) = event {
            self.channel(number).inbox.push_back(event);
        }
    }

    fn method(&mut self, number: u16, payload: &[u8]) -> Option<Event> {
        let Some((method, arguments)) = wire::decode_method(payload) else {
            return Some(Event::Odd(format!("a method that is none {payload:?}")));
        };
        if method.has_content() {
            self.channel(number).partial = Some(Content::new(method, arguments));
            return None;
        }
        match method.name {
            "basic.ack" | "basic.nack" => {
                let tag = wire::number(&arguments, "delivery-tag");
                let multiple = wire::is_set(&arguments, "multiple");
                let ack = method.name == "basic.ack";
                return Some(self.channel(number).confirm(tag, multiple, ack));
            }
            "channel.open-ok" => self.channel(number).open = true,
            "channel.close" | "connection.close" if self.automatic => {
                let name = if number == 0 { "connection.close-ok" } else { "channel.close-ok" };
                if let Some(answer) = catalogue::by_name(name) {
                    let payload = wire::encode_method(answer, &[]);
                    self.write_method(number, name, &payload);
                }
            }
            _ => {}
        }
        Some(Event::Method { method, arguments })
    }

    fn content(&mut self, kind: FrameKind, number: u16, payload: &[u8]) -> Option<Event> {
        let channel = self.channel(number);
        let Some(partial) = &mut channel.partial else {
            return Some(Event::Odd(format!("content that nothing announced {payload:?}")));
        };
        if kind == FrameKind::HEADER {
            let Ok(header) = decode_content_header(payload) else {
                return Some(Event::Odd(format!("a header that is none {payload:?}")));
            };
            partial.size = Some(header.body_size);
            partial.properties = header.properties.to_vec();
        } else {
            partial.body.extend_from_slice(payload);
            partial.pieces.push(payload.len());
        }
        if !partial.is_whole() {
            return None;
        }
        channel.partial.take().map(Event::Content)
    }
}
