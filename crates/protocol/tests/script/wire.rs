//! Methods, properties and tables as text and back, from one table of fields.
//!
//! `queue.declare queue=q durable arguments={x-max-length=I:1}`: fields that are zero, empty or
//! false are left out.

#![expect(clippy::expect_used, reason = "a script that cannot be played is a broken test")]

use std::fmt::Write as _;

use leveret_codec::{TableView, ValueView};

/// Name, class, method, fields. `w l q o` are integers of 2, 4, 8 and 1 bytes, `s S` strings, `t`
/// a table, `b:` the bits that share an octet.
const METHODS: &[(&str, u16, u16, &str)] = &[
    ("connection.start", 10, 10, "major:o minor:o properties:t mechanisms:S locales:S"),
    ("connection.start-ok", 10, 11, "properties:t mechanism:s response:S locale:s"),
    ("connection.secure-ok", 10, 21, "response:S"),
    ("connection.tune", 10, 30, "channel_max:w frame_max:l heartbeat:w"),
    ("connection.tune-ok", 10, 31, "channel_max:w frame_max:l heartbeat:w"),
    ("connection.open", 10, 40, "vhost:s reserved:s b:insist"),
    ("connection.open-ok", 10, 41, "reserved:s"),
    ("connection.close", 10, 50, "code:w text:s class:w method:w"),
    ("connection.close-ok", 10, 51, ""),
    ("connection.blocked", 10, 60, "reason:s"),
    ("connection.unblocked", 10, 61, ""),
    ("connection.update-secret", 10, 70, "secret:S reason:s"),
    ("connection.update-secret-ok", 10, 71, ""),
    ("channel.open", 20, 10, "reserved:s"),
    ("channel.open-ok", 20, 11, "reserved:S"),
    ("channel.flow", 20, 20, "b:active"),
    ("channel.flow-ok", 20, 21, "b:active"),
    ("channel.close", 20, 40, "code:w text:s class:w method:w"),
    ("channel.close-ok", 20, 41, ""),
    ("access.request", 30, 10, "realm:s b:exclusive,passive,active,write,read"),
    ("access.request-ok", 30, 11, "ticket:w"),
    (
        "exchange.declare",
        40,
        10,
        "ticket:w exchange:s type:s b:passive,durable,auto_delete,internal,nowait arguments:t",
    ),
    ("exchange.declare-ok", 40, 11, ""),
    ("exchange.delete", 40, 20, "ticket:w exchange:s b:if_unused,nowait"),
    ("exchange.delete-ok", 40, 21, ""),
    ("exchange.bind", 40, 30, "ticket:w destination:s source:s key:s b:nowait arguments:t"),
    ("exchange.bind-ok", 40, 31, ""),
    ("exchange.unbind", 40, 40, "ticket:w destination:s source:s key:s b:nowait arguments:t"),
    ("exchange.unbind-ok", 40, 51, ""),
    (
        "queue.declare",
        50,
        10,
        "ticket:w queue:s b:passive,durable,exclusive,auto_delete,nowait arguments:t",
    ),
    ("queue.declare-ok", 50, 11, "queue:s messages:l consumers:l"),
    ("queue.bind", 50, 20, "ticket:w queue:s exchange:s key:s b:nowait arguments:t"),
    ("queue.bind-ok", 50, 21, ""),
    ("queue.purge", 50, 30, "ticket:w queue:s b:nowait"),
    ("queue.purge-ok", 50, 31, "messages:l"),
    ("queue.delete", 50, 40, "ticket:w queue:s b:if_unused,if_empty,nowait"),
    ("queue.delete-ok", 50, 41, "messages:l"),
    ("queue.unbind", 50, 50, "ticket:w queue:s exchange:s key:s arguments:t"),
    ("queue.unbind-ok", 50, 51, ""),
    ("basic.qos", 60, 10, "size:l count:w b:global"),
    ("basic.qos-ok", 60, 11, ""),
    (
        "basic.consume",
        60,
        20,
        "ticket:w queue:s tag:s b:no_local,no_ack,exclusive,nowait arguments:t",
    ),
    ("basic.consume-ok", 60, 21, "tag:s"),
    ("basic.cancel", 60, 30, "tag:s b:nowait"),
    ("basic.cancel-ok", 60, 31, "tag:s"),
    ("basic.publish", 60, 40, "ticket:w exchange:s key:s b:mandatory,immediate"),
    ("basic.return", 60, 50, "code:w text:s exchange:s key:s"),
    ("basic.deliver", 60, 60, "tag:s delivery:q b:redelivered exchange:s key:s"),
    ("basic.get", 60, 70, "ticket:w queue:s b:no_ack"),
    ("basic.get-ok", 60, 71, "delivery:q b:redelivered exchange:s key:s messages:l"),
    ("basic.get-empty", 60, 72, "reserved:s"),
    ("basic.ack", 60, 80, "delivery:q b:multiple"),
    ("basic.reject", 60, 90, "delivery:q b:requeue"),
    ("basic.recover-async", 60, 100, "b:requeue"),
    ("basic.recover", 60, 110, "b:requeue"),
    ("basic.recover-ok", 60, 111, ""),
    ("basic.nack", 60, 120, "delivery:q b:multiple,requeue"),
    ("confirm.select", 85, 10, "b:nowait"),
    ("confirm.select-ok", 85, 11, ""),
    ("tx.select", 90, 10, ""),
    ("tx.select-ok", 90, 11, ""),
    ("tx.commit", 90, 20, ""),
    ("tx.commit-ok", 90, 21, ""),
    ("tx.rollback", 90, 30, ""),
    ("tx.rollback-ok", 90, 31, ""),
];

const PROPERTIES: &[(&str, char)] = &[
    ("content_type", 's'),
    ("content_encoding", 's'),
    ("headers", 't'),
    ("delivery_mode", 'o'),
    ("priority", 'o'),
    ("correlation_id", 's'),
    ("reply_to", 's'),
    ("expiration", 's'),
    ("message_id", 's'),
    ("timestamp", 'q'),
    ("type", 's'),
    ("user_id", 's'),
    ("app_id", 's'),
    ("cluster_id", 's'),
];

/// Words of a line: separated by spaces outside braces, brackets and quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            ' ' if depth == 0 && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `'text'`, `9*x` or a bare word; `\0` is a zero byte.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    if let Some((count, one)) = text.split_once('*')
        && let Ok(count) = count.parse::<usize>()
    {
        return one.as_bytes().repeat(count);
    }
    text.trim_matches('\'').replace("\\0", "\0").into_bytes()
}

fn value<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn put(kind: &str, text: Option<&str>, out: &mut Vec<u8>) {
    let number = || text.map_or(0, |text| text.parse::<u64>().expect("a number"));
    let data = || text.map_or_else(Vec::new, bytes);
    match kind {
        "o" => out.push(number() as u8),
        "w" => out.extend((number() as u16).to_be_bytes()),
        "l" => out.extend((number() as u32).to_be_bytes()),
        "q" => out.extend(number().to_be_bytes()),
        "s" => {
            let data = data();
            out.push(u8::try_from(data.len()).expect("a short string"));
            out.extend(data);
        }
        "S" => put_long(&data(), out),
        "t" => put_long(&table(text.unwrap_or("{}")), out),
        other => panic!("field kind {other}"),
    }
}

fn put_long(data: &[u8], out: &mut Vec<u8>) {
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

/// The fields of `{a=I:1, b=S:x, c=t:true, d=A[S:x, S:y], e=F{..}}`.
fn table(text: &str) -> Vec<u8> {
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("braces");
    let mut out = Vec::new();
    for field in items(inside) {
        let (key, value) = field.split_once('=').expect("key=value");
        out.push(key.len() as u8);
        out.extend(key.as_bytes());
        put_value(value, &mut out);
    }
    out
}

fn items(text: &str) -> Vec<String> {
    let (mut items, mut item, mut depth) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            ' ' if item.is_empty() => continue,
            _ => {}
        }
        item.push(c);
    }
    if !item.is_empty() {
        items.push(item);
    }
    items
}

fn put_value(text: &str, out: &mut Vec<u8>) {
    let letter = text.as_bytes()[0];
    out.push(letter);
    let rest = text[1..].trim_start_matches(':');
    let number = || rest.parse::<i64>().expect("a number");
    match letter {
        b't' => out.push(u8::from(rest == "true")),
        b'b' | b'B' => out.push(number() as u8),
        b's' | b'u' => out.extend((number() as u16).to_be_bytes()),
        b'I' | b'i' => out.extend((number() as u32).to_be_bytes()),
        b'l' | b'L' | b'T' => out.extend(number().to_be_bytes()),
        b'd' => out.extend(rest.parse::<f64>().expect("a number").to_be_bytes()),
        b'S' | b'x' => put_long(&bytes(rest), out),
        b'V' => {}
        b'F' => put_long(&table(rest), out),
        b'A' => {
            let inside = rest.trim_start_matches('[').trim_end_matches(']');
            let mut array = Vec::new();
            items(inside).iter().for_each(|item| put_value(item, &mut array));
            put_long(&array, out);
        }
        other => panic!("value letter {}", char::from(other)),
    }
}

/// The payload of a method: the first word is its name.
pub(crate) fn method(words: &[String]) -> Vec<u8> {
    let name = &words[0];
    let (_, class, id, fields) =
        METHODS.iter().find(|(other, ..)| other == name).unwrap_or_else(|| panic!("method {name}"));
    let mut out = [class.to_be_bytes(), id.to_be_bytes()].concat();
    for field in fields.split_whitespace() {
        let (name, kind) = field.split_once(':').expect("name:kind");
        if name == "b" {
            let bits = kind.split(',').enumerate();
            let set = bits.filter(|(_, flag)| words.iter().any(|word| word == flag));
            out.push(set.fold(0, |sum, (at, _)| sum | 1 << at));
        } else {
            put(kind, value(words, name), &mut out);
        }
    }
    out
}

/// Property flags and values from the words that name properties.
pub(crate) fn properties(words: &[String]) -> Vec<u8> {
    let (mut flags, mut values) = (0_u16, Vec::new());
    for (at, (name, kind)) in PROPERTIES.iter().enumerate() {
        if let Some(text) = value(words, name) {
            flags |= 1 << (15 - at);
            put(&kind.to_string(), Some(text), &mut values);
        }
    }
    [&flags.to_be_bytes()[..], &values].concat()
}

pub(crate) fn header(class: u16, weight: u16, size: u64, properties: &[u8]) -> Vec<u8> {
    let mut out = [class.to_be_bytes(), weight.to_be_bytes()].concat();
    out.extend(size.to_be_bytes());
    out.extend(properties);
    out
}

pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(0xCE);
    out
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }

    fn number(&mut self, n: usize) -> u64 {
        self.take(n).iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn field(&mut self, kind: &str) -> Option<String> {
        let number = |n: u64| (n != 0).then(|| n.to_string());
        let text = |bytes: &[u8]| (!bytes.is_empty()).then(|| shown(bytes));
        match kind {
            "o" => number(self.number(1)),
            "w" => number(self.number(2)),
            "l" => number(self.number(4)),
            "q" => number(self.number(8)),
            "s" => {
                let n = self.number(1) as usize;
                text(self.take(n))
            }
            "S" => {
                let n = self.number(4) as usize;
                text(self.take(n))
            }
            "t" => {
                let n = self.number(4) as usize;
                Some(shown_table(TableView::new(self.take(n))))
            }
            other => panic!("field kind {other}"),
        }
    }
}

/// Bytes as text, quoted where a word would end.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() > 300 {
        return format!("<{} bytes>", bytes.len());
    }
    let text = String::from_utf8_lossy(bytes).replace('\0', "\\0");
    if text.contains([' ', '=']) || text.is_empty() { format!("'{text}'") } else { text }
}

fn shown_table(table: TableView<'_>) -> String {
    let fields: Vec<String> = table
        .iter()
        .map(|field| field.expect("a sound table"))
        .map(|(key, value)| format!("{}={}", String::from_utf8_lossy(key), shown_value(value)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn shown_value(value: ValueView<'_>) -> String {
    let letter = char::from(value.kind().letter());
    match value {
        ValueView::Bool(value) => format!("t:{value}"),
        ValueView::LongString(bytes) | ValueView::ByteArray(bytes) => {
            format!("{letter}:{}", String::from_utf8_lossy(bytes))
        }
        ValueView::Table(table) => format!("F{}", shown_table(table)),
        ValueView::Array(array) => {
            let items: Vec<String> =
                array.iter().map(|value| shown_value(value.expect("a value"))).collect();
            format!("A[{}]", items.join(", "))
        }
        ValueView::Timestamp(seconds) => format!("T:{seconds}"),
        other => match other.as_i64() {
            Some(number) => format!("{letter}:{number}"),
            None => letter.to_string(),
        },
    }
}

/// A method frame's payload as a line.
pub(crate) fn shown_method(payload: &[u8]) -> String {
    let mut reader = Reader(payload);
    let (class, id) = (reader.number(2) as u16, reader.number(2) as u16);
    let found = METHODS.iter().find(|(_, c, m, _)| (*c, *m) == (class, id));
    let Some((name, _, _, fields)) = found else { return format!("method {class}.{id}") };
    let mut line = (*name).to_owned();
    for field in fields.split_whitespace() {
        let (name, kind) = field.split_once(':').expect("name:kind");
        if name == "b" {
            let bits = reader.number(1);
            for (at, flag) in kind.split(',').enumerate() {
                if bits & 1 << at != 0 {
                    let _ = write!(line, " {flag}");
                }
            }
        } else if let Some(value) = reader.field(kind) {
            let _ = write!(line, " {name}={value}");
        }
    }
    assert!(reader.0.is_empty(), "{} bytes behind {name}", reader.0.len());
    line
}

/// Property bytes as ` name=value ...`.
pub(crate) fn shown_properties(bytes: &[u8]) -> String {
    let mut reader = Reader(bytes);
    let flags = reader.number(2);
    let mut line = String::new();
    for (at, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags & 1 << (15 - at) != 0 {
            let value = reader.field(&kind.to_string()).unwrap_or_default();
            let _ = write!(line, " {name}={value}");
        }
    }
    line
}

/// Whether content follows the method.
pub(crate) fn has_content(payload: &[u8]) -> bool {
    matches!(payload, [0, 60, 0, 40 | 50 | 60 | 71, ..])
}
