//! How values are written in scenarios and transcripts: strings, tables, numbers. Reading and writing agree,
//! so a line of a transcript can be copied into a scenario.

use leveret_codec::{Table, Value};

/// A string of one repeated octet is written shorter from this length on.
const REPEATED_MIN: usize = 65;

/// Reads a line from left to right.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a str,
}

/// What is wrong with a line.
pub(super) type Result<T> = std::result::Result<T, String>;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What is left, without spaces around it.
    pub(super) fn rest(&self) -> &'a str {
        self.rest.trim()
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest().is_empty()
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a sign if it is next.
    pub(super) fn eat(&mut self, sign: char) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: char) -> Result<()> {
        if self.eat(sign) {
            Ok(())
        } else {
            Err(format!("`{sign}` expected before `{}`", self.rest))
        }
    }

    /// The characters up to one of `ends` or a space.
    pub(super) fn word(&mut self, ends: &str) -> &'a str {
        self.skip_spaces();
        let end = self.rest.find(|c: char| c.is_whitespace() || ends.contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A number.
    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Result<N> {
        let word = self.word(",]}|");
        word.parse().map_err(|_| format!("`{word}` is not such a number"))
    }

    /// A bare word up to a space, or a string in quotes.
    pub(super) fn string(&mut self, ends: &str) -> Result<Vec<u8>> {
        if self.rest.starts_with('"') { self.quoted() } else { Ok(self.word(ends).into()) }
    }

    /// `"text"` or `"text"*3`.
    pub(super) fn quoted(&mut self) -> Result<Vec<u8>> {
        self.expect('"')?;
        let mut out = Vec::new();
        let mut chars = self.rest.char_indices();
        loop {
            let Some((at, c)) = chars.next() else { return Err("a string without an end".into()) };
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    break;
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push(b'\n'),
                    Some('r') => out.push(b'\r'),
                    Some('t') => out.push(b'\t'),
                    Some('0') => out.push(0),
                    Some('x') => {
                        let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                        out.push(octet(&digits)?);
                    }
                    Some(c @ ('"' | '\\')) => out.push(c as u8),
                    other => return Err(format!("`\\{other:?}` in a string")),
                },
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if let Some(rest) = self.rest.strip_prefix('*') {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, rest) = rest.split_at(end);
            self.rest = rest;
            out = out.repeat(parse(digits)?);
        }
        Ok(out)
    }

    /// `{key: value, ...}`.
    pub(super) fn table(&mut self) -> Result<Table> {
        self.expect('{')?;
        let mut table = Table::new();
        while !self.eat('}') {
            self.skip_spaces();
            let key = self.string(":,{}[]")?;
            let key = String::from_utf8(key).map_err(|_| "a key that is not UTF-8".to_owned())?;
            self.expect(':')?;
            let value = self.value()?;
            table.0.push((key, value));
            if !self.eat(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(table)
    }

    fn array(&mut self) -> Result<Value> {
        self.expect('[')?;
        let mut values = Vec::new();
        while !self.eat(']') {
            values.push(self.value()?);
            if !self.eat(',') {
                self.expect(']')?;
                break;
            }
        }
        Ok(Value::Array(values))
    }

    /// A value with its type; a bare number is an `int`, a bare word a string.
    pub(super) fn value(&mut self) -> Result<Value> {
        self.skip_spaces();
        if self.rest.starts_with('{') {
            return self.table().map(Value::Table);
        }
        if self.rest.starts_with('[') {
            return self.array();
        }
        if self.rest.starts_with('"') {
            return self.quoted().map(Value::LongString);
        }
        let word = self.word(",]}|");
        Ok(match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "void" => Value::Void,
            "int8" => Value::Byte(self.number()?),
            "uint8" => Value::UnsignedByte(self.number()?),
            "int16" => Value::Short(self.number()?),
            "uint16" => Value::UnsignedShort(self.number()?),
            "int" => Value::Int(self.number()?),
            "uint" => Value::UnsignedInt(self.number()?),
            "long" => Value::Long(self.number()?),
            "LONG" => Value::LongUpper(self.number()?),
            "float" => Value::Float(self.number()?),
            "double" => Value::Double(self.number()?),
            "decimal" => {
                let word = self.word(",]}|");
                let parts = word
                    .split_once('/')
                    .and_then(|(value, scale)| Some((value.parse().ok()?, scale.parse().ok()?)));
                let (value, scale) =
                    parts.ok_or_else(|| format!("`{word}` is not DIGITS/SCALE"))?;
                Value::Decimal { scale, value }
            }
            "time" => Value::Timestamp(self.number()?),
            "bytes" => {
                self.skip_spaces();
                Value::ByteArray(self.quoted()?)
            }
            word => match word.parse() {
                Ok(number) => Value::Int(number),
                Err(_) => Value::LongString(word.into()),
            },
        })
    }

    /// Octets: `00 ff "text" short"text" long"text" u16:5 u32:5 u64:5`.
    pub(super) fn octets(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        while !self.is_done() {
            self.skip_spaces();
            if self.rest.starts_with('"') {
                out.extend(self.quoted()?);
                continue;
            }
            match self.word("\"") {
                "short" => {
                    let text = self.quoted()?;
                    out.push(u8::try_from(text.len()).map_err(|_| "too long".to_owned())?);
                    out.extend(text);
                }
                "long" => {
                    let text = self.quoted()?;
                    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    out.extend(text);
                }
                word => match word.split_once(':') {
                    Some(("u16", n)) => out.extend_from_slice(&parse::<u16>(n)?.to_be_bytes()),
                    Some(("u32", n)) => out.extend_from_slice(&parse::<u32>(n)?.to_be_bytes()),
                    Some(("u64", n)) => out.extend_from_slice(&parse::<u64>(n)?.to_be_bytes()),
                    _ => out.push(octet(word)?),
                },
            }
        }
        Ok(out)
    }
}

pub(super) fn parse<N: std::str::FromStr>(word: &str) -> Result<N> {
    word.parse().map_err(|_| format!("`{word}` is not such a number"))
}

/// Two hexadecimal digits.
pub(super) fn octet(digits: &str) -> Result<u8> {
    match (digits.len(), u8::from_str_radix(digits, 16)) {
        (2, Ok(octet)) => Ok(octet),
        _ => Err(format!("`{digits}` is not an octet")),
    }
}

/// A string in quotes.
pub(super) fn show_quoted(bytes: &[u8]) -> String {
    if let Some(first) = bytes.first()
        && is_repeated(bytes)
    {
        return format!("{}*{}", show_quoted(&[*first]), bytes.len());
    }
    let mut out = String::from("\"");
    let text = str::from_utf8(bytes);
    match text {
        Ok(text) => text.chars().for_each(|c| push_escaped(&mut out, c)),
        Err(_) => bytes.iter().for_each(|octet| match octet {
            0x20..0x7f => push_escaped(&mut out, char::from(*octet)),
            octet => out.push_str(&format!("\\x{octet:02x}")),
        }),
    }
    out.push('"');
    out
}

fn is_repeated(bytes: &[u8]) -> bool {
    bytes.len() >= REPEATED_MIN && bytes.iter().all(|octet| Some(octet) == bytes.first())
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0' => out.push_str("\\0"),
        c if u32::from(c) < 0x20 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => out.push(c),
    }
}

/// A string, bare where it reads the same.
pub(super) fn show_string(bytes: &[u8]) -> String {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"_.:/<>#*@+=-".contains(octet);
    match str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && !is_repeated(bytes) && bytes.iter().all(plain) => {
            text.to_owned()
        }
        _ => show_quoted(bytes),
    }
}

/// A table. The order of its fields is shown as it came, or by key.
pub(super) fn show_table(table: &Table, order: Order) -> String {
    let mut fields: Vec<_> = table.iter().collect();
    if order == Order::ByKey {
        // A stable sort: the same key twice stays in the order in which it came.
        fields.sort_by_key(|(key, _)| *key);
    }
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("{}: {}", show_key(key), show_value(value, order)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

/// Whether the order of a table's fields matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// It does not: they are sorted.
    #[default]
    ByKey,
    /// It does.
    AsReceived,
}

fn show_key(key: &str) -> String {
    if key.contains(':') { show_quoted(key.as_bytes()) } else { show_string(key.as_bytes()) }
}

fn show_value(value: &Value, order: Order) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Byte(n) => format!("int8 {n}"),
        Value::UnsignedByte(n) => format!("uint8 {n}"),
        Value::Short(n) => format!("int16 {n}"),
        Value::UnsignedShort(n) => format!("uint16 {n}"),
        Value::Int(n) => format!("int {n}"),
        Value::UnsignedInt(n) => format!("uint {n}"),
        Value::Long(n) => format!("long {n}"),
        Value::LongUpper(n) => format!("LONG {n}"),
        Value::Float(n) => format!("float {n}"),
        Value::Double(n) => format!("double {n}"),
        Value::Decimal { scale, value } => format!("decimal {value}/{scale}"),
        Value::LongString(bytes) => show_quoted(bytes),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| show_value(value, order)).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Timestamp(n) => format!("time {n}"),
        Value::Table(table) => show_table(table, order),
        Value::Void => "void".into(),
        Value::ByteArray(bytes) => format!("bytes {}", show_quoted(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_it_was_read() {
        let text =
            "{a: [int 1, \"x\", {}], b: decimal 314/2, c: void, d: time 5, e: LONG 3, f: true}";
        let table = Reader::new(text).table().unwrap();
        assert_eq!(show_table(&table, Order::AsReceived), text);
    }

    #[test]
    fn long_strings_are_written_short() {
        let bytes = Reader::new("\"ab\\x00\"").quoted().unwrap();
        assert_eq!(show_quoted(&bytes), "\"ab\\0\"");
        assert_eq!(Reader::new("\"x\"*300").quoted().unwrap().len(), 300);
        assert_eq!(show_quoted(&[b'x'; 300]), "\"x\"*300");
    }
}
