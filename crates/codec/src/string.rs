//! Short strings: at most 255 bytes.

use amq_protocol::types::ShortString;

/// The longest short string, in bytes.
pub const SHORT_STRING_MAX: usize = 255;

/// The end of a text that did not fit.
const ELLIPSIS: &str = "...";

/// `text` as a short string; one that is too long is cut at a character and ends in `...`, as RabbitMQ
/// cuts reply texts. `ShortString::from` panics there, so use this for text of unknown length.
// rabbitmq: error classes
#[must_use]
pub fn short_string(text: &str) -> ShortString {
    let mut fitted = fit(text, SHORT_STRING_MAX).to_owned();
    if fitted.len() < text.len() {
        fitted.truncate(fit(text, SHORT_STRING_MAX - ELLIPSIS.len()).len());
        fitted.push_str(ELLIPSIS);
    }
    ShortString::try_new(fitted).unwrap_or_default()
}

/// The longest prefix of whole characters within `max` bytes.
fn fit(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// The part of `bytes` that a short string can hold.
#[inline]
pub(crate) fn clamp(bytes: &[u8]) -> &[u8] {
    bytes.get(..SHORT_STRING_MAX).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(short_string("NOT_FOUND").as_str(), "NOT_FOUND");
        assert_eq!(short_string(&"a".repeat(255)).as_str(), "a".repeat(255));
        let cut = short_string(&"é".repeat(200));
        assert_eq!(cut.as_str(), format!("{}...", "é".repeat(126)));
        assert_eq!(cut.as_str().len(), 255);
    }
}
