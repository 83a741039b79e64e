//! Values of parameters and policies: what JSON can say, without a JSON library. In a format for
//! people a value is serialised as plain JSON, in others with its type before it.

mod serial;

use std::sync::Arc;

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ParameterValue {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// A string.
    String(Arc<str>),
    /// An array.
    List(Vec<Self>),
    /// An object, in its order.
    Object(Vec<(Arc<str>, Self)>),
}

impl ParameterValue {
    /// The number, if it is one without a fraction.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(value) = self { Some(value) } else { None }
    }

    /// The truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The fields.
    #[must_use]
    pub fn as_object(&self) -> Option<&[(Arc<str>, Self)]> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    /// The elements.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(values) = self { Some(values) } else { None }
    }

    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let (_, value) = self.as_object()?.iter().find(|(key, _)| &**key == name)?;
        Some(value)
    }
}

impl From<&str> for ParameterValue {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<i64> for ParameterValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for ParameterValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
