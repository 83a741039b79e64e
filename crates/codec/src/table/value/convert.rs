//! Between owned tables, views and amq-protocol's types.
//!
//! Recursion is bounded where the source was checked: a view by [`TableView::check`], a catalogue table
//! by the guard it was parsed behind.

use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};

use crate::{DecodeError, Table, TableView, Value, ValueView, short_string};

impl TryFrom<TableView<'_>> for Table {
    type Error = DecodeError;

    /// Checks the table, then copies it. A key that is not UTF-8 gets replacement characters.
    fn try_from(view: TableView<'_>) -> Result<Self, DecodeError> {
        view.check()?;
        from_checked(view)
    }
}

fn from_checked(view: TableView<'_>) -> Result<Table, DecodeError> {
    view.iter()
        .map(|field| {
            let (key, value) = field?;
            Ok((String::from_utf8_lossy(key).into_owned(), value_from_checked(value)?))
        })
        .collect::<Result<_, _>>()
        .map(Table)
}

fn value_from_checked(view: ValueView<'_>) -> Result<Value, DecodeError> {
    Ok(match view {
        ValueView::Bool(value) => Value::Bool(value),
        ValueView::Byte(value) => Value::Byte(value),
        ValueView::UnsignedByte(value) => Value::UnsignedByte(value),
        ValueView::Short(value) => Value::Short(value),
        ValueView::UnsignedShort(value) => Value::UnsignedShort(value),
        ValueView::Int(value) => Value::Int(value),
        ValueView::UnsignedInt(value) => Value::UnsignedInt(value),
        ValueView::Long(value) => Value::Long(value),
        ValueView::LongUpper(value) => Value::LongUpper(value),
        ValueView::Float(value) => Value::Float(value),
        ValueView::Double(value) => Value::Double(value),
        ValueView::Decimal { scale, value } => Value::Decimal { scale, value },
        ValueView::LongString(bytes) => Value::LongString(bytes.to_vec()),
        ValueView::Array(array) => Value::Array(
            array.iter().map(|value| value_from_checked(value?)).collect::<Result<_, _>>()?,
        ),
        ValueView::Timestamp(value) => Value::Timestamp(value),
        ValueView::Table(table) => Value::Table(from_checked(table)?),
        ValueView::Void => Value::Void,
        ValueView::ByteArray(bytes) => Value::ByteArray(bytes.to_vec()),
    })
}

impl From<&FieldTable> for Table {
    fn from(table: &FieldTable) -> Self {
        Self(table.into_iter().map(|(key, value)| (key.to_string(), value.into())).collect())
    }
}

impl From<FieldTable> for Table {
    fn from(table: FieldTable) -> Self {
        Self::from(&table)
    }
}

impl From<&AMQPValue> for Value {
    fn from(value: &AMQPValue) -> Self {
        match value {
            AMQPValue::Boolean(value) => Self::Bool(*value),
            AMQPValue::ShortShortInt(value) => Self::Byte(*value),
            AMQPValue::ShortShortUInt(value) => Self::UnsignedByte(*value),
            AMQPValue::ShortInt(value) => Self::Short(*value),
            AMQPValue::ShortUInt(value) => Self::UnsignedShort(*value),
            AMQPValue::LongInt(value) => Self::Int(*value),
            AMQPValue::LongUInt(value) => Self::UnsignedInt(*value),
            AMQPValue::LongLongInt(value) => Self::Long(*value),
            AMQPValue::Float(value) => Self::Float(*value),
            AMQPValue::Double(value) => Self::Double(*value),
            AMQPValue::DecimalValue(decimal) => {
                Self::Decimal { scale: decimal.scale, value: decimal.value }
            }
            AMQPValue::ShortString(text) => Self::LongString(text.as_str().into()),
            AMQPValue::LongString(text) => Self::LongString(text.as_bytes().to_vec()),
            AMQPValue::FieldArray(array) => {
                Self::Array(array.as_slice().iter().map(Self::from).collect())
            }
            AMQPValue::Timestamp(value) => Self::Timestamp(*value),
            AMQPValue::FieldTable(table) => Self::Table(table.into()),
            AMQPValue::ByteArray(bytes) => Self::ByteArray(bytes.as_slice().to_vec()),
            AMQPValue::Void => Self::Void,
        }
    }
}

impl From<&Table> for FieldTable {
    /// Sorted by key; of a key that occurs twice the first value is kept.
    fn from(table: &Table) -> Self {
        let mut fields = Self::default();
        for (key, value) in table.0.iter().rev() {
            fields.insert(short_string(key), value.into());
        }
        fields
    }
}

impl From<&Value> for AMQPValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Boolean(*value),
            Value::Byte(value) => Self::ShortShortInt(*value),
            Value::UnsignedByte(value) => Self::ShortShortUInt(*value),
            Value::Short(value) => Self::ShortInt(*value),
            Value::UnsignedShort(value) => Self::ShortUInt(*value),
            Value::Int(value) => Self::LongInt(*value),
            Value::UnsignedInt(value) => Self::LongUInt(*value),
            Value::Long(value) | Value::LongUpper(value) => Self::LongLongInt(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Double(value) => Self::Double(*value),
            Value::Decimal { scale, value } => {
                Self::DecimalValue(DecimalValue { scale: *scale, value: *value })
            }
            Value::LongString(bytes) => Self::LongString(bytes.as_slice().into()),
            Value::Array(values) => Self::FieldArray(FieldArray::from(
                values.iter().map(Self::from).collect::<Vec<_>>(),
            )),
            Value::Timestamp(value) => Self::Timestamp(*value),
            Value::Table(table) => Self::FieldTable(table.into()),
            Value::Void => Self::Void,
            Value::ByteArray(bytes) => Self::ByteArray(bytes.as_slice().into()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Long(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::LongString(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::LongString(text.into())
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<Vec<Self>> for Value {
    fn from(values: Vec<Self>) -> Self {
        Self::Array(values)
    }
}
