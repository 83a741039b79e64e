//! Table values as Erlang prints them (`~p`), because clients match on RabbitMQ's texts.

use leveret_codec::Value;
use std::fmt::Write;

/// A value in single quotes, as `rabbit_misc:val/1` prints it: strings as they are, the rest as
/// terms.
pub(crate) fn quoted(value: &Value) -> String {
    match value {
        Value::LongString(bytes) | Value::ByteArray(bytes) => {
            format!("'{}'", String::from_utf8_lossy(bytes))
        }
        other => format!("'{}'", plain(other)),
    }
}

/// A value without its type: `5`, `true`, `<<"text">>`, `undefined`.
pub(crate) fn plain(value: &Value) -> String {
    let mut out = String::new();
    write_plain(&mut out, value);
    out
}

/// A value with its type: `{longstr,<<"text">>}`.
pub(crate) fn typed(value: &Value) -> String {
    let mut out = String::new();
    write_typed(&mut out, value);
    out
}

/// A string as a binary: `<<"text">>`, or its bytes where it is not printable.
pub(crate) fn binary(bytes: &[u8]) -> String {
    let mut out = String::new();
    write_binary(&mut out, bytes);
    out
}

/// A field of a table: `{<<"key">>,signedint,5}`.
pub(crate) fn field(key: &str, value: &Value) -> String {
    let mut out = String::from("{");
    write_binary(&mut out, key.as_bytes());
    let _ = write!(out, ",{},", value.kind().name());
    write_plain(&mut out, value);
    out.push('}');
    out
}

fn write_typed(out: &mut String, value: &Value) {
    out.push('{');
    out.push_str(value.kind().name());
    out.push(',');
    write_plain(out, value);
    out.push('}');
}

fn write_plain(out: &mut String, value: &Value) {
    match value {
        Value::Bool(value) => write_display(out, value),
        Value::Float(value) => write_float(out, f64::from(*value)),
        Value::Double(value) => write_float(out, *value),
        Value::Decimal { scale, value } => {
            let _ = write!(out, "{{{scale},{value}}}");
        }
        Value::LongString(bytes) | Value::ByteArray(bytes) => write_binary(out, bytes),
        Value::Array(values) => write_list(out, values.iter(), write_typed),
        Value::Timestamp(value) => write_display(out, value),
        Value::Table(table) => write_list(out, table.0.iter(), |out, (key, value)| {
            out.push('{');
            write_binary(out, key.as_bytes());
            let _ = write!(out, ",{},", value.kind().name());
            write_plain(out, value);
            out.push('}');
        }),
        Value::Void => out.push_str("undefined"),
        integer => match integer.as_i64() {
            Some(value) => write_display(out, &value),
            None => out.push_str("undefined"),
        },
    }
}

fn write_list<T>(
    out: &mut String,
    items: impl Iterator<Item = T>,
    mut write_item: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_item(out, item);
    }
    out.push(']');
}

fn write_display(out: &mut String, value: &impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

/// Erlang always writes the point: `1.0`.
fn write_float(out: &mut String, value: f64) {
    let _ = write!(out, "{value:?}");
}

fn write_binary(out: &mut String, bytes: &[u8]) {
    let printable = bytes.iter().all(|&byte| byte == b'\n' || byte == b'\t' || byte >= b' ');
    match str::from_utf8(bytes) {
        Ok("") => out.push_str("<<>>"),
        Ok(text) if printable => {
            let _ = write!(out, "<<{text:?}>>");
        }
        _ => {
            out.push_str("<<");
            for (i, byte) in bytes.iter().enumerate() {
                let _ = write!(out, "{}{byte}", if i > 0 { "," } else { "" });
            }
            out.push_str(">>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_codec::Table;

    #[test]
    fn terms_look_like_erlang() {
        let cases = [
            (Value::Int(-5), "-5", "{signedint,-5}"),
            (Value::Bool(true), "true", "{bool,true}"),
            (Value::Void, "undefined", "{void,undefined}"),
            (Value::Double(1.0), "1.0", "{double,1.0}"),
            (Value::LongString(b"all".to_vec()), "<<\"all\">>", "{longstr,<<\"all\">>}"),
            (Value::LongString(vec![]), "<<>>", "{longstr,<<>>}"),
            (Value::ByteArray(vec![0, 255]), "<<0,255>>", "{binary,<<0,255>>}"),
            (
                Value::Array(vec![Value::LongString(b"all".to_vec())]),
                "[{longstr,<<\"all\">>}]",
                "{array,[{longstr,<<\"all\">>}]}",
            ),
            (
                Value::Table(Table(vec![("a".into(), Value::Long(1))])),
                "[{<<\"a\">>,long,1}]",
                "{table,[{<<\"a\">>,long,1}]}",
            ),
        ];
        for (value, without_type, with_type) in cases {
            assert_eq!(plain(&value), without_type);
            assert_eq!(plain(&Value::Array(vec![value])), format!("[{with_type}]"));
        }
    }
}
