//! The `x-delay` header: what it asks for, and what becomes of it when the time has come.
// rabbitmq: x-delayed-message, x-delay

use crate::limits::DELAY_MS_MAX;
use leveret_codec::{
    Change, Properties, PropertyChanges, TableView, TableWriter, ValueView, rewrite,
};

const DELAY: &[u8] = b"x-delay";

/// How many milliseconds a message with these headers is to wait; `None` if not at all: without the
/// header, with one that is no number, with one that is not positive, or with one that is too large.
pub(crate) fn delay_of(headers: Option<TableView<'_>>) -> Option<u64> {
    let delay = u64::try_from(number(headers?.get(DELAY)?)?).ok()?;
    (1..=DELAY_MS_MAX).contains(&delay).then_some(delay)
}

/// A number as the plugin reads it: fractions are cut off, text is a whole number.
fn number(value: ValueView<'_>) -> Option<i64> {
    match value {
        ValueView::Float(value) => whole(f64::from(value)),
        ValueView::Double(value) => whole(value),
        ValueView::Decimal { scale, value } => {
            Some(i64::from(value.checked_div(10_u32.checked_pow(scale.into())?)?))
        }
        ValueView::LongString(text) => str::from_utf8(text).ok()?.parse().ok(),
        other => other.as_i64(),
    }
}

fn whole(value: f64) -> Option<i64> {
    value.is_finite().then(|| value.trunc() as i64)
}

/// The properties with the opposite of `x-delay` in its place.
pub(super) fn negated(properties: Properties<'_>) -> Vec<u8> {
    let headers = properties.headers().unwrap_or_default();
    let mut table = Vec::with_capacity(headers.as_bytes().len() + 8);
    let mut writer = TableWriter::new(&mut table);
    for field in headers.fields().map_while(Result::ok) {
        match (field.key, number(field.value)) {
            (DELAY, Some(delay)) => writer.value(DELAY, opposite(delay)),
            _ => writer.copy(&field),
        }
    }
    let changes = PropertyChanges { headers: Change::Set(&table), ..PropertyChanges::default() };
    let mut out = Vec::new();
    match rewrite(properties.as_bytes(), &changes, &mut out) {
        Ok(()) => out,
        // They were checked when the message was published.
        Err(_) => properties.as_bytes().to_vec(),
    }
}

fn opposite(delay: i64) -> ValueView<'static> {
    let opposite = delay.saturating_neg();
    i32::try_from(opposite).map_or(ValueView::Long(opposite), ValueView::Int)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_codec::{PropertiesWriter, Table, Value};

    fn delay(value: Value) -> Option<u64> {
        let table = Table(vec![("x-delay".into(), value)]).to_bytes();
        delay_of(Some(TableView::new(&table)))
    }

    #[test]
    fn a_delay_may_be_any_kind_of_number() {
        for value in [
            Value::Int(5000),
            Value::Long(5000),
            Value::UnsignedShort(5000),
            Value::Double(5000.9),
            Value::Float(5000.0),
            Value::Decimal { scale: 1, value: 50_009 },
            "5000".into(),
        ] {
            assert_eq!(delay(value.clone()), Some(5000), "{value:?}");
        }
        assert_eq!(delay(Value::Long(u32::MAX.into())), Some(u32::MAX.into()));
        for value in [
            Value::Int(0),
            Value::Int(-1),
            Value::Long(i64::from(u32::MAX) + 1),
            Value::Double(f64::NAN),
            Value::Double(0.5),
            Value::Decimal { scale: 255, value: 1 },
            "soon".into(),
            Value::Bool(true),
            Value::Void,
        ] {
            assert_eq!(delay(value.clone()), None, "{value:?}");
        }
        assert_eq!(delay_of(None), None);
    }

    #[test]
    fn the_header_turns_negative_and_the_others_stay() {
        let negate = |value| {
            let headers = Table(vec![
                ("a".into(), Value::Int(1)),
                ("x-delay".into(), value),
                ("b".into(), "x".into()),
            ]);
            let bytes = PropertiesWriter {
                content_type: Some(b"text/plain"),
                headers: Some(&headers.to_bytes()),
                message_id: Some(b"m"),
                ..PropertiesWriter::default()
            };
            let out = negated(Properties::new(&bytes.to_bytes().unwrap()));
            let out = Properties::new(&out);
            assert_eq!(out.message_id(), Some(&b"m"[..]));
            assert_eq!(out.content_type(), Some(&b"text/plain"[..]));
            Table::try_from(out.headers().unwrap()).unwrap()
        };
        let expected = |delay| {
            Table(vec![
                ("a".into(), Value::Int(1)),
                ("x-delay".into(), delay),
                ("b".into(), "x".into()),
            ])
        };
        assert_eq!(negate(Value::Short(7)), expected(Value::Int(-7)));
        assert_eq!(negate("700".into()), expected(Value::Int(-700)));
        assert_eq!(negate(Value::Long(1 << 32)), expected(Value::Long(-(1 << 32))));
    }
}
