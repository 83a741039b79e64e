//! What closes a channel and what closes a connection, and the one place where both become a reply
//! code and a text. The texts are RabbitMQ's, since clients match on them.

mod octets;

use std::sync::Arc;

use leveret_codec::{DecodeError, ReplyCode, SHORT_STRING_MAX, method_id};
use leveret_engine::{BrokerError, ResourceName};

pub(crate) use octets::octets;

/// Why a channel is closed. The connection and its other channels go on.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.explain())]
pub(crate) enum ChannelError {
    /// The broker refuses, with a code that concerns the channel alone.
    Refused(BrokerError),
    /// An ack for a delivery that is not outstanding.
    UnknownDeliveryTag(u64),
    /// An empty queue name on a channel that has declared no queue.
    NoPreviousQueue,
    /// tx.commit or tx.rollback without tx.select.
    NotTransactional,
    /// confirm.select after tx.select.
    TxToConfirm,
    /// tx.select after confirm.select.
    ConfirmToTx,
    /// A queue refused a message of a transaction.
    PartialTx,
    /// More uncommitted than a channel may hold.
    TransactionTooLarge,
    /// A direct reply-to address without a consumer on it.
    ReplyConsumerMissing,
    /// A second consumer on the direct reply-to queue.
    ReplyConsumerSet,
    /// A direct reply-to consumer that wants to ack.
    ReplyConsumerAcks,
    /// The body is larger than the configured limit.
    MessageTooLarge {
        /// The announced size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// The expiration property is not a number of milliseconds.
    Expiration {
        /// As it came.
        text: String,
        /// What is wrong, as an Erlang term.
        reason: String,
    },
    /// CC or BCC is not an array.
    SenderSelectedHeader {
        /// Which header.
        name: &'static str,
        /// Its type in RabbitMQ's words.
        kind: &'static str,
    },
    /// The user-id property is not the user's name.
    UserId {
        /// What the message says.
        claimed: String,
        /// Who the publisher is.
        user: Arc<str>,
    },
    /// A consumer of a stream without a prefetch.
    StreamPrefetch(ResourceName),
    /// A delivery was not acked in time.
    AckTimeout {
        /// The channel.
        channel: u16,
        /// The time allowed.
        timeout_ms: u64,
    },
}

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.explain())]
pub(crate) enum ConnectionError {
    /// The broker refuses, with a code that concerns the connection.
    Refused(BrokerError),
    /// A channel's error that the whole connection pays for.
    Channel(Box<ChannelError>),
    /// A frame of a kind that AMQP does not know, or an empty method.
    UnknownFrame {
        /// The type octet.
        kind: u8,
        /// The payload in RabbitMQ's notation.
        octets: String,
    },
    /// The stream cannot be cut into frames any more.
    Framing {
        /// The type octet.
        kind: u8,
        /// The payload in RabbitMQ's notation; nothing of a frame that is too large.
        octets: String,
        /// What is wrong.
        error: DecodeError,
    },
    /// A frame where it makes no sense.
    UnexpectedFrame {
        /// The type octet.
        kind: u8,
        /// The payload in RabbitMQ's notation.
        octets: String,
    },
    /// A content frame where a method was due.
    ExpectedMethod,
    /// Something else than a header after a method with content.
    ExpectedHeader,
    /// A content header of another class.
    HeaderOfClass(u16),
    /// Something else than a body after a header.
    ExpectedBody,
    /// More body than the header announced.
    BodyTooLong,
    /// An announced body that no configuration allows.
    BodyOverCeiling(u64),
    /// Arguments that do not decode, in RabbitMQ's notation.
    CannotDecode(String),
    /// A short string that is not UTF-8.
    MalformedUtf8,
    /// A method that is not the client's to send, or not known.
    UnimplementedMethod,
    /// A method on a channel that is not open.
    ChannelNotOpen,
    /// channel.open on an open channel.
    ChannelOpenTwice,
    /// More channels than were negotiated.
    ChannelMax {
        /// How many are open.
        open: usize,
        /// How many may be.
        max: u16,
    },
    /// A method on channel 0 that is not legal in this state.
    UnexpectedMethod(&'static str),
    /// A failed login, told to clients that asked to be told.
    LoginRefused(String),
    /// basic.publish with immediate.
    Immediate,
    /// basic.qos with a size.
    PrefetchSize(u32),
    /// channel.flow(false).
    FlowOff,
    /// basic.recover without requeue.
    RecoverWithoutRequeue,
    /// A consumer tag that is taken.
    ConsumerTagReused(String),
    /// More consumers on a channel than configured.
    ConsumerMax(u32),
    /// The node closes the connection.
    Forced {
        /// The reply code.
        code: ReplyCode,
        /// The text.
        text: String,
    },
}

/// What a handler fails with. Boxed, so that success costs nothing to hand back.
#[derive(Debug)]
pub(crate) struct Fault(Box<Scope>);

/// The scope of an error is part of its type.
#[derive(Debug)]
pub(crate) enum Scope {
    /// Closes the channel.
    Channel(ChannelError),
    /// Closes the connection.
    Connection(ConnectionError),
}

/// What a close method says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: ReplyCode,
    pub(crate) text: String,
}

impl Reply {
    // rabbitmq: error classes
    fn new(code: ReplyCode, explanation: &str) -> Self {
        let text = if explanation.is_empty() {
            code.name().to_owned()
        } else {
            format!("{} - {explanation}", code.name())
        };
        Self { code, text: fit(text) }
    }
}

/// RabbitMQ keeps 252 bytes and adds dots; a character that would be cut in two goes as well.
fn fit(mut text: String) -> String {
    if text.len() > SHORT_STRING_MAX {
        text.truncate(text.floor_char_boundary(SHORT_STRING_MAX - 3));
        text.push_str("...");
    }
    text
}

impl ChannelError {
    /// The code and text of channel.close.
    pub(crate) fn reply(&self) -> Reply {
        Reply::new(self.code(), &self.explain())
    }

    /// The same error as one of the whole connection.
    pub(crate) fn escalate(self) -> ConnectionError {
        ConnectionError::Channel(Box::new(self))
    }

    fn code(&self) -> ReplyCode {
        match self {
            Self::Refused(error) => error.reply_code(),
            Self::NoPreviousQueue => ReplyCode::NOT_FOUND,
            _ => ReplyCode::PRECONDITION_FAILED,
        }
    }

    fn explain(&self) -> String {
        match self {
            Self::Refused(error) => error.explain(),
            Self::UnknownDeliveryTag(tag) => format!("unknown delivery tag {tag}"),
            Self::NoPreviousQueue => "no previously declared queue".to_owned(),
            Self::NotTransactional => "channel is not transactional".to_owned(),
            Self::TxToConfirm => "cannot switch from tx to confirm mode".to_owned(),
            Self::ConfirmToTx => "cannot switch from confirm to tx mode".to_owned(),
            Self::PartialTx => "partial tx completion".to_owned(),
            Self::TransactionTooLarge => "transaction is too large".to_owned(),
            Self::ReplyConsumerMissing => "fast reply consumer does not exist".to_owned(),
            Self::ReplyConsumerSet => "reply consumer already set".to_owned(),
            Self::ReplyConsumerAcks => "reply consumer cannot acknowledge".to_owned(),
            Self::MessageTooLarge { size, max } => message_too_large(*size, *max),
            Self::Expiration { text, reason } => format!("invalid expiration '{text}': {reason}"),
            Self::SenderSelectedHeader { name, kind } => {
                format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}")
            }
            Self::UserId { claimed, user } => {
                format!("user_id property set to '{claimed}' but authenticated user was '{user}'")
            }
            Self::StreamPrefetch(queue) => {
                format!("consumer prefetch count is not set for stream {queue}")
            }
            Self::AckTimeout { channel, timeout_ms } => format!(
                "delivery acknowledgement on channel {channel} timed out. Timeout value used: \
                 {timeout_ms} ms. This timeout value can be configured, see consumers doc guide \
                 to learn more"
            ),
        }
    }
}

fn message_too_large(size: u64, max: u64) -> String {
    let word = if max == crate::limits::BODY_BYTES_CEILING { "" } else { "configured " };
    format!("message size {size} is larger than {word}max size {max}")
}

impl ConnectionError {
    /// The code and text of connection.close.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Refused(BrokerError::Internal(_)) => Reply::new(self.code(), ""),
            _ => Reply::new(self.code(), &self.explain()),
        }
    }

    /// Whether the rest of the input has no meaning, so that not even close-ok can be read.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Framing { .. })
    }

    fn code(&self) -> ReplyCode {
        match self {
            Self::Refused(error) => error.reply_code(),
            Self::Channel(error) => error.code(),
            Self::UnknownFrame { .. }
            | Self::Framing { .. }
            | Self::BodyTooLong
            | Self::BodyOverCeiling(_)
            | Self::CannotDecode(_)
            | Self::MalformedUtf8 => ReplyCode::FRAME_ERROR,
            Self::UnexpectedFrame { .. }
            | Self::ExpectedMethod
            | Self::ExpectedHeader
            | Self::HeaderOfClass(_)
            | Self::ExpectedBody => ReplyCode::UNEXPECTED_FRAME,
            Self::UnimplementedMethod => ReplyCode::COMMAND_INVALID,
            Self::ChannelNotOpen | Self::ChannelOpenTwice | Self::UnexpectedMethod(_) => {
                ReplyCode::CHANNEL_ERROR
            }
            Self::ChannelMax { .. } | Self::ConsumerTagReused(_) | Self::ConsumerMax(_) => {
                ReplyCode::NOT_ALLOWED
            }
            Self::LoginRefused(_) => ReplyCode::ACCESS_REFUSED,
            Self::Immediate
            | Self::PrefetchSize(_)
            | Self::FlowOff
            | Self::RecoverWithoutRequeue => ReplyCode::NOT_IMPLEMENTED,
            Self::Forced { code, .. } => *code,
        }
    }

    fn explain(&self) -> String {
        match self {
            Self::Refused(error) => error.explain(),
            Self::Channel(error) => error.explain(),
            Self::UnknownFrame { kind, octets } => {
                format!("type {kind}, {octets}: unknown_frame")
            }
            Self::Framing { kind, octets, error } => {
                format!("type {kind}, {octets}: {}", framing_term(*error))
            }
            Self::UnexpectedFrame { kind, octets } => format!("type {kind}, {octets}"),
            Self::CannotDecode(octets) => format!("cannot decode {octets}"),
            Self::HeaderOfClass(class) => {
                format!("expected content header for class 60, got one for class {class} instead")
            }
            Self::BodyOverCeiling(size) => format!(
                "content body size {size} exceeds maximum allowed size {}",
                crate::limits::BODY_BYTES_CEILING
            ),
            Self::ChannelMax { open, max } => format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({max})"
            ),
            Self::UnexpectedMethod(state) => {
                format!("unexpected method in connection state {state}")
            }
            Self::LoginRefused(mechanism) => format!(
                "Login was refused using authentication mechanism {mechanism}. For details see \
                 the broker logfile."
            ),
            Self::PrefetchSize(size) => format!("prefetch_size!=0 ({size})"),
            Self::ConsumerTagReused(tag) => format!("attempt to reuse consumer tag '{tag}'"),
            Self::ConsumerMax(max) => format!("reached maximum ({max}) of consumers per channel"),
            Self::Forced { text, .. } => text.clone(),
            fixed => fixed.fixed_text().to_owned(),
        }
    }

    fn fixed_text(&self) -> &'static str {
        match self {
            Self::ExpectedMethod => "expected method frame, got non method frame instead",
            Self::ExpectedHeader => {
                "expected content header for class 60, got non content header frame instead"
            }
            Self::ExpectedBody => "expected content body, got non content body frame instead",
            Self::BodyTooLong => "content body frame exceeds remaining content size",
            Self::MalformedUtf8 => "Malformed UTF-8 in shortstr",
            Self::UnimplementedMethod => "unimplemented method",
            Self::ChannelNotOpen => "expected 'channel.open'",
            Self::ChannelOpenTwice => "second 'channel.open' seen",
            Self::Immediate => "immediate=true",
            Self::FlowOff => "active=false",
            Self::RecoverWithoutRequeue => "requeue=false",
            _ => "",
        }
    }
}

fn framing_term(error: DecodeError) -> String {
    match error {
        DecodeError::FrameTooLarge { size, max } => format!("{{frame_too_large,{size},{max}}}"),
        DecodeError::BadFrameEnd(octet) => format!("{{invalid_frame_end_marker,{octet}}}"),
        other => other.to_string(),
    }
}

impl Fault {
    /// What it closes.
    pub(crate) fn scope(self) -> Scope {
        *self.0
    }
}

impl From<ChannelError> for Fault {
    #[cold]
    fn from(error: ChannelError) -> Self {
        Self(Box::new(Scope::Channel(error)))
    }
}

impl From<ConnectionError> for Fault {
    #[cold]
    fn from(error: ConnectionError) -> Self {
        Self(Box::new(Scope::Connection(error)))
    }
}

/// The code of the broker's refusal decides its scope.
// rabbitmq: error classes
impl From<BrokerError> for Fault {
    fn from(error: BrokerError) -> Self {
        if error.reply_code().is_hard() {
            ConnectionError::Refused(error).into()
        } else {
            ChannelError::Refused(error).into()
        }
    }
}

impl ConnectionError {
    /// The error for a stream that cannot be cut into frames at `rest`.
    pub(crate) fn framing(error: DecodeError, rest: &[u8]) -> Self {
        let kind = rest.first().copied().unwrap_or_default();
        let payload = match (error, rest) {
            (DecodeError::BadFrameEnd(_), [_, _, _, s0, s1, s2, s3, payload @ ..]) => {
                let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
                payload.get(..size as usize).unwrap_or_default()
            }
            _ => &[],
        };
        Self::Framing { kind, octets: octets(payload), error }
    }

    /// The error for arguments of a method that do not decode.
    pub(crate) fn decode(error: DecodeError, payload: &[u8]) -> Self {
        match error {
            DecodeError::UnknownMethod { .. } => Self::UnimplementedMethod,
            DecodeError::BadShortString => Self::MalformedUtf8,
            _ => Self::CannotDecode(octets::binary(payload.get(4..).unwrap_or_default())),
        }
    }

    /// The ids of the method in a payload that does not decode, as connection.close names them. Text that is
    /// not UTF-8 is found before RabbitMQ knows which method it belongs to.
    // rabbitmq: connection.close
    pub(crate) fn method_of(&self, payload: &[u8]) -> (u16, u16) {
        match self {
            Self::MalformedUtf8 => (0, 0),
            _ => method_id(payload).unwrap_or((0, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_dots_at_255_bytes() {
        let error = ConnectionError::ConsumerTagReused("t".repeat(255));
        let text = error.reply().text;
        assert_eq!(text.len(), 255);
        assert!(text.starts_with("NOT_ALLOWED - attempt to reuse consumer tag 'ttt"));
        assert!(text.ends_with("ttt..."));
    }

    #[test]
    fn the_code_of_a_refusal_decides_its_scope() {
        let soft = Fault::from(BrokerError::DefaultExchange);
        assert!(matches!(soft.scope(), Scope::Channel(_)));
        let hard = Fault::from(BrokerError::NotImplemented("x".into()));
        assert!(matches!(hard.scope(), Scope::Connection(_)));
        let internal = ConnectionError::Refused(BrokerError::Internal("secret".into()));
        assert_eq!(internal.reply().text, "INTERNAL_ERROR");
    }

    #[test]
    fn an_escalated_error_keeps_its_words() {
        let error = ChannelError::UnknownDeliveryTag(7).escalate();
        assert_eq!(error.reply().text, "PRECONDITION_FAILED - unknown delivery tag 7");
    }
}
