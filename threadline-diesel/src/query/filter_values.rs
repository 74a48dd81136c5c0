//! Values of filters, validated when they are built.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::sql_fragment::SqlFragment;

/// The maximum length of a PostgreSQL identifier, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// The maximum length of a search text or category, in bytes.
pub const MAX_SEARCH_BYTES: usize = 256;

/// A filter value that no stored value can match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFilterValue {
    /// The text is not a column name.
    #[error(
        "{0:?} is not a column name: use 1 to {MAX_IDENTIFIER_BYTES} bytes, as PostgreSQL stores it"
    )]
    Column(String),
    /// The value is not a JSON object, or is empty; every `meta` contains an empty one.
    #[error(
        "`{0}` is not a pattern for meta: use a JSON object that is not empty: {{\"tenant\": 7}}"
    )]
    Meta(String),
    /// The search text is empty, too long, or contains NUL.
    #[error("{0:?} cannot be searched for: use 1 to {MAX_SEARCH_BYTES} bytes without NUL")]
    Search(String),
    /// The text is not a category.
    #[error("{0:?} is not a category: use 1 to {MAX_SEARCH_BYTES} bytes without NUL")]
    Category(String),
    /// The text is not a JSON value.
    #[error("`{0}` is not a JSON value: quote texts, {{\"a\": 1}}, \"a\", 1.10, true or null")]
    Value(String),
}

/// The name of a column, as PostgreSQL stores it: without quotes.
///
/// ```
/// use threadline_diesel::query::ColumnName;
/// assert!(ColumnName::new("total_cents").is_ok());
/// assert!(ColumnName::new("").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ColumnName(String);

impl ColumnName {
    /// Validates a name. The column need not exist: a table may have had it earlier.
    ///
    /// # Errors
    /// [`InvalidFilterValue::Column`].
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidFilterValue> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES || name.contains('\0') {
            return Err(InvalidFilterValue::Column(name));
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
    type Err = InvalidFilterValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// Fields that `meta` must contain, by PostgreSQL's `@>`.
///
/// No index serves this filter: changes are read in order until the page is full. Combine it with a table, an
/// actor or a window; guides/investigate.md has an index for hosts that use it often.
///
/// ```
/// use threadline_diesel::query::MetaPattern;
/// let tenant: MetaPattern = r#"{"tenant": 7}"#.parse()?;
/// assert_eq!(tenant, MetaPattern::field("tenant", 7)?);
/// assert!("{}".parse::<MetaPattern>().is_err());
/// # Ok::<(), threadline_diesel::query::InvalidFilterValue>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MetaPattern(String);

impl MetaPattern {
    /// A pattern of one field and its value.
    ///
    /// # Errors
    /// [`InvalidFilterValue::Meta`] when a text contains NUL, which no stored document can.
    pub fn field(
        name: impl Into<String>,
        value: impl Into<Value>,
    ) -> Result<Self, InvalidFilterValue> {
        let mut fields = serde_json::Map::new();
        fields.insert(name.into(), value.into());
        Self::checked(&Value::Object(fields))
    }

    fn checked(pattern: &Value) -> Result<Self, InvalidFilterValue> {
        let text = pattern.to_string();
        let usable = pattern.as_object().is_some_and(|fields| !fields.is_empty());
        if usable && !text.contains("\\u0000") {
            Ok(Self(text))
        } else {
            Err(InvalidFilterValue::Meta(text))
        }
    }

    /// The pattern as JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MetaPattern {
    type Err = InvalidFilterValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern =
            serde_json::from_str(text).map_err(|_| InvalidFilterValue::Meta(text.to_owned()))?;
        Self::checked(&pattern)
    }
}

/// A text to find in all stored values, ignoring case.
///
/// **Cost.** There is no index over values, because every write would pay for it. Each change that matches the
/// other filters is read with its images, in order until the page is full: about 100,000 changes per second
/// from a warm cache, far fewer from disk. Combine it with a table or a window. Column names and excluded or
/// masked values are not searched.
///
/// ```
/// use threadline_diesel::query::SearchText;
/// use threadline_diesel::query::Timeline;
///
/// let query = Timeline::new()
///     .table("invoices".parse()?)
///     .scanning_values(SearchText::new("initech")?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SearchText(String);

impl SearchText {
    /// Validates a text.
    ///
    /// # Errors
    /// [`InvalidFilterValue::Search`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidFilterValue> {
        let text = text.into();
        if is_searchable(&text) {
            Ok(Self(text))
        } else {
            Err(InvalidFilterValue::Search(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SearchText {
    type Err = InvalidFilterValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

fn is_searchable(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_SEARCH_BYTES && !text.contains('\0')
}

pub(crate) fn validate_category(category: &str) -> Result<(), InvalidFilterValue> {
    if is_searchable(category) {
        Ok(())
    } else {
        Err(InvalidFilterValue::Category(category.to_owned()))
    }
}

/// A value of a field.
///
/// ```
/// use threadline_diesel::query::FieldValue;
/// let paid = FieldValue::from("paid");
/// let total = FieldValue::json("1234567890.10")?; // digit by digit
/// # let _ = (paid, total);
/// # Ok::<(), threadline_diesel::query::InvalidFilterValue>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub struct FieldValue(Given);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Given {
    Json(String),
    Text(String),
    /// Equal to the JSON value, or to one of the texts.
    AnyOf(String, Vec<String>),
}

impl FieldValue {
    /// A value as JSON, compared as `jsonb`: 1.0 equals 1.00, and no text equals a number.
    ///
    /// # Errors
    /// [`InvalidFilterValue::Value`].
    pub fn json(text: &str) -> Result<Self, InvalidFilterValue> {
        let json: Result<Box<serde_json::value::RawValue>, _> = serde_json::from_str(text);
        match json {
            Ok(value) if !text.contains("\\u0000") => Ok(Self(Given::Json(value.get().to_owned()))),
            _ => Err(InvalidFilterValue::Value(text.to_owned())),
        }
    }

    /// A value as typed text, compared as text: `42` matches the number and the text, and 1.0 does not equal
    /// 1.00.
    ///
    /// # Errors
    /// [`InvalidFilterValue::Value`] when it contains NUL.
    pub fn typed(text: &str) -> Result<Self, InvalidFilterValue> {
        if text.contains('\0') {
            return Err(InvalidFilterValue::Value(text.to_owned()));
        }
        Ok(Self(Given::Text(text.to_owned())))
    }

    /// NULL.
    #[must_use]
    pub fn null() -> Self {
        Self(Given::Json("null".to_owned()))
    }

    /// A value with several stored forms: one as JSON, others as texts.
    #[cfg(feature = "async")]
    pub(crate) fn any_of(json: String, texts: Vec<String>) -> Self {
        Self(Given::AnyOf(json, texts))
    }

    /// The condition that a field of the new image has this value.
    pub(crate) fn condition(&self, field: &str) -> SqlFragment {
        let new = |operator: &str| {
            SqlFragment::sql(format!("audit_changes.data_after {operator} ")).bind_text(field)
        };
        match &self.0 {
            Given::Json(json) => new("->")
                .push_sql(" = ")
                .bind_text(json)
                .push_sql("::jsonb"),
            Given::Text(text) => new("->>").push_sql(" = ").bind_text(text),
            Given::AnyOf(json, texts) => new("->")
                .push_sql(" = ")
                .bind_text(json)
                .push_sql("::jsonb OR ")
                .append(&new("->>"))
                .push_sql(" = ANY (")
                .bind_texts(texts.clone())
                .push_sql(")"),
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
    fn invalid_values_are_rejected_and_named() {
        let long = "x".repeat(64);
        assert!(
            ColumnName::new(long.clone())
                .unwrap_err()
                .to_string()
                .contains(&long)
        );
        for wrong in ["", "  ", "a\0b", &"x".repeat(300)] {
            assert_eq!(
                SearchText::new(wrong),
                Err(InvalidFilterValue::Search(wrong.to_owned()))
            );
        }
        for wrong in ["{}", "[]", "7", "{", r#"{"a": "\u0000"}"#] {
            assert!(wrong.parse::<MetaPattern>().is_err(), "{wrong}");
        }
        assert!(FieldValue::json("paid").is_err());
    }
}
