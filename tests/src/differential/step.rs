//! The lines of a scenario as steps. `tests/differential/README.md` explains them to those who write some.

use std::time::Duration;

use leveret_codec::Table;

use super::catalogue::{self, Kind, Method};
use super::text::{Reader, Result, octet, parse};
use super::wire::{self, Argument, Arguments};

/// How long `nothing` waits where the line does not say.
const NOTHING: Duration = Duration::from_millis(200);

/// One line of a scenario.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A request to the management API, which must be granted.
    Http { verb: String, path: String, body: String },
    /// Time passes.
    Sleep(Duration),
    /// Something on a connection.
    On { place: Place, times: u32, deed: Deed },
}

/// A connection and a channel of it, 0 where none is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) connection: String,
    pub(super) channel: u16,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.channel {
            0 => f.write_str(&self.connection),
            channel => write!(f, "{}.{channel}", self.connection),
        }
    }
}

/// What is done on a connection.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Sends a method, with content where `content` is given.
    Send { method: &'static Method, arguments: Arguments, content: Option<(Arguments, Vec<u8>)> },
    /// As `Send`, and waits for the answer.
    Call { method: &'static Method, arguments: Arguments },
    /// Sends a content header alone.
    Header { class: u16, weight: u16, size: u64, properties: Arguments },
    /// Sends a body frame alone.
    Body(Vec<u8>),
    /// Sends a frame.
    Frame { kind: u8, size: Option<u32>, end: Option<u8>, payload: Vec<u8> },
    /// Sends octets.
    Octets(Vec<u8>),
    /// Opens the socket and says nothing.
    Connect,
    /// Opens the socket, sends the protocol header and waits for connection.start.
    Greet,
    /// Logs in as told.
    Login(Box<Login>),
    /// Closes the socket without a word.
    Drop,
    /// From now on closes are not answered, channels not opened by themselves.
    Manual,
    /// Gets and acks until the queue is empty.
    GetAll { queue: Vec<u8> },
    /// Waits until the broker says that of a queue.
    Until { queue: Vec<u8>, state: QueueState },
    /// Waits for so many events, confirms apart.
    Take(usize),
    /// Waits for so many events, confirms among them.
    TakeInOrder(usize),
    /// Waits for confirms: so many, or all that are outstanding.
    Confirms(Option<usize>),
    /// Waits for the time and shows what came in it.
    Nothing(Duration),
    /// Waits for the end of the socket, and may tell whether it came after some seconds.
    End { timed: bool },
}

/// What `until` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueState {
    Ready(u64),
    Consumers(u64),
    Gone,
}

/// How a connection logs in.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
    pub(super) channel_max: Option<u16>,
    pub(super) frame_max: Option<u32>,
    pub(super) heartbeat: u16,
    /// The capabilities, all of them by default.
    pub(super) capabilities: Option<Table>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            user: "guest".into(),
            password: "guest".into(),
            vhost: "<vhost>".into(),
            channel_max: None,
            frame_max: None,
            heartbeat: 0,
            capabilities: None,
        }
    }
}

impl Step {
    /// Reads a line.
    pub(super) fn read(line: &str) -> Result<Self> {
        if let Some(rest) = line.strip_prefix("http ") {
            return Self::http(rest);
        }
        if let Some(rest) = line.strip_prefix("sleep ") {
            return Ok(Self::Sleep(duration(rest.trim())?));
        }
        let (times, rest) = match line.strip_prefix("repeat ") {
            Some(rest) => {
                let (times, rest) = rest.split_once(':').ok_or("`repeat N: LINE` expected")?;
                (parse(times.trim())?, rest.trim())
            }
            None => (1, line),
        };
        let split = rest.find(['>', '<', '~']).ok_or("neither `>`, `<` nor `~`")?;
        let (place, rest) = rest.split_at(split);
        let place = Place::read(place)?;
        let deed = match rest.as_bytes() {
            [b'>', b'>', ..] => Deed::sending(rest.get(2..).unwrap_or_default(), Wait::Never)?,
            [b'>', ..] => Deed::sending(rest.get(1..).unwrap_or_default(), Wait::AsDue)?,
            [b'<', ..] => Deed::waiting(rest.get(1..).unwrap_or_default())?,
            _ => Deed::until(rest.get(1..).unwrap_or_default())?,
        };
        Ok(Self::On { place, times, deed })
    }

    fn http(rest: &str) -> Result<Self> {
        let mut words = rest.trim().splitn(3, ' ');
        let verb = words.next().unwrap_or_default().to_owned();
        let path = words.next().ok_or("`http VERB PATH BODY` expected")?.to_owned();
        let body = words.next().unwrap_or_default().trim().to_owned();
        if !body.is_empty() && serde_json::from_str::<serde_json::Value>(&body).is_err() {
            return Err("the body is not JSON".into());
        }
        Ok(Self::Http { verb, path, body })
    }
}

impl Place {
    fn read(text: &str) -> Result<Self> {
        let (connection, channel) = match text.split_once('.') {
            Some((connection, channel)) => (connection, parse(channel)?),
            None => (text, 0),
        };
        if connection.is_empty() || !connection.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("`{text}` is not a connection and channel"));
        }
        Ok(Self { connection: connection.to_owned(), channel })
    }
}

/// Whether the step waits for the method's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    AsDue,
    Never,
}

impl Deed {
    /// Whether it only waits.
    pub(super) fn waits(&self) -> bool {
        matches!(
            self,
            Self::Until { .. }
                | Self::Take(_)
                | Self::TakeInOrder(_)
                | Self::Confirms(_)
                | Self::Nothing(_)
                | Self::End { .. }
        )
    }

    fn sending(text: &str, wait: Wait) -> Result<Self> {
        let mut reader = Reader::new(text);
        let word = reader.word("");
        match word {
            "connect" => Ok(Self::Connect),
            "greet" => Ok(Self::Greet),
            "drop" => Ok(Self::Drop),
            "manual" => Ok(Self::Manual),
            "octets" => Ok(Self::Octets(reader.octets()?)),
            "body" => Ok(Self::Body(reader.quoted()?)),
            "get-all" => Ok(Self::GetAll { queue: queue(&mut reader)? }),
            "login" => Self::login(&mut reader),
            "frame" => Self::frame(&mut reader),
            "header" => Self::header(&mut reader),
            name => match catalogue::by_name(name) {
                Some(method) => Self::method(method, &mut reader, wait),
                None => Err(format!("`{name}` is neither a method nor a word of scenarios")),
            },
        }
    }

    fn method(method: &'static Method, reader: &mut Reader<'_>, wait: Wait) -> Result<Self> {
        let known: Vec<_> = method.arguments().collect();
        let arguments = wire::read_arguments(reader, known.into_iter())?;
        if reader.eat('|') {
            let properties = properties(reader)?;
            let body = if reader.eat('|') { reader.quoted()? } else { Vec::new() };
            finished(reader)?;
            return Ok(Self::Send { method, arguments, content: Some((properties, body)) });
        }
        finished(reader)?;
        let answered = method.is_answered() && !wire::is_set(&arguments, "nowait");
        if answered && wait == Wait::AsDue {
            return Ok(Self::Call { method, arguments });
        }
        Ok(Self::Send { method, arguments, content: None })
    }

    fn header(reader: &mut Reader<'_>) -> Result<Self> {
        let known = [("class", Kind::Short), ("weight", Kind::Short), ("size", Kind::LongLong)];
        let given = wire::read_arguments(reader, known.into_iter())?;
        let properties = if reader.eat('|') { properties(reader)? } else { Arguments::new() };
        finished(reader)?;
        let class = match wire::find(&given, "class") {
            Some(Argument::Number(class)) => *class as u16,
            _ => 60,
        };
        Ok(Self::Header {
            class,
            weight: wire::number(&given, "weight") as u16,
            size: wire::number(&given, "size"),
            properties,
        })
    }

    /// `frame 1 size=5 end=00: OCTETS`.
    fn frame(reader: &mut Reader<'_>) -> Result<Self> {
        let (head, payload) =
            reader.rest().split_once(':').ok_or("`frame KIND: OCTETS` expected")?;
        let mut words = head.split_whitespace();
        let kind = parse(words.next().unwrap_or_default())?;
        let (mut size, mut end) = (None, None);
        for word in words {
            match word.split_once('=') {
                Some(("size", n)) => size = Some(parse(n)?),
                Some(("end", digits)) => end = Some(octet(digits)?),
                _ => return Err(format!("`{word}` is neither size=N nor end=HH")),
            }
        }
        Ok(Self::Frame { kind, size, end, payload: Reader::new(payload).octets()? })
    }

    fn login(reader: &mut Reader<'_>) -> Result<Self> {
        let known = [
            ("user", Kind::LongString),
            ("password", Kind::LongString),
            ("vhost", Kind::LongString),
            ("channel-max", Kind::Short),
            ("frame-max", Kind::Long),
            ("heartbeat", Kind::Short),
            ("capabilities", Kind::Table),
        ];
        let given = wire::read_arguments(reader, known.into_iter())?;
        finished(reader)?;
        let mut login = Login::default();
        for (name, value) in given {
            match (name, value) {
                ("user", Argument::String(user)) => {
                    login.user = lossy(&user);
                    // What every scenario gives the users that it makes.
                    login.password = "pw".into();
                }
                ("password", Argument::String(password)) => login.password = lossy(&password),
                ("vhost", Argument::String(vhost)) => login.vhost = lossy(&vhost),
                ("channel-max", Argument::Number(n)) => login.channel_max = Some(n as u16),
                ("frame-max", Argument::Number(n)) => login.frame_max = Some(n as u32),
                ("heartbeat", Argument::Number(n)) => login.heartbeat = n as u16,
                ("capabilities", Argument::Table(table)) => login.capabilities = Some(table),
                (name, _) => return Err(format!("`{name}` of a wrong type")),
            }
        }
        Ok(Self::Login(Box::new(login)))
    }

    fn waiting(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["confirms"] => Ok(Self::Confirms(None)),
            ["confirms", count] => Ok(Self::Confirms(Some(parse(count)?))),
            ["in", "order", count] => Ok(Self::TakeInOrder(parse(count)?)),
            ["nothing"] => Ok(Self::Nothing(NOTHING)),
            ["nothing", time] => Ok(Self::Nothing(duration(time)?)),
            ["end"] => Ok(Self::End { timed: false }),
            ["end", "timed"] => Ok(Self::End { timed: true }),
            [count] => Ok(Self::Take(parse(count)?)),
            _ => Err(format!("`{}` is nothing to wait for", text.trim())),
        }
    }

    /// `queue q ready 3`, `queue q consumers 1`, `queue q gone`.
    fn until(text: &str) -> Result<Self> {
        let mut reader = Reader::new(text);
        if reader.word("") != "queue" {
            return Err("`~ queue NAME STATE` expected".into());
        }
        reader.eat(' ');
        let queue = reader.string("")?;
        let words: Vec<&str> = reader.rest().split_whitespace().collect();
        let state = match words.as_slice() {
            ["ready", count] => QueueState::Ready(parse(count)?),
            ["consumers", count] => QueueState::Consumers(parse(count)?),
            ["gone"] => QueueState::Gone,
            _ => return Err("a queue is `ready N`, has `consumers N`, or is `gone`".into()),
        };
        Ok(Self::Until { queue, state })
    }
}

fn queue(reader: &mut Reader<'_>) -> Result<Vec<u8>> {
    let given = wire::read_arguments(reader, [("queue", Kind::ShortString)].into_iter())?;
    finished(reader)?;
    match given.into_iter().next() {
        Some((_, Argument::String(queue))) => Ok(queue),
        _ => Err("`queue=NAME` expected".into()),
    }
}

fn properties(reader: &mut Reader<'_>) -> Result<Arguments> {
    let known: Vec<_> = catalogue::properties().collect();
    wire::read_arguments(reader, known.into_iter())
}

fn finished(reader: &Reader<'_>) -> Result<()> {
    if reader.is_done() { Ok(()) } else { Err(format!("`{}` is too much", reader.rest())) }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `200ms` or `3s`.
fn duration(text: &str) -> Result<Duration> {
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => parse(ms).map(Duration::from_millis),
        (None, Some(seconds)) => parse(seconds).map(Duration::from_secs),
        _ => Err(format!("`{text}` is not such as 200ms or 3s")),
    }
}
