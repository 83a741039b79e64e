//! How a scenario logs in where it does not do so frame by frame.

use leveret_codec::{REFUSAL, Table, Value};

use super::deeds::LOGGED_IN;
use super::event::Event;
use super::stage::{Stage, Stuck};
use super::step::{Login, Place};
use super::wire::{self, Argument, Arguments};

/// What a client that knows everything declares.
const CAPABILITIES: [&str; 6] = [
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "exchange_exchange_bindings",
    "publisher_confirms",
];

impl Stage {
    /// Goes through the handshake on a new socket; answers with `logged in` or with what came instead.
    pub(super) fn log_in(&mut self, label: &str, login: &Login) -> Result<String, Stuck> {
        let place = Place { connection: label.to_owned(), channel: 0 };
        let vhost = self.mask.reveal(&login.vhost);
        if let Err(outcome) = self.greet(label) {
            return Ok(outcome);
        }
        self.say(label, "connection.start-ok", &start_ok(login));
        let tune = match self.wait_for_answer(&place) {
            Some((_, Event::Method { method, arguments })) if method.name == "connection.tune" => {
                arguments
            }
            other => return Ok(self.refused(label, other)),
        };
        let tune_ok = tune_ok(login, &tune);
        self.say(label, "connection.tune-ok", &tune_ok);
        if let Some(connection) = self.connection(label) {
            connection.frame_max = wire::number(&tune_ok, "frame-max") as u32;
        }
        let open = vec![("virtual-host", Argument::String(vhost.into_bytes()))];
        self.say(label, "connection.open", &open);
        match self.wait_for_answer(&place) {
            Some((_, ok)) if ok.is("connection.open-ok") => Ok(LOGGED_IN.to_owned()),
            other => Ok(self.refused(label, other)),
        }
    }

    /// Sends the protocol header and waits for connection.start; the error is what came instead.
    pub(super) fn greet(&mut self, label: &str) -> Result<(), String> {
        let place = Place { connection: label.to_owned(), channel: 0 };
        if let Some(connection) = self.connection(label) {
            connection.write(&REFUSAL);
        }
        match self.wait_for_answer(&place) {
            Some((_, start)) if start.is("connection.start") => Ok(()),
            other => Err(self.refused(label, other)),
        }
    }

    fn say(&mut self, label: &str, name: &str, arguments: &Arguments) {
        if let Some(connection) = self.connection(label) {
            connection.write_call(0, name, arguments);
        }
    }

    fn refused(&mut self, label: &str, event: Option<(Place, Event)>) -> String {
        self.forget(label);
        event.map_or_else(|| "no answer".to_owned(), |(_, event)| event.show(self.order))
    }
}

fn start_ok(login: &Login) -> Arguments {
    let all = || {
        let mut table = Table::new();
        for name in CAPABILITIES {
            table.insert(name, Value::Bool(true));
        }
        table
    };
    let mut properties = Table::new();
    let capabilities = login.capabilities.clone().unwrap_or_else(all);
    properties.insert("capabilities", Value::Table(capabilities));
    let response = format!("\0{}\0{}", login.user, login.password);
    vec![
        ("client-properties", Argument::Table(properties)),
        ("mechanism", Argument::String("PLAIN".into())),
        ("response", Argument::String(response.into_bytes())),
        ("locale", Argument::String("en_US".into())),
    ]
}

fn tune_ok(login: &Login, tune: &Arguments) -> Arguments {
    let channel_max =
        login.channel_max.map_or_else(|| wire::number(tune, "channel-max"), u64::from);
    let frame_max = login.frame_max.map_or_else(|| wire::number(tune, "frame-max"), u64::from);
    vec![
        ("channel-max", Argument::Number(channel_max)),
        ("frame-max", Argument::Number(frame_max)),
        ("heartbeat", Argument::Number(login.heartbeat.into())),
    ]
}
