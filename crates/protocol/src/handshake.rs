//! From the protocol header to connection.open-ok: what is offered, what is accepted, who logs in.
//! Its errors are mostly silent, as RabbitMQ's: the socket is closed after three seconds.

mod sasl;
mod start;

use std::sync::Arc;

use leveret_codec::amqp::{AMQPClass, connection};
use leveret_codec::{ProtocolHeader, REFUSAL, Table, put_method};
use leveret_engine::{BrokerError, PeerAddress, Timestamp, User};

use crate::broker::{Answer, Broker, Call};
use crate::config::Mechanism;
use crate::connection::shared::{Capabilities, ConnectionEnd};
use crate::connection::{Connection, Phase};
use crate::error::ConnectionError;
use crate::limits::FRAME_MIN;
use crate::output::Output;

pub(crate) use sasl::{Credentials, credentials};
pub(crate) use start::start;

/// Ids of connection.open, which its refusals name.
const CONNECTION_OPEN: (u16, u16) = (10, 40);

/// Who the client says it is.
#[derive(Debug, Default)]
pub(crate) struct Login {
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) client_properties: Table,
}

impl Login {
    /// `connection_name` of the client properties.
    pub(crate) fn connection_name(&self) -> Option<String> {
        let name = self.client_properties.get("connection_name")?.as_bytes()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}

impl Connection {
    /// Takes the first bytes; returns how many were used.
    // spec: 4.2.2 protocol header
    pub(crate) fn protocol_header(&mut self, input: &[u8], out: &mut Output) -> usize {
        match ProtocolHeader::recognise(input) {
            None => 0,
            Some(ProtocolHeader::Supported) => {
                let offered = start(&self.shared.config, &self.shared.peer);
                put_method(out.buf(), 0, &offered);
                self.phase = Phase::Starting;
                ProtocolHeader::LEN
            }
            Some(ProtocolHeader::Unsupported) => {
                out.buf().extend_from_slice(&REFUSAL);
                self.end_with(ConnectionEnd::WrongProtocol);
                self.phase = Phase::Closed;
                input.len()
            }
        }
    }

    // rabbitmq: authentication
    pub(crate) fn start_ok<B: Broker>(
        &mut self,
        method: &connection::StartOk,
        now: Timestamp,
        broker: &B,
        out: &mut Output,
    ) {
        self.login.client_properties = Table::from(&method.client_properties);
        self.shared.capabilities = capabilities(&self.login.client_properties);
        let name = method.mechanism.as_str();
        let mechanism = Mechanism::parse(name).filter(|mechanism| self.offers(*mechanism));
        let Some(mechanism) = mechanism else {
            return self.silent_close(format!("unknown authentication mechanism '{name}'"), now);
        };
        self.login.mechanism = Some(mechanism);
        let Some(login) = credentials(mechanism, method.response.as_bytes(), &self.shared.peer)
        else {
            return self.silent_close(format!("{name} response is invalid"), now);
        };
        match self.authenticate(&login, broker) {
            Ok(user) => {
                self.shared.user_name = user.name.clone();
                self.shared.user = Some(user);
                self.tune(out);
            }
            Err(reason) => self.login_refused(&login.user, reason, mechanism, now, out),
        }
    }

    fn offers(&self, mechanism: Mechanism) -> bool {
        let has_name = self.shared.peer.certificate_name.is_some();
        self.shared.config.mechanisms.contains(&mechanism)
            && (mechanism != Mechanism::External || has_name)
    }

    fn authenticate<B: Broker>(
        &self,
        login: &Credentials,
        broker: &B,
    ) -> Result<Arc<User>, String> {
        let peer = PeerAddress { loopback: self.shared.peer.loopback };
        let topology = broker.topology();
        match &login.password {
            Some(password) if password.is_empty() => Err("blank password".to_owned()),
            Some(password) => topology
                .authenticate(&login.user, password, peer)
                .map_err(|error| error.to_string()),
            // The certificate has proved the name, or the process knows who it is.
            None => match &self.shared.peer.known {
                Some(user) => Ok(Arc::clone(user)),
                None => topology
                    .authenticate_external(&login.user, peer)
                    .map_err(|error| error.to_string()),
            },
        }
    }

    /// Clients that asked for it are told; others see the socket close.
    fn login_refused(
        &mut self,
        user: &str,
        reason: String,
        mechanism: Mechanism,
        now: Timestamp,
        out: &mut Output,
    ) {
        self.end_with(ConnectionEnd::LoginRefused { user: user.to_owned(), reason });
        if self.shared.capabilities.authentication_failure_close {
            let error = ConnectionError::LoginRefused(mechanism.name().to_owned());
            self.put_close(&error, (0, 0), now, out);
        } else {
            self.silent_close(String::new(), now);
        }
    }

    // rabbitmq: tune
    fn tune(&mut self, out: &mut Output) {
        let config = &self.shared.config;
        let tune = connection::Tune {
            channel_max: config.channel_max,
            frame_max: config.frame_max,
            heartbeat: config.heartbeat,
        };
        let method = AMQPClass::Connection(connection::AMQPMethod::Tune(tune));
        put_method(out.buf(), 0, &method);
        self.phase = Phase::Tuning;
    }

    /// What is out of range gets no answer: RabbitMQ is silent here.
    // rabbitmq: tune-ok
    pub(crate) fn tune_ok(&mut self, method: &connection::TuneOk, now: Timestamp) {
        let config = &self.shared.config;
        let frame_max = in_range("frame_max", method.frame_max, FRAME_MIN, config.frame_max);
        let channel_max = in_range(
            "channel_max",
            u32::from(method.channel_max),
            1,
            u32::from(config.channel_max),
        );
        if let Err(reason) = frame_max.and(channel_max) {
            return self.silent_close(reason, now);
        }
        self.shared.frame_max = method.frame_max;
        self.shared.channel_max = method.channel_max;
        self.splitter.set_frame_max(method.frame_max);
        self.heartbeat.start(method.heartbeat, now);
        self.phase = Phase::Opening;
    }

    // rabbitmq: connection.open
    pub(crate) fn open<B: Broker>(
        &mut self,
        method: &connection::Open,
        now: Timestamp,
        broker: &mut B,
        out: &mut Output,
    ) {
        let vhost: Arc<str> = Arc::from(method.virtual_host.as_str());
        if broker.topology().vhost(&vhost).is_none() {
            return self.open_refused(BrokerError::VhostNotFound(vhost), now, out);
        }
        self.shared.vhost = vhost.clone();
        let user = self.shared.user_name.clone();
        self.phase = Phase::OpenAsked;
        if let Some(answer) = broker.call(self.shared.key(), Call::Open { vhost, user }) {
            self.open_answered(answer, now, broker, out);
        }
    }

    /// The limits allow it; the permission is looked at after them, as RabbitMQ does.
    pub(crate) fn open_answered<B: Broker>(
        &mut self,
        answer: Answer,
        now: Timestamp,
        broker: &B,
        out: &mut Output,
    ) {
        let Answer::Opened(result) = answer else { return };
        let permitted = result.and_then(|()| self.check_vhost_access(broker));
        if let Err(error) = permitted {
            return self.open_refused(error, now, out);
        }
        self.phase = Phase::Running;
        let ok = connection::AMQPMethod::OpenOk(connection::OpenOk {});
        put_method(out.buf(), 0, &AMQPClass::Connection(ok));
    }

    fn check_vhost_access<B: Broker>(&self, broker: &B) -> Result<(), BrokerError> {
        let vhost = &self.shared.vhost;
        match &self.shared.user {
            Some(user) => broker.topology().check_vhost(user, vhost),
            None => Err(BrokerError::VhostNotFound(vhost.clone())),
        }
    }

    fn open_refused(&mut self, error: BrokerError, now: Timestamp, out: &mut Output) {
        self.put_close(&ConnectionError::Refused(error), CONNECTION_OPEN, now, out);
    }
}

/// What the client said it can do.
fn capabilities(properties: &Table) -> Capabilities {
    let table = properties.get("capabilities").and_then(leveret_codec::Value::as_table);
    let has = |name: &str| {
        table.and_then(|table| table.get(name)).and_then(leveret_codec::Value::as_bool)
            == Some(true)
    };
    Capabilities {
        consumer_cancel_notify: has("consumer_cancel_notify"),
        authentication_failure_close: has("authentication_failure_close"),
        connection_blocked: has("connection.blocked"),
    }
}

/// RabbitMQ takes no minimum of both sides: a client value out of range is refused.
fn in_range(name: &str, value: u32, min: u32, server: u32) -> Result<(), String> {
    if value != 0 && value < min {
        return Err(format!(
            "negotiated {name} = {value} is lower than the minimum allowed value ({min})"
        ));
    }
    if server != 0 && (value == 0 || value > server) {
        let unlimited = if value == 0 { " (no limit)" } else { "" };
        return Err(format!(
            "negotiated {name} = {value}{unlimited} is higher than the maximum allowed value \
             ({server})"
        ));
    }
    Ok(())
}
