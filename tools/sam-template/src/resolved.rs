//! A value without intrinsics, and its place in the template: what typed reads start from.
//!
//! CloudFormation is lenient about scalars (`"10"` is a number where one is wanted, `10` is text), so these reads are.

use serde_json::{Map, Value};

use crate::error::{Invalid, Problem};

/// A value without intrinsics.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) at: String,
    pub(crate) value: Value,
}

impl Resolved {
    /// The value under `key`, if this is an object that has it. `null` is nothing.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        (!value.is_null()).then(|| Self { at: format!("{}.{key}", self.at), value: value.clone() })
    }

    pub(crate) fn require(&self, key: &str) -> Result<Self, Invalid> {
        self.get(key).ok_or_else(|| Invalid::new(&self.at, Problem::Missing(key.to_owned())))
    }

    pub(crate) fn text(&self) -> Result<String, Invalid> {
        text_of(&self.value).ok_or_else(|| Invalid::expected(&self.at, "text"))
    }

    pub(crate) fn unsigned(&self) -> Result<u64, Invalid> {
        let number = match &self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| Invalid::expected(&self.at, "a whole number, not negative"))
    }

    pub(crate) fn boolean(&self) -> Result<bool, Invalid> {
        match &self.value {
            Value::Bool(boolean) => Ok(*boolean),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Invalid::expected(&self.at, "true or false")),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>, Invalid> {
        let items = self.value.as_array().ok_or_else(|| Invalid::expected(&self.at, "a list"))?;
        let located =
            |(index, value): (usize, &Value)| Self { at: format!("{}[{index}]", self.at), value: value.clone() };
        Ok(items.iter().enumerate().map(located).collect())
    }

    /// The entries of a list, as text.
    pub(crate) fn texts(&self) -> Result<Vec<String>, Invalid> {
        self.list()?.iter().map(Self::text).collect()
    }

    pub(crate) fn entries(&self) -> Result<Vec<(String, Self)>, Invalid> {
        let entries = self.value.as_object().ok_or_else(|| Invalid::expected(&self.at, "a map"))?;
        let located = |(key, value): (&String, &Value)| {
            (key.clone(), Self { at: format!("{}.{key}", self.at), value: value.clone() })
        };
        Ok(entries.iter().map(located).collect())
    }

    /// The entries of a map under `keys`, those it has.
    pub(crate) fn pick(&self, keys: &[&str]) -> Result<Map<String, Value>, Invalid> {
        let entries = self.value.as_object().ok_or_else(|| Invalid::expected(&self.at, "a map"))?;
        Ok(keys.iter().filter_map(|key| Some(((*key).to_owned(), entries.get(*key)?.clone()))).collect())
    }
}

/// The text of a scalar, as CloudFormation writes it.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
