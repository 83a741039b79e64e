//! The steps of a scenario that wait: for events, for confirms, for silence, for the end, for a queue.

use std::time::Duration;

use super::event::{Event, spans};
use super::stage::{PAUSE, Stage, Stuck};
use super::step::{Place, QueueState};
use super::wire::{self, Argument};
use crate::clock::Stopwatch;

/// The channel on which `until` asks; no scenario uses it.
const PROBE: u16 = 999;

/// An end of the socket that takes this long was meant to take long.
const LATER: Duration = Duration::from_millis(1500);

impl Stage {
    /// Shows so many events.
    pub(super) fn take(&mut self, place: &Place, count: usize, wanted: impl Fn(&Event) -> bool) {
        for done in 0..count {
            let deadline = self.patience();
            let Some((at, event)) = self.wait(place, deadline, &wanted) else {
                self.log(&format!("{place}< nothing more: {done} of {count} came"));
                return;
            };
            self.show(&at, &event);
            self.after(&at, &event);
            if at != *place {
                return;
            }
        }
    }

    /// Shows confirms as sets: so many, or all that are outstanding.
    pub(super) fn confirms(&mut self, place: &Place, count: Option<usize>) {
        let (mut acks, mut nacks) = (Vec::new(), Vec::new());
        let deadline = self.patience();
        let mut outstanding = 0;
        let ending = loop {
            let Some(connection) = self.connection(&place.connection) else { break None };
            let channel = connection.channel(place.channel);
            while let Some(Event::Confirm { ack, tags }) = channel.take(Event::is_confirm) {
                if ack { acks.extend(tags) } else { nacks.extend(tags) }
            }
            outstanding = channel.outstanding();
            if count.map_or(outstanding == 0, |count| acks.len() + nacks.len() >= count) {
                break None;
            }
            if let Some(close) = channel.take(|event| event.is("channel.close")) {
                break Some((place.clone(), close));
            }
            if let Some(ending) = connection.take_ending() {
                break Some((Place { channel: 0, ..place.clone() }, ending));
            }
            if !connection.pump(deadline) {
                break None;
            }
        };
        self.log(&format!("{place}< confirms: {}", show_confirms(&acks, &nacks)));
        if outstanding > 0 && count.is_none() {
            self.log(&format!("{place}< not confirmed: {outstanding}"));
        }
        if let Some((at, event)) = ending {
            self.show(&at, &event);
            self.after(&at, &event);
        }
    }

    /// Waits for the time and shows what came.
    pub(super) fn nothing(&mut self, place: &Place, time: Duration) {
        let deadline = self.deadline(time);
        while let Some((at, event)) = self.wait(place, deadline, |_| true) {
            self.show(&at, &event);
            self.after(&at, &event);
        }
    }

    /// Shows what comes until the broker ends the socket.
    pub(super) fn end(&mut self, place: &Place, timed: bool) {
        let watch = Stopwatch::start();
        let deadline = self.patience();
        while let Some((at, event)) = self.wait(place, deadline, |_| true) {
            if matches!(event, Event::End) {
                let when = match (timed, watch.elapsed() >= LATER) {
                    (false, _) => "",
                    (true, true) => " after some seconds",
                    (true, false) => " at once",
                };
                self.log(&format!("{at}< end of the socket{when}"));
                self.forget(&place.connection);
                return;
            }
            self.show(&at, &event);
        }
        self.log(&format!("{place}< the socket is still open"));
    }

    /// Asks for the queue on a channel of its own until it is so.
    pub(super) fn until(
        &mut self,
        place: &Place,
        queue: &[u8],
        state: QueueState,
    ) -> Result<(), Stuck> {
        let probe = Place { connection: place.connection.clone(), channel: PROBE };
        let arguments =
            [("queue", Argument::String(queue.to_vec())), ("passive", Argument::Bit(true))];
        let deadline = self.patience();
        let name = String::from_utf8_lossy(queue).into_owned();
        loop {
            self.ready(&probe)?.write_call(PROBE, "queue.declare", &arguments);
            let Some((at, event)) = self.wait_for_answer(&probe) else {
                self.log(&format!("{place}~ queue {name}: no answer"));
                return Ok(());
            };
            self.after(&at, &event);
            let (now, reached) = self.judge(&event, state);
            if reached || deadline.is_over() || at != probe {
                self.log(&format!("{place}~ queue {name}: {now}"));
                return Ok(());
            }
            self.pass(PAUSE);
        }
    }

    /// What the answer to a passive declare says, and whether that was waited for.
    fn judge(&self, event: &Event, state: QueueState) -> (String, bool) {
        let Event::Method { method, arguments } = event else {
            return (event.show(self.order), false);
        };
        if method.name != "queue.declare-ok" {
            let gone = wire::number(arguments, "reply-code") == 404;
            let now = if gone { "gone".to_owned() } else { event.show(self.order) };
            return (now, gone && state == QueueState::Gone);
        }
        let ready = wire::number(arguments, "message-count");
        let consumers = wire::number(arguments, "consumer-count");
        match state {
            QueueState::Ready(count) => (format!("ready {ready}"), ready == count),
            QueueState::Consumers(count) => (format!("consumers {consumers}"), consumers == count),
            QueueState::Gone => ("still there".to_owned(), false),
        }
    }

    /// Shows what nobody waited for, once it has been quiet for a while.
    pub(super) fn leftovers(&mut self, quiet: Duration) {
        for label in self.labels() {
            let deadline = self.patience();
            while !deadline.is_over()
                && let Some(connection) = self.connection(&label)
                && connection.pump(crate::clock::Deadline::after(quiet))
            {}
            let numbers = self.connection(&label).map(|c| c.channel_numbers()).unwrap_or_default();
            for channel in numbers {
                self.leftovers_of(&Place { connection: label.clone(), channel });
            }
        }
    }

    fn leftovers_of(&mut self, place: &Place) {
        let (mut acks, mut nacks) = (Vec::new(), Vec::new());
        while let Some(connection) = self.connection(&place.connection)
            && let Some(event) = connection.channel(place.channel).take(|_| true)
        {
            match event {
                Event::Confirm { ack: true, tags } => acks.extend(tags),
                Event::Confirm { ack: false, tags } => nacks.extend(tags),
                event => self.log(&format!("left: {place}< {}", event.show(self.order))),
            }
        }
        if !acks.is_empty() || !nacks.is_empty() {
            self.log(&format!("left: {place}< confirms: {}", show_confirms(&acks, &nacks)));
        }
    }
}

fn show_confirms(acks: &[u64], nacks: &[u64]) -> String {
    match (acks, nacks) {
        ([], []) => "none".to_owned(),
        (acks, []) => format!("ack {}", spans(acks)),
        ([], nacks) => format!("nack {}", spans(nacks)),
        (acks, nacks) => format!("ack {}; nack {}", spans(acks), spans(nacks)),
    }
}
