//! Methods and properties into bytes and back, after the catalogue. Tables keep their order, which the typed
//! methods of the codec would not.

use leveret_codec::{FRAME_END, Table, TableView};

use super::catalogue::{self, Kind, Method};
use super::text::{Order, Reader, Result, show_quoted, show_string, show_table};

/// An argument of a method, or a property.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Bit(bool),
    Number(u64),
    String(Vec<u8>),
    Table(Table),
    /// A table that is none.
    Damaged(Vec<u8>),
}

/// Arguments by name, in the order of the wire.
pub(super) type Arguments = Vec<(&'static str, Argument)>;

impl Argument {
    fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Bit => Self::Bit(false),
            Kind::ShortString | Kind::LongString => Self::String(Vec::new()),
            Kind::Table => Self::Table(Table::new()),
            _ => Self::Number(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Bit(set) => !set,
            Self::Number(n) => *n == 0,
            Self::String(bytes) => bytes.is_empty(),
            Self::Table(table) => table.is_empty(),
            Self::Damaged(_) => false,
        }
    }

    /// Reads what stands behind `name=`.
    pub(super) fn read(kind: Kind, reader: &mut Reader<'_>) -> Result<Self> {
        Ok(match kind {
            Kind::Bit => match reader.word("|") {
                "true" => Self::Bit(true),
                "false" => Self::Bit(false),
                other => return Err(format!("`{other}` is not true or false")),
            },
            Kind::ShortString => {
                let bytes = reader.string("|")?;
                if bytes.len() > 255 {
                    return Err("longer than 255 octets".into());
                }
                Self::String(bytes)
            }
            Kind::LongString => Self::String(reader.string("|")?),
            Kind::Table => Self::Table(reader.table()?),
            _ => Self::Number(reader.number()?),
        })
    }

    fn show(&self, order: Order) -> String {
        match self {
            Self::Bit(set) => set.to_string(),
            Self::Number(n) => n.to_string(),
            Self::String(bytes) => show_string(bytes),
            Self::Table(table) => show_table(table, order),
            Self::Damaged(bytes) => format!("(no table) {}", show_quoted(bytes)),
        }
    }
}

/// Reads `name=value name`, names from `known`.
pub(super) fn read_arguments(
    reader: &mut Reader<'_>,
    known: impl Iterator<Item = (&'static str, Kind)> + Clone,
) -> Result<Arguments> {
    let mut found = Arguments::new();
    while !reader.is_done() && !reader.rest().starts_with('|') {
        let name = reader.word("=|");
        let Some((name, kind)) = known.clone().find(|(known, _)| *known == name) else {
            return Err(format!("there is no argument `{name}`"));
        };
        let value = if reader.eat('=') {
            Argument::read(kind, reader)?
        } else if kind == Kind::Bit {
            Argument::Bit(true)
        } else {
            return Err(format!("`{name}` has no value"));
        };
        found.push((name, value));
    }
    Ok(found)
}

/// The payload of a method frame. Arguments that are not given are empty.
pub(super) fn encode_method(method: &Method, arguments: &[(&'static str, Argument)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&method.class.to_be_bytes());
    out.extend_from_slice(&method.id.to_be_bytes());
    let mut bits = Bits::default();
    for (name, kind) in method.arguments() {
        let empty = Argument::empty(kind);
        let given = arguments.iter().find(|(given, _)| *given == name).map(|(_, value)| value);
        let value = given.unwrap_or(&empty);
        match value {
            Argument::Bit(set) => bits.push(*set, &mut out),
            value => {
                bits.flush();
                put(&mut out, kind, value);
            }
        }
    }
    out
}

/// Neighbouring bits share an octet.
#[derive(Default)]
struct Bits {
    used: u32,
}

impl Bits {
    fn push(&mut self, set: bool, out: &mut Vec<u8>) {
        if self.used == 0 || self.used == 8 {
            out.push(0);
            self.used = 0;
        }
        if let Some(last) = out.last_mut() {
            *last |= u8::from(set) << self.used;
        }
        self.used += 1;
    }

    fn flush(&mut self) {
        self.used = 0;
    }
}

fn put(out: &mut Vec<u8>, kind: Kind, value: &Argument) {
    match (kind, value) {
        (Kind::Octet, Argument::Number(n)) => out.push(*n as u8),
        (Kind::Short, Argument::Number(n)) => out.extend_from_slice(&(*n as u16).to_be_bytes()),
        (Kind::Long, Argument::Number(n)) => out.extend_from_slice(&(*n as u32).to_be_bytes()),
        (_, Argument::Number(n)) => out.extend_from_slice(&n.to_be_bytes()),
        (Kind::ShortString, Argument::String(bytes)) => {
            out.push(bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
        (_, Argument::String(bytes) | Argument::Damaged(bytes)) => put_long(out, bytes),
        (_, Argument::Table(table)) => put_long(out, &table.to_bytes()),
        (_, Argument::Bit(set)) => out.push(u8::from(*set)),
    }
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The payload of a content header. Only the properties that are given are flagged.
pub(super) fn encode_header(
    class: u16,
    weight: u16,
    size: u64,
    properties: &[(&'static str, Argument)],
) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    let mut flags = 0_u16;
    let mut values = Vec::new();
    let mut flag = 1_u16 << 15;
    for (name, kind) in catalogue::properties() {
        if let Some((_, value)) = properties.iter().find(|(given, _)| *given == name) {
            flags |= flag;
            put(&mut values, kind, value);
        }
        flag >>= 1;
    }
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend(values);
    out
}

/// A frame; `size` and `end` may lie.
pub(super) fn encode_frame(
    kind: u8,
    channel: u16,
    payload: &[u8],
    size: Option<u32>,
    end: Option<u8>,
) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&size.unwrap_or(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(end.unwrap_or(FRAME_END));
    out
}

/// A method out of a frame's payload; `None` where it is none.
pub(super) fn decode_method(payload: &[u8]) -> Option<(&'static Method, Arguments)> {
    let mut cursor = Cursor(payload);
    let method = catalogue::by_id(cursor.number(2)? as u16, cursor.number(2)? as u16)?;
    let mut arguments = Arguments::new();
    let (mut bits, mut used) = (0, 8);
    for (name, kind) in method.arguments() {
        let value = if kind == Kind::Bit {
            if used == 8 {
                (bits, used) = (cursor.number(1)?, 0);
            }
            used += 1;
            Argument::Bit(bits >> (used - 1) & 1 == 1)
        } else {
            used = 8;
            cursor.argument(kind)?
        };
        arguments.push((name, value));
    }
    cursor.0.is_empty().then_some((method, arguments))
}

/// The properties, from their flags on; `None` where they are damaged.
pub(super) fn decode_properties(bytes: &[u8]) -> Option<Arguments> {
    let mut cursor = Cursor(bytes);
    let flags = cursor.number(2)?;
    let mut found = Arguments::new();
    for (place, (name, kind)) in catalogue::properties().enumerate() {
        if flags >> (15 - place) & 1 == 1 {
            found.push((name, cursor.argument(kind)?));
        }
    }
    cursor.0.is_empty().then_some(found)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, octets: usize) -> Option<u64> {
        Some(self.take(octets)?.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet)))
    }

    fn argument(&mut self, kind: Kind) -> Option<Argument> {
        Some(match kind {
            Kind::Bit => Argument::Bit(self.number(1)? == 1),
            Kind::Octet => Argument::Number(self.number(1)?),
            Kind::Short => Argument::Number(self.number(2)?),
            Kind::Long => Argument::Number(self.number(4)?),
            Kind::LongLong => Argument::Number(self.number(8)?),
            Kind::ShortString => {
                let length = self.number(1)?;
                Argument::String(self.take(length as usize)?.to_vec())
            }
            Kind::LongString => {
                let length = self.number(4)?;
                Argument::String(self.take(length as usize)?.to_vec())
            }
            Kind::Table => {
                let length = self.number(4)?;
                let bytes = self.take(length as usize)?;
                match Table::try_from(TableView::new(bytes)) {
                    Ok(table) => Argument::Table(table),
                    Err(_) => Argument::Damaged(bytes.to_vec()),
                }
            }
        })
    }
}

/// Arguments as a line shows them: bits by name where they are set, what means nothing not at all.
pub(super) fn show_arguments(arguments: &[(&'static str, Argument)], order: Order) -> String {
    let mut out = String::new();
    for (name, value) in arguments {
        match value {
            Argument::Bit(false) => {}
            Argument::Bit(true) => out.push_str(&format!(" {name}")),
            value if catalogue::is_reserved(name) && value.is_empty() => {}
            value => out.push_str(&format!(" {name}={}", value.show(order))),
        }
    }
    out
}

/// An argument by name.
pub(super) fn find<'a>(
    arguments: &'a [(&'static str, Argument)],
    name: &str,
) -> Option<&'a Argument> {
    arguments.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// A number by name, 0 where there is none.
pub(super) fn number(arguments: &[(&'static str, Argument)], name: &str) -> u64 {
    match find(arguments, name) {
        Some(Argument::Number(n)) => *n,
        _ => 0,
    }
}

/// Whether a bit is set.
pub(super) fn is_set(arguments: &[(&'static str, Argument)], name: &str) -> bool {
    find(arguments, name) == Some(&Argument::Bit(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_read_as_it_was_written() {
        for method in &catalogue::METHODS {
            let arguments: Arguments = method
                .arguments()
                .map(|(name, kind)| {
                    let value = match kind {
                        Kind::Bit => Argument::Bit(name.len() % 2 == 0),
                        Kind::ShortString | Kind::LongString => Argument::String(name.into()),
                        Kind::Table => Argument::Table(Table::new()),
                        _ => Argument::Number(7),
                    };
                    (name, value)
                })
                .collect();
            let payload = encode_method(method, &arguments);
            let (found, read) = decode_method(&payload).unwrap();
            assert_eq!((found.name, read), (method.name, arguments));
            if !matches!(method.name, "access.request") && method.arguments().count() == 0 {
                assert!(leveret_codec::decode_method(&payload).is_ok(), "{}", method.name);
            }
        }
    }

    #[test]
    fn properties_are_read_as_they_were_written() {
        let given =
            vec![("priority", Argument::Number(3)), ("app-id", Argument::String("a".into()))];
        let header = encode_header(60, 0, 5, &given);
        assert_eq!(decode_properties(&header[12..]), Some(given));
    }
}
