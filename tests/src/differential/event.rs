//! What arrived on a channel, and how a line shows it.

use super::catalogue::Method;
use super::text::{Order, show_quoted};
use super::wire::{self, Arguments};

/// Something that the broker did.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A method without content.
    Method { method: &'static Method, arguments: Arguments },
    /// A method with content.
    Content(Content),
    /// A confirm of publishes that were outstanding.
    Confirm { ack: bool, tags: Vec<u64> },
    /// Something that is no method: a protocol header, a frame out of place.
    Odd(String),
    /// The end of the socket.
    End,
}

/// A method with its header and body.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) method: &'static Method,
    pub(super) arguments: Arguments,
    /// The announced size, once the header is there.
    pub(super) size: Option<u64>,
    /// Flags and values.
    pub(super) properties: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Octets of each body frame.
    pub(super) pieces: Vec<usize>,
}

impl Content {
    pub(super) fn new(method: &'static Method, arguments: Arguments) -> Self {
        Self {
            method,
            arguments,
            size: None,
            properties: Vec::new(),
            body: Vec::new(),
            pieces: Vec::new(),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.size.is_some_and(|size| self.body.len() as u64 >= size)
    }

    fn show(&self, order: Order) -> String {
        let properties = match wire::decode_properties(&self.properties) {
            Some(properties) => wire::show_arguments(&properties, order),
            None => format!(" (damaged) {}", show_quoted(&self.properties)),
        };
        let mut line = format!(
            "{}{} |{properties} | {}",
            self.method.name,
            wire::show_arguments(&self.arguments, order),
            show_quoted(&self.body)
        );
        let expected = usize::from(!self.body.is_empty());
        if self.pieces.len() != expected {
            line.push_str(&format!(" in frames of {:?}", self.pieces));
        }
        line
    }
}

impl Event {
    /// The line, without its label. Confirms are shown by `spans`.
    pub(super) fn show(&self, order: Order) -> String {
        match self {
            Self::Method { method, arguments } => {
                format!(
                    "{}{}",
                    method.name,
                    wire::show_arguments(&describe(method, arguments), order)
                )
            }
            Self::Content(content) => content.show(order),
            Self::Confirm { ack, tags } => {
                format!("confirms: {} {}", if *ack { "ack" } else { "nack" }, spans(tags))
            }
            Self::Odd(text) => text.clone(),
            Self::End => "end of the socket".into(),
        }
    }

    /// Whether it comes by itself, and not as an answer to a method.
    pub(super) fn is_notice(&self) -> bool {
        match self {
            Self::Method { method, .. } => matches!(
                method.name,
                "basic.cancel" | "connection.blocked" | "connection.unblocked"
            ),
            Self::Content(content) => content.method.name != "basic.get-ok",
            Self::Confirm { .. } => true,
            Self::Odd(_) | Self::End => false,
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Method { method, .. } if method.name == name)
    }

    pub(super) fn is_confirm(&self) -> bool {
        matches!(self, Self::Confirm { .. })
    }
}

/// What every broker says of itself differently is left out: its name and version. The order of the
/// mechanisms means nothing.
fn describe(method: &Method, arguments: &Arguments) -> Arguments {
    let mut shown = arguments.clone();
    if method.name != "connection.start" {
        return shown;
    }
    for (name, value) in &mut shown {
        match value {
            wire::Argument::Table(table) => {
                for (key, value) in &mut table.0 {
                    if key != "capabilities" {
                        *value = leveret_codec::Value::LongString("<text>".into());
                    }
                }
            }
            wire::Argument::String(bytes) if *name == "mechanisms" => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let mut words: Vec<&str> = text.split(' ').collect();
                words.sort_unstable();
                *bytes = words.join(" ").into();
            }
            _ => {}
        }
    }
    shown
}

/// Numbers as ranges: `1-3, 5`.
pub(super) fn spans(tags: &[u64]) -> String {
    let mut sorted = tags.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::new();
    for tag in sorted {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == tag => *last = tag,
            _ => out.push((tag, tag)),
        }
    }
    let shown =
        out.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_shown_as_ranges() {
        assert_eq!(spans(&[5, 1, 2, 3]), "1-3, 5");
        assert_eq!(spans(&[2, 2]), "2, 2");
    }
}
