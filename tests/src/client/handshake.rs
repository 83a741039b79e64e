//! From the protocol header to connection.open-ok, in one go or step by step.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_codec::REFUSAL;
use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::amqp_types::{AMQPValue, FieldTable};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Client, Closed, arguments};
use crate::call::Call as _;
use crate::stream::Stream;

/// How a client logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// The SASL mechanism.
    pub mechanism: &'static str,
    /// Its response.
    pub response: Vec<u8>,
    /// The vhost.
    pub vhost: &'static str,
    /// Seconds between heartbeats, 0 for none.
    pub heartbeat: u16,
    /// The largest frame; 0 takes what the broker proposes.
    pub frame_max: u32,
    /// The most channels; 0 takes what the broker proposes.
    pub channel_max: u16,
    /// Whether the client tells that it knows RabbitMQ's extensions.
    pub capable: bool,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            mechanism: "PLAIN",
            response: b"\0guest\0guest".to_vec(),
            vhost: "/",
            heartbeat: 0,
            frame_max: 0,
            channel_max: 0,
            capable: true,
        }
    }
}

impl Login {
    /// What the client says of itself.
    #[must_use]
    pub fn client_properties(&self) -> FieldTable {
        let names = [
            "authentication_failure_close",
            "basic.nack",
            "connection.blocked",
            "consumer_cancel_notify",
            "exchange_exchange_bindings",
            "publisher_confirms",
        ];
        let capabilities = names.map(|name| (name, AMQPValue::Boolean(self.capable)));
        arguments([("capabilities", AMQPValue::FieldTable(arguments(capabilities)))])
    }
}

impl Client {
    /// Connects and logs in; no channel is open.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    #[must_use]
    pub fn login(address: SocketAddr, login: &Login) -> Self {
        let mut client = Self::mute(address);
        if let Err(closed) = client.try_log_in(login) {
            panic!("the login was refused: {closed:?}");
        }
        client
    }

    /// Connects over TLS and says nothing.
    ///
    /// # Errors
    /// When the TLS handshake fails. With TLS 1.3 a client may learn only afterwards that the broker does
    /// not want it.
    pub fn mute_tls(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        Ok(Self::over(Stream::tls(address, config, name)?))
    }

    /// Goes through the handshake on a connection that has said nothing yet.
    ///
    /// # Errors
    /// When the broker closes the connection with a reason.
    ///
    /// # Panics
    /// When it closes it without, or says something unexpected.
    #[track_caller]
    pub fn try_log_in(&mut self, login: &Login) -> Result<(), Closed> {
        self.greet();
        self.start_ok(login, login.client_properties());
        let tune = self.tune()?;
        self.tune_ok(login, &tune);
        let open = connection::Open { virtual_host: login.vhost.into() };
        self.send_method(0, &open.method());
        match self.next_method(0)? {
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_)) => Ok(()),
            other => panic!("connection.open was answered with {other:?}"),
        }
    }

    /// Sends the protocol header and waits for connection.start.
    ///
    /// # Panics
    /// When something else is said.
    #[track_caller]
    pub fn greet(&mut self) -> connection::Start {
        self.send_bytes(&REFUSAL);
        match self.next_method(0) {
            Ok(AMQPClass::Connection(connection::AMQPMethod::Start(start))) => {
                self.server_properties = start.server_properties.clone();
                start
            }
            other => panic!("the protocol header was answered with {other:?}"),
        }
    }

    /// Sends connection.start-ok.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn start_ok(&mut self, login: &Login, client_properties: FieldTable) {
        let start_ok = connection::StartOk {
            client_properties,
            mechanism: login.mechanism.into(),
            response: login.response.clone().into(),
            locale: "en_US".into(),
        };
        let method = connection::AMQPMethod::StartOk(start_ok);
        self.send_method(0, &AMQPClass::Connection(method));
    }

    /// Waits for connection.tune.
    ///
    /// # Errors
    /// When the broker closes the connection with a reason.
    ///
    /// # Panics
    /// When something else is said.
    #[track_caller]
    pub fn tune(&mut self) -> Result<connection::Tune, Closed> {
        match self.next_method(0)? {
            AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) => Ok(tune),
            other => panic!("connection.start-ok was answered with {other:?}"),
        }
    }

    /// Sends connection.tune-ok with what the login asks for.
    ///
    /// # Panics
    /// When the socket takes no bytes.
    #[track_caller]
    pub fn tune_ok(&mut self, login: &Login, proposed: &connection::Tune) {
        let or = |asked: u32, proposed: u32| if asked == 0 { proposed } else { asked };
        let frame_max = or(login.frame_max, proposed.frame_max);
        let channel_max = or(login.channel_max.into(), proposed.channel_max.into()) as u16;
        let heartbeat = login.heartbeat;
        self.frame_max = frame_max;
        self.splitter.set_frame_max(frame_max);
        let tune_ok = connection::TuneOk { channel_max, frame_max, heartbeat };
        self.send_method(0, &AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)));
    }
}
