//! How a value is serialised: plain where people read it, tagged where the format does not describe
//! itself.

use super::ParameterValue;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The same value with its type before it.
#[derive(Serialize, Deserialize)]
enum Tagged {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(Arc<str>),
    List(Vec<ParameterValue>),
    Object(Vec<(Arc<str>, ParameterValue)>),
}

/// The same value with its type before it, borrowed; the variants agree with [`Tagged`].
#[derive(Serialize)]
enum TaggedRef<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(&'a str),
    List(&'a [ParameterValue]),
    Object(&'a [(Arc<str>, ParameterValue)]),
}

impl Serialize for ParameterValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return match self {
                Self::Null => TaggedRef::Null,
                Self::Bool(value) => TaggedRef::Bool(*value),
                Self::Integer(value) => TaggedRef::Integer(*value),
                Self::Float(value) => TaggedRef::Float(*value),
                Self::String(value) => TaggedRef::String(value),
                Self::List(values) => TaggedRef::List(values),
                Self::Object(fields) => TaggedRef::Object(fields),
            }
            .serialize(serializer);
        }
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::List(values) => values.serialize(serializer),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(&**key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ParameterValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(Plain);
        }
        Tagged::deserialize(deserializer).map(|tagged| match tagged {
            Tagged::Null => Self::Null,
            Tagged::Bool(value) => Self::Bool(value),
            Tagged::Integer(value) => Self::Integer(value),
            Tagged::Float(value) => Self::Float(value),
            Tagged::String(value) => Self::String(value),
            Tagged::List(values) => Self::List(values),
            Tagged::Object(fields) => Self::Object(fields),
        })
    }
}

struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = ParameterValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Integer(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON numbers beyond 63 bits are floats here")]
    fn visit_u64<E>(self, value: u64) -> Result<ParameterValue, E> {
        Ok(i64::try_from(value)
            .map_or(ParameterValue::Float(value as f64), ParameterValue::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<ParameterValue, E> {
        Ok(ParameterValue::String(value.into()))
    }

    fn visit_unit<E>(self) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Null)
    }

    fn visit_none<E>(self) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<ParameterValue, D::Error> {
        ParameterValue::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ParameterValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(ParameterValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParameterValue, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(ParameterValue::Object(fields))
    }
}
