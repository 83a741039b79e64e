//! What the steps of a scenario send, and the answers to it.

use leveret_codec::FrameKind;

use super::catalogue::{self, Method};
use super::connection::Connection;
use super::event::Event;
use super::stage::{Stage, Stuck};
use super::step::{Deed, Login, Place};
use super::wire::{self, Argument, Arguments};

impl Stage {
    /// Does one thing.
    pub(super) fn perform(&mut self, place: &Place, deed: &Deed) -> Result<(), Stuck> {
        match deed {
            Deed::Connect => self.connect(&place.connection),
            Deed::Greet => {
                self.connect(&place.connection)?;
                match self.greet(&place.connection) {
                    Ok(()) => Ok(()),
                    Err(outcome) => Err(Stuck(format!("{place} is not greeted: {outcome}"))),
                }
            }
            Deed::Login(login) => {
                self.connect(&place.connection)?;
                let outcome = self.log_in(&place.connection, login)?;
                self.log(&format!("{place}< {outcome}"));
                Ok(())
            }
            Deed::Drop => {
                self.forget(&place.connection);
                Ok(())
            }
            Deed::Manual => {
                self.ready(place)?.automatic = false;
                Ok(())
            }
            Deed::Send { method, arguments, content } => {
                self.send(place, method, arguments, content.as_ref()).map(drop)
            }
            Deed::Call { method, arguments } => {
                match self.send(place, method, arguments, None)? {
                    Sent::Yes => self.show_answer(place),
                    Sent::AnsweredBefore => {}
                }
                Ok(())
            }
            Deed::GetAll { queue } => self.get_all(place, queue),
            Deed::Until { queue, state } => self.until(place, queue, *state),
            Deed::Take(count) => {
                self.take(place, *count, |event| !event.is_confirm());
                Ok(())
            }
            Deed::TakeInOrder(count) => {
                self.take(place, *count, |_| true);
                Ok(())
            }
            Deed::Confirms(count) => {
                self.confirms(place, *count);
                Ok(())
            }
            Deed::Nothing(time) => {
                self.nothing(place, *time);
                Ok(())
            }
            Deed::End { timed } => {
                self.end(place, *timed);
                Ok(())
            }
            Deed::Header { .. } | Deed::Body(_) | Deed::Frame { .. } | Deed::Octets(_) => {
                self.send_raw(place, deed)
            }
        }
    }

    /// The connection, logged in and with the channel open, unless it does everything by hand.
    pub(super) fn ready(&mut self, place: &Place) -> Result<&mut Connection, Stuck> {
        if self.connection(&place.connection).is_none() {
            self.connect(&place.connection)?;
            let outcome = self.log_in(&place.connection, &Login::default())?;
            if outcome != LOGGED_IN {
                return Err(Stuck(format!("{place} cannot log in: {outcome}")));
            }
        }
        if place.channel > 0 {
            self.open_channel(place)?;
        }
        self.connection(&place.connection)
            .ok_or_else(|| Stuck(format!("the connection of {place} is gone")))
    }

    fn open_channel(&mut self, place: &Place) -> Result<(), Stuck> {
        let Some(connection) = self.connection(&place.connection) else { return Ok(()) };
        if connection.is_by_hand() || connection.channel(place.channel).open {
            return Ok(());
        }
        connection.write_call(place.channel, "channel.open", &[]);
        match self.wait_for_answer(place) {
            Some((_, event)) if event.is("channel.open-ok") => Ok(()),
            Some((at, event)) => {
                self.show(&at, &event);
                self.after(&at, &event);
                Ok(())
            }
            None => Err(Stuck(format!("{place} was not opened"))),
        }
    }

    fn send(
        &mut self,
        place: &Place,
        method: &'static Method,
        arguments: &Arguments,
        content: Option<&(Arguments, Vec<u8>)>,
    ) -> Result<Sent, Stuck> {
        // A channel that the scenario opens is not opened for it.
        let opens = method.name == "channel.open";
        let channel = if opens { 0 } else { place.channel };
        let connection = self.ready(&Place { connection: place.connection.clone(), channel })?;
        if let Some(close) = connection.take_pending_close(place.channel) {
            // The broker drops what is sent now: the answer is the close.
            self.show(place, &close);
            self.after(place, &close);
            return Ok(Sent::AnsweredBefore);
        }
        connection.write_call(place.channel, method.name, arguments);
        if let Some((properties, body)) = content {
            connection.write(&content_frames(
                place.channel,
                connection.frame_max,
                properties,
                body,
            ));
        }
        if method.name == "connection.tune-ok" {
            connection.frame_max = wire::number(arguments, "frame-max") as u32;
        }
        Ok(Sent::Yes)
    }

    fn send_raw(&mut self, place: &Place, deed: &Deed) -> Result<(), Stuck> {
        let channel = place.channel;
        let connection = self.ready(place)?;
        let bytes = match deed {
            Deed::Header { class, weight, size, properties } => {
                let payload = wire::encode_header(*class, *weight, *size, properties);
                wire::encode_frame(FrameKind::HEADER.0, channel, &payload, None, None)
            }
            Deed::Body(body) => wire::encode_frame(FrameKind::BODY.0, channel, body, None, None),
            Deed::Frame { kind, size, end, payload } => {
                wire::encode_frame(*kind, channel, payload, *size, *end)
            }
            Deed::Octets(octets) => octets.clone(),
            other => return Err(Stuck(format!("{other:?} sends nothing"))),
        };
        connection.write(&bytes);
        Ok(())
    }

    /// Shows what answers a method.
    fn show_answer(&mut self, place: &Place) {
        match self.wait_for_answer(place) {
            Some((at, event)) => {
                self.show(&at, &event);
                self.after(&at, &event);
            }
            None => self.log(&format!("{place}< no answer")),
        }
    }

    /// The next event that is no notice.
    pub(super) fn wait_for_answer(&mut self, place: &Place) -> Option<(Place, Event)> {
        let deadline = self.patience();
        self.wait(place, deadline, |event| !event.is_notice())
    }

    /// What an event that was shown means for the connection.
    pub(super) fn after(&mut self, place: &Place, event: &Event) {
        let Some(connection) = self.connection(&place.connection) else { return };
        if event.is("channel.close") || event.is("channel.close-ok") {
            connection.channel(place.channel).open = false;
        }
        let closed = event.is("connection.close") || event.is("connection.close-ok");
        if matches!(event, Event::End) || closed && connection.automatic {
            self.forget(&place.connection);
        }
    }

    /// Gets without acks until the queue is empty.
    fn get_all(&mut self, place: &Place, queue: &[u8]) -> Result<(), Stuck> {
        let arguments =
            [("queue", Argument::String(queue.to_vec())), ("no-ack", Argument::Bit(true))];
        loop {
            self.ready(place)?.write_call(place.channel, "basic.get", &arguments);
            let Some((at, event)) = self.wait_for_answer(place) else {
                self.log(&format!("{place}< no answer"));
                return Ok(());
            };
            self.show(&at, &event);
            self.after(&at, &event);
            if !matches!(&event, Event::Content(_)) {
                return Ok(());
            }
        }
    }
}

/// What a login is said to have come to when it went well.
pub(super) const LOGGED_IN: &str = "logged in";

/// Whether a method was sent.
enum Sent {
    Yes,
    /// A close that had come before was shown as its answer.
    AnsweredBefore,
}

/// A content header and body frames as large as may be.
fn content_frames(channel: u16, frame_max: u32, properties: &Arguments, body: &[u8]) -> Vec<u8> {
    let header = wire::encode_header(60, 0, body.len() as u64, properties);
    let mut out = wire::encode_frame(FrameKind::HEADER.0, channel, &header, None, None);
    let room = (frame_max as usize).saturating_sub(leveret_codec::FRAME_OVERHEAD).max(1);
    for piece in body.chunks(room) {
        out.extend(wire::encode_frame(FrameKind::BODY.0, channel, piece, None, None));
    }
    out
}

impl Connection {
    /// Writes a method by its name.
    pub(super) fn write_call(
        &mut self,
        channel: u16,
        name: &str,
        arguments: &[(&'static str, Argument)],
    ) {
        if let Some(method) = catalogue::by_name(name) {
            self.write_method(channel, name, &wire::encode_method(method, arguments));
        }
    }
}
