//! The eight bytes a client says first: recognised or refused, nothing else.

/// What a server that speaks only 0-9-1 answers to any other header before it closes.
// spec: 4.2.2 protocol header; rabbitmq: protocol header
pub const REFUSAL: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// The headers that get connection.start: 0-9-1, and the form that 0-9 clients send.
const ACCEPTED: [[u8; 8]; 2] = [REFUSAL, *b"AMQP\x01\x01\x00\x09"];

/// The verdict on a client's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// AMQP 0-9-1 (or 0-9): the handshake follows.
    Supported,
    /// Anything else: answer [`REFUSAL`] and close.
    Unsupported,
}

impl ProtocolHeader {
    /// Bytes that a supported header takes up.
    pub const LEN: usize = 8;

    /// The verdict, or `None` while the bytes so far could still become a supported header.
    #[must_use]
    pub fn recognise(input: &[u8]) -> Option<Self> {
        let given = input.get(..Self::LEN).unwrap_or(input);
        if !ACCEPTED.iter().any(|header| header.starts_with(given)) {
            return Some(Self::Unsupported);
        }
        (given.len() == Self::LEN).then_some(Self::Supported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_recognised_byte_by_byte() {
        for header in ACCEPTED {
            for len in 0..8 {
                assert_eq!(ProtocolHeader::recognise(&header[..len]), None);
            }
            let with_more = [&header[..], b"\x01"].concat();
            assert_eq!(ProtocolHeader::recognise(&with_more), Some(ProtocolHeader::Supported));
        }
    }

    #[test]
    fn anything_else_is_refused_at_its_first_strange_byte() {
        for input in
            [&b"G"[..], b"AMQP\x03", b"AMQP\x00\x00\x09\x02", b"AMQP\x01\x01\x08", b"\x16\x03"]
        {
            assert_eq!(ProtocolHeader::recognise(input), Some(ProtocolHeader::Unsupported));
        }
    }
}
