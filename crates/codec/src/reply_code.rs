//! The reply codes of close and return methods: value, name, and what they close.

use serde::{Deserialize, Serialize};

/// A reply code. Values that are not in the table are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplyCode(pub u16);

/// Which scope an error closes.
#[derive(Clone, Copy, PartialEq)]
enum Severity {
    /// Not an error.
    None,
    /// The channel.
    Soft,
    /// The connection.
    Hard,
}

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident($value:literal, $severity:ident);)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            fn entry(self) -> Option<(&'static str, Severity)> {
                match self.0 {
                    $($value => Some((stringify!($name), Severity::$severity)),)*
                    _ => None,
                }
            }
        }
    };
}

// spec: 1.1 reply codes; rabbitmq: error classes
reply_codes! {
    /// Success.
    REPLY_SUCCESS(200, None);
    /// The content is larger than the peer takes.
    CONTENT_TOO_LARGE(311, Soft);
    /// A mandatory message matched no queue.
    NO_ROUTE(312, Soft);
    /// An immediate message found no consumer.
    NO_CONSUMERS(313, Soft);
    /// An operator closed the connection.
    CONNECTION_FORCED(320, Hard);
    /// The virtual host path is unknown.
    INVALID_PATH(402, Hard);
    /// Permission is missing.
    ACCESS_REFUSED(403, Soft);
    /// A queue or exchange does not exist.
    NOT_FOUND(404, Soft);
    /// Another connection owns the queue, or a consumer is exclusive.
    RESOURCE_LOCKED(405, Soft);
    /// Arguments disagree with what exists, or a delivery tag is unknown.
    PRECONDITION_FAILED(406, Soft);
    /// A frame cannot be decoded.
    FRAME_ERROR(501, Hard);
    /// A field holds an illegal value.
    SYNTAX_ERROR(502, Hard);
    /// The method is not known here.
    COMMAND_INVALID(503, Hard);
    /// The method is not legal on this channel now.
    CHANNEL_ERROR(504, Hard);
    /// A frame arrived where another kind was due.
    UNEXPECTED_FRAME(505, Hard);
    /// The server lacks resources.
    RESOURCE_ERROR(506, Hard);
    /// Forbidden by settings of the server.
    NOT_ALLOWED(530, Hard);
    /// The feature does not exist here.
    NOT_IMPLEMENTED(540, Hard);
    /// The server failed.
    INTERNAL_ERROR(541, Hard);
}

impl ReplyCode {
    /// The name that starts a reply text, such as `NOT_FOUND`; `UNKNOWN` for a value outside the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().map_or("UNKNOWN", |(name, _)| name)
    }

    /// Whether an error with this code closes the connection; a soft one closes its channel.
    /// A value outside the table counts as hard.
    #[must_use]
    pub fn is_hard(self) -> bool {
        self.entry().is_none_or(|(_, severity)| severity == Severity::Hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::{AMQPHardError, AMQPSoftError};

    #[test]
    fn names_and_severities_agree_with_the_catalogue() {
        let mut known = 0;
        for value in 0..=u16::MAX {
            let code = ReplyCode(value);
            if let Some(soft) = AMQPSoftError::from_id(value) {
                assert_eq!(code.name(), soft.to_string().replace('-', "_"));
                assert!(!code.is_hard());
                known += 1;
            } else if let Some(hard) = AMQPHardError::from_id(value) {
                assert_eq!(code.name(), hard.to_string().replace('-', "_"));
                assert!(code.is_hard());
                known += 1;
            } else {
                assert_eq!(code.name() == "UNKNOWN", value != 200);
            }
        }
        assert_eq!(known, 18);
    }
}
