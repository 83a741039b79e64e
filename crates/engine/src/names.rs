//! Names of queues and exchanges: what is cut off, what is reserved, what the broker makes up.

use crate::error::{BrokerError, ResourceKind, ResourceName};
use crate::limits::NAME_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;
use std::sync::Arc;

/// The pseudo queue of direct reply-to, and the prefix of reply addresses.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// The name under which permissions on the default exchange are checked and HTTP addresses it.
pub const DEFAULT_EXCHANGE_ALIAS: &str = "amq.default";

const RESERVED_PREFIX: &str = "amq.";

/// A name as a client sent it, without carriage returns and line feeds.
// rabbitmq: names are stripped, not refused
#[must_use]
pub fn strip(name: &str) -> Cow<'_, str> {
    if name.contains(['\r', '\n']) {
        Cow::Owned(name.chars().filter(|c| !matches!(c, '\r' | '\n')).collect())
    } else {
        Cow::Borrowed(name)
    }
}

/// The name of a queue that its client left unnamed: `amq.gen-` and 22 characters.
// rabbitmq: server-named queues
#[must_use]
pub fn server_named(random: [u8; 16]) -> String {
    generated("amq.gen-", random)
}

/// The tag of a consumer that its client left unnamed: `amq.ctag-` and 22 characters.
#[must_use]
pub fn consumer_tag(random: [u8; 16]) -> String {
    generated("amq.ctag-", random)
}

fn generated(prefix: &str, random: [u8; 16]) -> String {
    let mut name = String::with_capacity(prefix.len() + 22);
    name.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(random, &mut name);
    name
}

/// Whether a name belongs to the broker.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}

/// Whether a client may make a queue or exchange of this name.
///
/// # Errors
/// [`BrokerError::ReservedName`] and [`BrokerError::NameTooLong`].
pub fn check(kind: ResourceKind, vhost: &Arc<str>, name: &str) -> Result<(), BrokerError> {
    if is_reserved(name) {
        let (vhost, name) = (vhost.clone(), name.into());
        return Err(BrokerError::ReservedName(ResourceName { kind, vhost, name }));
    }
    check_length(kind, name)
}

pub(crate) fn check_length(kind: ResourceKind, name: &str) -> Result<(), BrokerError> {
    if name.len() > NAME_BYTES_MAX { Err(BrokerError::NameTooLong(kind)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_are_cut_off() {
        assert_eq!(strip("a\r\nb\n"), "ab");
        assert!(matches!(strip("ab"), Cow::Borrowed("ab")));
    }

    #[test]
    fn generated_names_have_rabbitmqs_shape() {
        assert_eq!(server_named([0xff; 16]), "amq.gen-_____________________w");
        assert_eq!(server_named([0; 16]).len(), "amq.gen-".len() + 22);
    }

    #[test]
    fn reserved_names_are_refused() {
        let vhost = "/".into();
        for name in ["amq.", "amq.x"] {
            let error = check(ResourceKind::Queue, &vhost, name).unwrap_err();
            let text = format!("queue name '{name}' contains reserved prefix 'amq.*'");
            assert_eq!(error.explain(), text);
        }
        for name in ["amq", "amqx", "", "AMQ.x"] {
            assert_eq!(check(ResourceKind::Queue, &vhost, name), Ok(()));
        }
        assert!(check(ResourceKind::Queue, &vhost, &"q".repeat(256)).is_err());
    }
}
