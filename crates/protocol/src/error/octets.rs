//! Bytes as Erlang's `~p` prints a binary, which RabbitMQ's frame errors show.

use std::fmt::Write as _;

use leveret_codec::SHORT_STRING_MAX;

/// RabbitMQ shows at most this many octets of a strange frame.
const SHOWN: usize = 16;

/// `all octets = <<...>>`, or the first 16 of them.
pub(crate) fn octets(payload: &[u8]) -> String {
    match payload.get(..SHOWN) {
        Some(first) if payload.len() > SHOWN => format!("first 16 octets = {}", binary(first)),
        _ => format!("all octets = {}", binary(payload)),
    }
}

/// `<<"text">>` where every byte is printable, otherwise `<<1,2,3>>`. What no reply text has room for is
/// not printed.
pub(super) fn binary(bytes: &[u8]) -> String {
    let mut text = String::from("<<");
    let printable = !bytes.is_empty() && bytes.iter().all(|byte| is_printable(*byte));
    let bytes = bytes.get(..SHORT_STRING_MAX).unwrap_or(bytes);
    if printable {
        text.push('"');
        bytes.iter().for_each(|byte| push_escaped(&mut text, *byte));
        text.push('"');
    } else {
        for (at, byte) in bytes.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{byte}");
        }
    }
    text.push_str(">>");
    text
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 8..=13 | 27)
}

fn push_escaped(text: &mut String, byte: u8) {
    let escape = match byte {
        8 => 'b',
        b'\t' => 't',
        b'\n' => 'n',
        11 => 'v',
        12 => 'f',
        b'\r' => 'r',
        27 => 'e',
        b'"' => '"',
        b'\\' => '\\',
        plain => return text.push(char::from(plain)),
    };
    text.push('\\');
    text.push(escape);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_print_as_in_erlang() {
        assert_eq!(binary(b""), "<<>>");
        assert_eq!(binary(b"abc"), "<<\"abc\">>");
        assert_eq!(binary(b"a\"\\\n"), "<<\"a\\\"\\\\\\n\">>");
        assert_eq!(binary(&[0, 20, 255]), "<<0,20,255>>");
        assert_eq!(octets(b"x"), "all octets = <<\"x\">>");
        let long: Vec<u8> = (0..40).collect();
        let shown = "first 16 octets = <<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>";
        assert_eq!(octets(&long), shown);
    }
}
