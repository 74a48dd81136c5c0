//! What can be searched for, checked when it is made.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

/// The longest identifier of PostgreSQL, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// The longest text that is looked for, in bytes.
pub const MAX_SEARCH_BYTES: usize = 256;

/// A text that cannot be searched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTerm {
    /// No column can have this name.
    #[error(
        "{0:?} is no column name: use 1 to {MAX_IDENTIFIER_BYTES} bytes, as PostgreSQL stores it"
    )]
    Column(String),
    /// It is no JSON object, or an empty one, which every `meta` contains.
    #[error("`{0}` is no pattern for meta: use a JSON object that is not empty: {{\"tenant\": 7}}")]
    Meta(String),
    /// It is empty, too long, or holds what no stored value can.
    #[error("{0:?} cannot be searched for: use 1 to {MAX_SEARCH_BYTES} bytes without NUL")]
    Search(String),
    /// It is no category.
    #[error("{0:?} is no category: use 1 to {MAX_SEARCH_BYTES} bytes without NUL")]
    Category(String),
    /// It is no JSON.
    #[error("`{0}` is no JSON value: quote texts, {{\"a\": 1}}, \"a\", 1.10, true or null")]
    Value(String),
}

/// The name of a column, as PostgreSQL stores it: without quotes.
///
/// ```
/// use threadline_diesel::terms::ColumnName;
/// assert!(ColumnName::new("total_cents").is_ok());
/// assert!(ColumnName::new("").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ColumnName(String);

impl ColumnName {
    /// Checks a name. Whether a table has such a column is not asked: it may have had one once.
    ///
    /// # Errors
    /// [`InvalidTerm::Column`].
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidTerm> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES || name.contains('\0') {
            return Err(InvalidTerm::Column(name));
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ColumnName {
    type Err = InvalidTerm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// Facts that `meta` must contain, as PostgreSQL's `@>` has it: every named field, with this value.
///
/// No index answers it: changes are read from the newest on until the page is full. Give it a
/// table, an actor or a window beside it; guides/investigate.md has the index for hosts that ask
/// often.
///
/// ```
/// use threadline_diesel::terms::MetaPattern;
/// let tenant: MetaPattern = r#"{"tenant": 7}"#.parse()?;
/// assert_eq!(tenant, MetaPattern::field("tenant", 7)?);
/// assert!("{}".parse::<MetaPattern>().is_err());
/// # Ok::<(), threadline_diesel::terms::InvalidTerm>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MetaPattern(String);

impl MetaPattern {
    /// One field and its value.
    ///
    /// # Errors
    /// [`InvalidTerm::Meta`] when a text holds NUL, which no stored document can.
    pub fn field(name: impl Into<String>, value: impl Into<Value>) -> Result<Self, InvalidTerm> {
        let mut fields = serde_json::Map::new();
        fields.insert(name.into(), value.into());
        Self::checked(&Value::Object(fields))
    }

    fn checked(pattern: &Value) -> Result<Self, InvalidTerm> {
        let text = pattern.to_string();
        let usable = pattern.as_object().is_some_and(|fields| !fields.is_empty());
        if usable && !text.contains("\\u0000") {
            Ok(Self(text))
        } else {
            Err(InvalidTerm::Meta(text))
        }
    }

    /// The pattern as JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetaPattern {
    type Err = InvalidTerm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = serde_json::from_str(text).map_err(|_| InvalidTerm::Meta(text.to_owned()))?;
        Self::checked(&pattern)
    }
}

/// A text looked for in every stored value, upper and lower case alike.
///
/// **What it costs.** There is no index over values, and there will be none: it would cost every
/// write. Each change that the other filters leave is read whole, images and all, from the newest on
/// until the page is full: about 100,000 changes a second on a warm cache, much less from disk. So
/// give it a table or a window beside it. Names of columns are not searched, and neither is what
/// was excluded or masked.
///
/// ```
/// use threadline_diesel::terms::ScannedText;
/// use threadline_diesel::timeline::Timeline;
///
/// let question = Timeline::new()
///     .table("invoices".parse()?)
///     .scanning_values(ScannedText::new("initech")?);
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ScannedText(String);

impl ScannedText {
    /// Checks a text.
    ///
    /// # Errors
    /// [`InvalidTerm::Search`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidTerm> {
        let text = text.into();
        if is_searchable(&text) {
            Ok(Self(text))
        } else {
            Err(InvalidTerm::Search(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScannedText {
    type Err = InvalidTerm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

fn is_searchable(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_SEARCH_BYTES && !text.contains('\0')
}

pub(crate) fn checked_category(category: &str) -> Result<(), InvalidTerm> {
    if is_searchable(category) {
        Ok(())
    } else {
        Err(InvalidTerm::Category(category.to_owned()))
    }
}

/// A value that a field has or had.
///
/// ```
/// use threadline_diesel::terms::FieldValue;
/// let paid = FieldValue::from("paid");
/// let total = FieldValue::json("1234567890.10")?; // digit by digit
/// # let _ = (paid, total);
/// # Ok::<(), threadline_diesel::terms::InvalidTerm>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub struct FieldValue(Given);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Given {
    Json(String),
    Text(String),
}

impl FieldValue {
    /// A value as JSON, compared as PostgreSQL compares `jsonb`: 1.0 is 1.00, and no text is a
    /// number.
    ///
    /// # Errors
    /// [`InvalidTerm::Value`].
    pub fn json(text: &str) -> Result<Self, InvalidTerm> {
        let json: Result<Box<serde_json::value::RawValue>, _> = serde_json::from_str(text);
        match json {
            Ok(value) if !text.contains("\\u0000") => Ok(Self(Given::Json(value.get().to_owned()))),
            _ => Err(InvalidTerm::Value(text.to_owned())),
        }
    }

    /// A value as a person types it: compared as text, so that `42` is the number and the text, and
    /// 1.0 is not 1.00.
    ///
    /// # Errors
    /// [`InvalidTerm::Value`] when it holds NUL.
    pub fn typed(text: &str) -> Result<Self, InvalidTerm> {
        if text.contains('\0') {
            return Err(InvalidTerm::Value(text.to_owned()));
        }
        Ok(Self(Given::Text(text.to_owned())))
    }

    /// NULL.
    #[must_use]
    pub fn null() -> Self {
        Self(Given::Json("null".to_owned()))
    }

    /// The operator that takes a field out of an image, the value, and its type.
    pub(crate) fn comparison(&self) -> (&'static str, &str, &'static str) {
        match &self.0 {
            Given::Json(json) => ("->", json, "::jsonb"),
            Given::Text(text) => ("->>", text, ""),
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self(Given::Json(Value::from(text).to_string()))
    }
}

macro_rules! field_value_from {
    ($($kind:ty),*) => {$(
        impl From<$kind> for FieldValue {
            fn from(value: $kind) -> Self {
                Self(Given::Json(Value::from(value).to_string()))
            }
        }
    )*};
}

field_value_from!(bool, i16, i32, i64, String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(64);
        assert!(
            ColumnName::new(long.clone())
                .unwrap_err()
                .to_string()
                .contains(&long)
        );
        for wrong in ["", "  ", "a\0b", &"x".repeat(300)] {
            assert_eq!(
                ScannedText::new(wrong),
                Err(InvalidTerm::Search(wrong.to_owned()))
            );
        }
        for wrong in ["{}", "[]", "7", "{", r#"{"a": "\u0000"}"#] {
            assert!(wrong.parse::<MetaPattern>().is_err(), "{wrong}");
        }
        assert!(FieldValue::json("paid").is_err());
    }
}
