//! The kinds of values that people write in a configuration: sizes with a unit, a share or an
//! amount of memory, one address or several, and what must never be printed.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// An amount of bytes, written as a number or with a unit: `50MB`, `1GiB`, `64kB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Units and their bytes; a bare `k`, `M` or `G` is a power of 1000.
// rabbitmq: information units of rabbitmq.conf
const UNITS: [(&str, u64); 22] = [
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1_000_000_000_000),
    ("tb", 1_000_000_000_000),
    ("ti", 1 << 40),
    ("tib", 1 << 40),
    ("p", 1_000_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("pi", 1 << 50),
    ("pib", 1 << 50),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let wrong =
            || format!("`{text}` is not a size: write bytes or a unit, as in 500000, 50MB or 2GiB");
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*bytes).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |unit: u64, name: &str, f: &mut fmt::Formatter<'_>| {
            write!(f, "{:.1} {name}", self.0 as f64 / unit as f64)
        };
        match self.0 {
            n if n >= 1_000_000_000_000 => shown(1_000_000_000_000, "TB", f),
            n if n >= 1_000_000_000 => shown(1_000_000_000, "GB", f),
            n if n >= 1_000_000 => shown(1_000_000, "MB", f),
            n => write!(f, "{n} bytes"),
        }
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("ByteSize")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string"], "minimum": 0})
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteSizeVisitor)
    }
}

struct ByteSizeVisitor;

impl de::Visitor<'_> for ByteSizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as 500000, \"50MB\" or \"2GiB\"")
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<ByteSize, E> {
        u64::try_from(v).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<ByteSize, E> {
        v.parse().map_err(E::custom)
    }
}

/// Where the memory alarm stands.
// rabbitmq: vm_memory_high_watermark.relative, .absolute
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryWatermark {
    /// A share of the memory there is.
    Share(f64),
    /// An amount of bytes.
    Bytes(u64),
}

impl MemoryWatermark {
    /// The bytes it stands for where there are `total` bytes of memory.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Share(share) => (total as f64 * share) as u64,
            Self::Bytes(bytes) => bytes,
        }
    }

    fn share(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) {
            return Ok(Self::Share(value));
        }
        Err(format!("{value} is not a share of memory: write 0.0 to 1.0, or an amount as \"4GB\""))
    }
}

impl FromStr for MemoryWatermark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<f64>() {
            Ok(share) if share <= 1.0 => Self::share(share),
            _ => text.parse::<ByteSize>().map(|size| Self::Bytes(size.0)),
        }
    }
}

impl JsonSchema for MemoryWatermark {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("MemoryWatermark")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["number", "string"], "minimum": 0})
    }
}

impl Serialize for MemoryWatermark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Share(share) => serializer.serialize_f64(*share),
            Self::Bytes(bytes) => serializer.serialize_u64(*bytes),
        }
    }
}

impl<'de> Deserialize<'de> for MemoryWatermark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WatermarkVisitor)
    }
}

struct WatermarkVisitor;

impl de::Visitor<'_> for WatermarkVisitor {
    type Value = MemoryWatermark;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share of memory such as 0.6 or an amount such as \"4GB\"")
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<MemoryWatermark, E> {
        MemoryWatermark::share(v).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<MemoryWatermark, E> {
        match u64::try_from(v) {
            Ok(n @ 0..=1) => Ok(MemoryWatermark::Share(n as f64)),
            Ok(n) => Ok(MemoryWatermark::Bytes(n)),
            Err(_) => Err(E::custom("memory cannot be negative")),
        }
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<MemoryWatermark, E> {
        v.parse().map_err(E::custom)
    }
}

/// A text that is not shown in logs or errors.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads a list that may be written as a single text, so that one address needs no brackets.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) if text.is_empty() => Vec::new(),
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    })
}
