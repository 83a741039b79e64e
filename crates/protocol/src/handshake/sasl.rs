//! What a SASL response says: a user and, unless a certificate stands for it, a password.
// rabbitmq: authentication

use leveret_codec::TableView;

use crate::config::{Mechanism, Peer};

/// Who wants to log in and with what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    /// `None`: the name is proved by the TLS certificate.
    pub(crate) password: Option<Vec<u8>>,
}

/// Reads a response; `None` if it is malformed.
pub(crate) fn credentials(
    mechanism: Mechanism,
    response: &[u8],
    peer: &Peer,
) -> Option<Credentials> {
    match mechanism {
        Mechanism::Plain => plain(response),
        Mechanism::AmqPlain => amqplain(response),
        Mechanism::External => {
            let user = peer.certificate_name.as_deref()?.to_owned();
            Some(Credentials { user, password: None })
        }
    }
}

/// `\0user\0password`; an authorization identity in front, or a further NUL, is refused.
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.split(|byte| *byte == 0);
    let (authorization, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if !authorization.is_empty() || parts.next().is_some() {
        return None;
    }
    new(user, password)
}

/// The inside of a table with LOGIN and PASSWORD.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let table = TableView::new(response);
    table.check().ok()?;
    new(table.get("LOGIN")?.as_bytes()?, table.get("PASSWORD")?.as_bytes()?)
}

fn new(user: &[u8], password: &[u8]) -> Option<Credentials> {
    let user = str::from_utf8(user).ok()?.to_owned();
    Some(Credentials { user, password: Some(password.to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mechanism: Mechanism, response: &[u8]) -> Option<(String, Vec<u8>)> {
        let found = credentials(mechanism, response, &Peer::default())?;
        Some((found.user, found.password?))
    }

    #[test]
    fn plain_is_exactly_three_parts() {
        let expected = Some(("u".to_owned(), b"p".to_vec()));
        assert_eq!(read(Mechanism::Plain, b"\0u\0p"), expected);
        for bad in [&b"u\0p"[..], b"a\0u\0p", b"\0u\0p\0", b"\0u", b""] {
            assert_eq!(read(Mechanism::Plain, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn amqplain_needs_both_keys() {
        let login = b"\x05LOGINS\0\0\0\x01u";
        let password = b"\x08PASSWORDS\0\0\0\x01p";
        let both = [&login[..], password].concat();
        assert_eq!(read(Mechanism::AmqPlain, &both), Some(("u".to_owned(), b"p".to_vec())));
        assert_eq!(read(Mechanism::AmqPlain, login), None);
        assert_eq!(read(Mechanism::AmqPlain, b"\xff"), None);
    }

    #[test]
    fn external_takes_the_name_of_the_certificate() {
        let peer = Peer { certificate_name: Some("cn".into()), ..Peer::default() };
        let found = credentials(Mechanism::External, b"", &peer).unwrap();
        assert_eq!(found, Credentials { user: "cn".to_owned(), password: None });
    }
}
