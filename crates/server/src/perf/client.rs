//! A blocking AMQP connection: handshake, then one method and its answer at a time. Used for
//! setting up and tearing down; the hot loops take the socket over with [`Client::into_parts`].

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use leveret_codec::amqp::{AMQPClass, basic, channel, confirm, connection};
use leveret_codec::amqp_types::{AMQPValue, FieldTable};
use leveret_codec::{Frame, FrameKind, Method, REFUSAL, Splitter, put_method};

use super::error::PerfError;
use super::uri::Uri;
use super::wire::{self, ReadBuffer, timed_out};
use crate::socket;

/// How long the broker may take for one answer, and the TCP connect.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// The frame size we ask for when the broker has no limit: what RabbitMQ uses.
const FRAME_MAX_DEFAULT: u32 = 131_072;
/// Reads and writes return at least this often, so that a thread sees that the run is over.
pub(super) const SOCKET_TICK: Duration = Duration::from_millis(100);

/// An open connection.
pub(crate) struct Client {
    stream: TcpStream,
    input: ReadBuffer,
    output: BytesMut,
    /// Negotiated; the largest frame with head and end.
    pub(super) frame_max: u32,
    /// Negotiated, in seconds; 0 = none.
    pub(super) heartbeat: u16,
    /// Product and version, as the broker calls itself.
    pub(super) broker: String,
}

impl Client {
    /// Connects, logs in and opens the vhost. `heartbeat` is the longest interval we accept in
    /// seconds, 0 = none.
    pub(crate) fn connect(
        uri: &Uri,
        name: &str,
        heartbeat: u16,
        buffer: usize,
    ) -> Result<Self, PerfError> {
        let stream = tcp_connect(uri)?;
        let mut client = Self {
            stream,
            input: ReadBuffer::new(buffer),
            output: BytesMut::with_capacity(512),
            frame_max: FRAME_MAX_DEFAULT,
            heartbeat: 0,
            broker: String::new(),
        };
        client.handshake(uri, name, heartbeat)?;
        Ok(client)
    }

    // spec: 2.2.4 the connection class
    fn handshake(&mut self, uri: &Uri, name: &str, heartbeat: u16) -> Result<(), PerfError> {
        self.stream.write_all(&REFUSAL)?;
        let start = self.answer(0, "the protocol header", |method| match method {
            AMQPClass::Connection(connection::AMQPMethod::Start(start)) => Some(start),
            _ => None,
        })?;
        self.broker = product(&start.server_properties);
        self.send(0, &start_ok(uri, name))?;
        let tune = self
            .answer(0, "connection.start-ok", |method| match method {
                AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) => Some(tune),
                _ => None,
            })
            .map_err(|error| login_error(error, &uri.user))?;
        self.frame_max = if tune.frame_max == 0 { FRAME_MAX_DEFAULT } else { tune.frame_max };
        self.heartbeat = match (heartbeat, tune.heartbeat) {
            (0, _) => 0,
            (ours, 0) => ours,
            (ours, theirs) => ours.min(theirs),
        };
        let tune_ok = connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max: self.frame_max,
            heartbeat: self.heartbeat,
        };
        put_method(&mut self.output, 0, &class(connection::AMQPMethod::TuneOk(tune_ok)));
        let open = connection::Open { virtual_host: uri.vhost.as_str().into() };
        self.send(0, &class(connection::AMQPMethod::Open(open)))?;
        self.answer(0, "connection.open", |method| {
            matches!(method, AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))).then_some(())
        })
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self, number: u16) -> Result<(), PerfError> {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        self.call(number, &open, "channel.open", |method| {
            matches!(method, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))).then_some(())
        })
    }

    /// Turns publisher confirms on.
    pub(super) fn select_confirms(&mut self, number: u16) -> Result<(), PerfError> {
        let select =
            AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }));
        self.call(number, &select, "confirm.select", |method| {
            matches!(method, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_))).then_some(())
        })
    }

    /// Sets the prefetch of consumers that follow on this channel.
    pub(super) fn set_prefetch(&mut self, number: u16, prefetch: u16) -> Result<(), PerfError> {
        let qos = AMQPClass::Basic(basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count: prefetch,
            global: false,
        }));
        self.call(number, &qos, "basic.qos", |method| {
            matches!(method, AMQPClass::Basic(basic::AMQPMethod::QosOk(_))).then_some(())
        })
    }

    /// Sends a method and waits for its answer: the first method on that channel that `accept`
    /// takes.
    pub(super) fn call<T>(
        &mut self,
        number: u16,
        method: &AMQPClass,
        what: &'static str,
        accept: impl FnMut(AMQPClass) -> Option<T>,
    ) -> Result<T, PerfError> {
        self.send(number, method)?;
        self.answer(number, what, accept)
    }

    /// Appends a method to what the next `call` or `send` writes.
    pub(crate) fn queue_method(&mut self, number: u16, method: &AMQPClass) {
        put_method(&mut self.output, number, method);
    }

    /// Writes a method, after those that are queued.
    pub(super) fn send(&mut self, number: u16, method: &AMQPClass) -> Result<(), PerfError> {
        put_method(&mut self.output, number, method);
        self.flush()
    }

    /// Writes what is queued.
    pub(crate) fn flush(&mut self) -> Result<(), PerfError> {
        let result = self.stream.write_all(&self.output);
        self.output.clear();
        match result {
            Err(error) if timed_out(&error) => Err(no_answer("what we sent")),
            other => Ok(other?),
        }
    }

    /// Waits for a method on a channel. The broker closing it, or the connection, is an error.
    pub(super) fn answer<T>(
        &mut self,
        number: u16,
        what: &'static str,
        mut accept: impl FnMut(AMQPClass) -> Option<T>,
    ) -> Result<T, PerfError> {
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let splitter = Splitter::new(self.frame_max);
            while let Some((on, method)) = self
                .input
                .take_frame(splitter, |frame| Ok((frame.channel, other_method(&frame)?)))?
            {
                let Some(method) = method else { continue };
                if let Some(closed) = closed(&method) {
                    self.acknowledge_close(on, &closed);
                    return Err(closed);
                }
                if on == number
                    && let Some(answer) = accept(method)
                {
                    return Ok(answer);
                }
            }
            self.fill(deadline, what)?;
        }
    }

    /// Looks at every frame that comes until `look` has what it wants.
    pub(crate) fn until<T>(
        &mut self,
        what: &'static str,
        mut look: impl FnMut(&Frame<'_>) -> Result<Option<T>, PerfError>,
    ) -> Result<T, PerfError> {
        let deadline = Instant::now() + ANSWER_WAIT;
        let splitter = Splitter::new(self.frame_max);
        loop {
            while let Some(found) = self.input.take_frame(splitter, |frame| {
                if let Some(closed) = other_method(&frame)?.as_ref().and_then(closed) {
                    return Err(closed);
                }
                look(&frame)
            })? {
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            self.fill(deadline, what)?;
        }
    }

    /// Reads what has come, and gives up at the deadline.
    fn fill(&mut self, deadline: Instant, what: &'static str) -> Result<(), PerfError> {
        if Instant::now() >= deadline {
            return Err(no_answer(what));
        }
        match self.input.fill(&mut self.stream) {
            Ok(0) => Err(PerfError::Eof),
            Ok(_) => Ok(()),
            Err(error) if timed_out(&error) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(PerfError::Eof),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers a close. The socket may be gone already, which changes nothing.
    fn acknowledge_close(&mut self, number: u16, closed: &PerfError) {
        let _ = self.send(number, &close_ok(closed));
    }

    /// Closes the connection and waits for the broker's word, which comes after all that we sent
    /// before.
    pub(crate) fn close(mut self) -> Result<(), PerfError> {
        self.call(0, &close_method(), "connection.close", |method| {
            matches!(method, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)))
                .then_some(())
        })
    }

    /// The socket and what was read from it already. Reads and writes on the socket return after
    /// [`SOCKET_TICK`].
    pub(super) fn into_parts(self) -> (TcpStream, ReadBuffer) {
        (self.stream, self.input)
    }
}

/// A method that is not one of the hot ones.
fn other_method(frame: &Frame<'_>) -> Result<Option<AMQPClass>, PerfError> {
    if frame.kind != FrameKind::METHOD {
        return Ok(None);
    }
    match wire::method(frame)? {
        Method::Other(class) => Ok(Some(class)),
        _ => Ok(None),
    }
}

fn tcp_connect(uri: &Uri) -> Result<TcpStream, PerfError> {
    let address = uri.address();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::ConnectionRefused => PerfError::NothingListens { address: uri.address() },
        _ if source.raw_os_error() == Some(EMFILE) => {
            PerfError::Resources { what: "cannot open one more connection".into(), source }
        }
        _ => PerfError::Connect { address: uri.address(), source },
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&candidate, ANSWER_WAIT) {
            Ok(stream) => {
                socket::prepare(&stream)?;
                stream.set_read_timeout(Some(SOCKET_TICK))?;
                stream.set_write_timeout(Some(ANSWER_WAIT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Linux: too many open files in this process.
const EMFILE: i32 = 24;

fn start_ok(uri: &Uri, name: &str) -> AMQPClass {
    let mut properties = FieldTable::default();
    let text = |value: &str| AMQPValue::LongString(value.into());
    properties.insert("product".into(), text("leveret perf"));
    properties.insert("version".into(), text(env!("CARGO_PKG_VERSION")));
    properties.insert("platform".into(), text("Rust"));
    properties.insert("connection_name".into(), text(name));
    let mut capabilities = FieldTable::default();
    let names = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ];
    for capability in names {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    class(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties: properties,
        mechanism: "PLAIN".into(),
        response: format!("\0{}\0{}", uri.user, uri.password).as_str().into(),
        locale: "en_US".into(),
    }))
}

fn class(method: connection::AMQPMethod) -> AMQPClass {
    AMQPClass::Connection(method)
}

fn no_answer(what: &'static str) -> PerfError {
    PerfError::NoAnswer { what, seconds: ANSWER_WAIT.as_secs() }
}

/// A refused login is connection.close 403, or a closed socket before connection.tune.
// rabbitmq: access-control/authentication failure
fn login_error(error: PerfError, user: &str) -> PerfError {
    let text = match error {
        PerfError::ConnectionClosed { code, text } => format!("{code} {text}"),
        PerfError::Eof => "it closed the socket".to_owned(),
        other => return other,
    };
    PerfError::Login { user: user.to_owned(), text }
}

fn product(properties: &FieldTable) -> String {
    let text = |key: &str| match properties.inner().get(key) {
        Some(AMQPValue::LongString(value)) => {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        }
        _ => String::new(),
    };
    let name = format!("{} {}", text("product"), text("version")).trim().to_owned();
    if name.is_empty() { "unnamed broker".to_owned() } else { name }
}

/// connection.close with reply code 200.
pub(super) fn close_method() -> AMQPClass {
    class(connection::AMQPMethod::Close(connection::Close {
        reply_code: 200,
        reply_text: "Goodbye".into(),
        class_id: 0,
        method_id: 0,
    }))
}

/// The error in a connection.close or channel.close.
pub(super) fn closed(method: &AMQPClass) -> Option<PerfError> {
    match method {
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            let text = close.reply_text.as_str().to_owned();
            Some(PerfError::ConnectionClosed { code: close.reply_code, text })
        }
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            let text = close.reply_text.as_str().to_owned();
            Some(PerfError::ChannelClosed { code: close.reply_code, text })
        }
        _ => None,
    }
}

/// The answer to the close that `closed` came from.
pub(super) fn close_ok(closed: &PerfError) -> AMQPClass {
    match closed {
        PerfError::ChannelClosed { .. } => {
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
        }
        _ => class(connection::AMQPMethod::CloseOk(connection::CloseOk {})),
    }
}
