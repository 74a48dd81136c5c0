//! Row keys: the text under which the trail stores and finds the changes of a row.

use std::fmt::Display;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::table::AuditedTable;

/// Longer keys are replaced by a digest. The SQL function `row_key` has the same limit.
const MAX_KEY_BYTES: usize = 512;

/// A value of a key column.
pub trait KeyPart: Display {
    /// The value's text form in PostgreSQL, with dates in ISO style and instants in UTC.
    fn key_text(&self) -> String {
        self.to_string()
    }
}

impl KeyPart for bool {}
impl KeyPart for i16 {}
impl KeyPart for i32 {}
impl KeyPart for i64 {}
impl KeyPart for str {}
impl KeyPart for String {}
impl KeyPart for Uuid {}
impl KeyPart for NaiveDate {}

impl KeyPart for NaiveDateTime {
    fn key_text(&self) -> String {
        trim_fraction(&self.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    }
}

impl KeyPart for NaiveTime {
    fn key_text(&self) -> String {
        trim_fraction(&self.format("%H:%M:%S%.6f").to_string())
    }
}

impl KeyPart for DateTime<Utc> {
    fn key_text(&self) -> String {
        format!("{}+00", self.naive_utc().key_text())
    }
}

/// Removes trailing zeros from the fraction of a second, as PostgreSQL does.
fn trim_fraction(time: &str) -> String {
    time.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl<P: KeyPart + ?Sized> KeyPart for &P {
    fn key_text(&self) -> String {
        (**self).key_text()
    }
}

/// The values of a key in the order of the declared key columns: a single value, or a tuple for a
/// composite key.
pub trait KeyParts {
    /// The text forms of the values.
    fn key_texts(&self) -> Vec<String>;
}

impl<P: KeyPart> KeyParts for P {
    fn key_texts(&self) -> Vec<String> {
        vec![self.key_text()]
    }
}

/// Implements [`KeyParts`] for a tuple; Rust has no generics over the length of tuples.
macro_rules! impl_key_parts_for_tuple {
    ($($part:ident),*) => {
        impl<$($part: KeyPart),*> KeyParts for ($($part,)*) {
            #[allow(non_snake_case, reason = "values have the names of their types")]
            fn key_texts(&self) -> Vec<String> {
                let ($($part,)*) = self;
                vec![$($part.key_text()),*]
            }
        }
    };
}

impl_key_parts_for_tuple!(A, B);
impl_key_parts_for_tuple!(A, B, C);
impl_key_parts_for_tuple!(A, B, C, D);
impl_key_parts_for_tuple!(A, B, C, D, E);
impl_key_parts_for_tuple!(A, B, C, D, E, F);

/// The key of a row as the trail stores it: the value of a single key column, a JSON array for a
/// composite key, or `sha256:` and a digest if that is longer than 512 bytes.
///
/// ```
/// use threadline_core::row_key::RowKeyText;
///
/// let key = RowKeyText::from_values(vec!["7".to_owned(), "2".to_owned()]);
/// assert_eq!(key.as_str(), r#"["7", "2"]"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowKeyText(String);

/// The error for a key that does not match its table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRowKey {
    /// The table has no key.
    #[error("table {0} has no key, so its rows have no history; use a timeline of the table")]
    TableWithoutKey(String),
    /// The number of values is not the number of key columns.
    #[error("the key of table {table} has the columns ({expected}), but there are {given} values")]
    WrongLength {
        /// The table.
        table: String,
        /// The key columns.
        expected: String,
        /// The number of values.
        given: usize,
    },
    /// The columns are not the key columns.
    #[error(
        "table {table} has the key ({expected}), which `{given}` does not match: write column=value \
         pairs separated by commas, or a JSON array of the values in this order"
    )]
    OtherColumns {
        /// The table.
        table: String,
        /// The key columns.
        expected: String,
        /// The input.
        given: String,
    },
    /// A column name is empty or occurs twice.
    #[error("column name `{0}` is empty or occurs twice in the key")]
    InvalidColumn(String),
    /// One of several parts of a key is not a pair.
    #[error("`{0}` is not column=value: write one pair for each column of the key")]
    NotAPair(String),
    /// The input is empty.
    #[error("a key must not be empty: write the value, or column=value pairs separated by commas")]
    Empty,
}

impl RowKeyText {
    /// Creates the key of a row of a declared table.
    ///
    /// # Errors
    /// [`InvalidRowKey`] if the table has no key, or the key has another number of columns.
    pub fn new(table: &AuditedTable, key: &impl KeyParts) -> Result<Self, InvalidRowKey> {
        let columns = table.key().columns();
        let values = key.key_texts();
        if columns.is_empty() {
            return Err(InvalidRowKey::TableWithoutKey(table.name().to_string()));
        }
        if columns.len() != values.len() {
            return Err(InvalidRowKey::WrongLength {
                table: table.name().to_string(),
                expected: columns.join(", "),
                given: values.len(),
            });
        }
        Ok(Self::from_values(values))
    }

    /// Creates a key from the text forms of its values, in the order of the key columns.
    #[must_use]
    pub fn from_values(values: Vec<String>) -> Self {
        let text = match <[String; 1]>::try_from(values) {
            Ok([value]) => value,
            Err(values) => json_array(&values),
        };
        if text.len() > MAX_KEY_BYTES || text.starts_with("sha256:") {
            let digest = Sha256::digest(text.as_bytes());
            return Self(format!("sha256:{}", hex::encode(digest)));
        }
        Self(text)
    }

    /// A key as it was read from the trail.
    #[must_use]
    pub fn from_stored(row_key: String) -> Self {
        Self(row_key)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key as it is written on the command line: the value of a single key column, `column=value` pairs in
/// any order, or a JSON array of the values in the order of the key columns.
///
/// Pairs in one text are separated by commas. A value that contains a comma needs
/// [`from_pairs`](Self::from_pairs) or the array.
///
/// ```
/// use threadline_core::row_key::RowKeyInput;
///
/// let columns = ["order_id".to_owned(), "line_no".to_owned()];
/// for text in ["line_no=2,order_id=7", r#"["7", "2"]"#] {
///     let input: RowKeyInput = text.parse()?;
///     assert_eq!(input.resolve("order_lines", &columns)?.as_str(), r#"["7", "2"]"#);
/// }
/// # Ok::<(), threadline_core::row_key::InvalidRowKey>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKeyInput {
    text: String,
    /// The pairs, if they were given one by one.
    pairs: Option<Vec<(String, String)>>,
}

impl std::str::FromStr for RowKeyInput {
    type Err = InvalidRowKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidRowKey::Empty);
        }
        Ok(Self {
            text: text.to_owned(),
            pairs: None,
        })
    }
}

impl RowKeyInput {
    /// A key of `column=value` pairs that are given one by one. A value is everything after the first
    /// equals sign.
    ///
    /// ```
    /// use threadline_core::row_key::RowKeyInput;
    ///
    /// let input = RowKeyInput::from_pairs(&["country=GB", "name=Smith, John"])?;
    /// let key = input.resolve("people", &["country".to_owned(), "name".to_owned()])?;
    /// assert_eq!(key.as_str(), r#"["GB", "Smith, John"]"#);
    /// # Ok::<(), threadline_core::row_key::InvalidRowKey>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidRowKey`] if there is no pair, a text is not a pair, or a column is empty or occurs twice.
    pub fn from_pairs(texts: &[impl AsRef<str>]) -> Result<Self, InvalidRowKey> {
        let mut pairs: Vec<(String, String)> = Vec::with_capacity(texts.len());
        for text in texts.iter().map(AsRef::as_ref) {
            let (name, value) =
                split_pair(text).ok_or_else(|| InvalidRowKey::NotAPair(text.to_owned()))?;
            pairs.push((name.to_owned(), value.to_owned()));
        }
        check_names(pairs.iter().map(|(name, _)| name.as_str()))?;
        if pairs.is_empty() {
            return Err(InvalidRowKey::Empty);
        }
        let texts: Vec<_> = texts.iter().map(AsRef::as_ref).collect();
        Ok(Self {
            text: texts.join(","),
            pairs: Some(pairs),
        })
    }

    /// The input text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The texts that were given: one, or one for each pair.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        match &self.pairs {
            Some(pairs) => pairs
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            None => vec![self.text.clone()],
        }
    }

    /// Converts the input into the key of a row of a table with these key columns.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn resolve(&self, table: &str, columns: &[String]) -> Result<RowKeyText, InvalidRowKey> {
        self.values(table, columns).map(RowKeyText::from_values)
    }

    /// The values of the key columns, in their order.
    ///
    /// # Errors
    /// [`InvalidRowKey`] if there are no key columns, or the input names other columns.
    pub fn values(&self, table: &str, columns: &[String]) -> Result<Vec<String>, InvalidRowKey> {
        let values = match columns {
            [] => return Err(InvalidRowKey::TableWithoutKey(table.to_owned())),
            [column] if self.pairs.is_none() => Some(vec![self.single_value(column)]),
            columns => match self.json_values() {
                Some(values) => Some(values),
                None => self.values_by_name(columns)?,
            },
        };
        values
            .filter(|values| values.len() == columns.len())
            .ok_or_else(|| InvalidRowKey::OtherColumns {
                table: table.to_owned(),
                expected: columns.join(", "),
                given: self.text.clone(),
            })
    }

    /// The value of the only key column: the text, or what follows `column=`.
    fn single_value(&self, column: &str) -> String {
        match split_pair(&self.text) {
            Some((name, value)) if name == column => value.to_owned(),
            _ => self.text.clone(),
        }
    }

    /// The elements of a JSON array of texts, numbers and booleans; `None` for any other text.
    fn json_values(&self) -> Option<Vec<String>> {
        if self.pairs.is_some() {
            return None;
        }
        let elements: Vec<&RawValue> = serde_json::from_str(&self.text).ok()?;
        let value = |element: &&RawValue| match element.get().chars().next()? {
            '"' => serde_json::from_str(element.get()).ok(),
            '[' | '{' | 'n' => None,
            _ => Some(element.get().to_owned()),
        };
        elements.iter().map(value).collect()
    }

    /// The values of pairs that name exactly these columns; `None` if the text does not.
    fn values_by_name(&self, columns: &[String]) -> Result<Option<Vec<String>>, InvalidRowKey> {
        let pairs: Option<Vec<_>> = match &self.pairs {
            Some(pairs) => Some(
                pairs
                    .iter()
                    .map(|(n, v)| (n.as_str(), v.as_str()))
                    .collect(),
            ),
            None => self.text.split(',').map(split_pair).collect(),
        };
        let Some(pairs) = pairs else {
            return Ok(None);
        };
        check_names(pairs.iter().map(|(name, _)| *name))?;
        if pairs.len() != columns.len() {
            return Ok(None);
        }
        let value = |column: &String| {
            let (_, value) = pairs.iter().find(|(name, _)| name == column)?;
            Some((*value).to_owned())
        };
        Ok(columns.iter().map(value).collect())
    }
}

fn split_pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim(), value))
}

/// Rejects names that are empty or occur twice.
fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), InvalidRowKey> {
    let mut known = Vec::new();
    for name in names {
        if name.is_empty() || known.contains(&name) {
            return Err(InvalidRowKey::InvalidColumn(name.to_owned()));
        }
        known.push(name);
    }
    Ok(())
}

/// A JSON array of strings in the text form of `jsonb`.
fn json_array(values: &[String]) -> String {
    let quoted: Vec<_> = values
        .iter()
        .map(|value| serde_json::Value::from(value.as_str()).to_string())
        .collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_the_text_form_of_postgresql() {
        let whole: DateTime<Utc> = "2024-03-01T10:00:00Z".parse().unwrap();
        let half: DateTime<Utc> = "2024-03-01T10:00:00.500Z".parse().unwrap();
        assert_eq!(whole.key_text(), "2024-03-01 10:00:00+00");
        assert_eq!(half.key_text(), "2024-03-01 10:00:00.5+00");
        assert_eq!(half.naive_utc().key_text(), "2024-03-01 10:00:00.5");
    }

    fn resolved(input: &str, columns: &[&str]) -> Result<String, InvalidRowKey> {
        let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
        let key = input.parse::<RowKeyInput>()?.resolve("t", &columns)?;
        Ok(key.as_str().to_owned())
    }

    #[test]
    fn composite_keys_have_the_order_of_the_key_columns() {
        let expected = Ok(r#"["7", "2"]"#.to_owned());
        let columns = ["order_id", "line_no"];
        assert_eq!(resolved("order_id=7,line_no=2", &columns), expected);
        assert_eq!(resolved("line_no=2,order_id=7", &columns), expected);
        assert!(resolved("order_id=7", &columns).is_err());
        assert!(resolved("order_id=7,position=2", &columns).is_err());
    }

    #[test]
    fn a_single_key_value_can_contain_commas_and_equals_signs() {
        assert_eq!(resolved("a,b", &["id"]), Ok("a,b".to_owned()));
        assert_eq!(resolved("id=5", &["id"]), Ok("5".to_owned()));
        assert_eq!(resolved("x=5", &["id"]), Ok("x=5".to_owned()));
        assert!(resolved("", &["id"]).is_err());
        assert_eq!(resolved("id=a,b", &["id"]), Ok("a,b".to_owned()));
        assert!(resolved("a=1,a=2", &["a", "b"]).is_err());
    }

    #[test]
    fn a_json_array_is_the_values_of_a_composite_key_and_one_value_of_a_single_key() {
        let expected = Ok(r#"["a,b", "2"]"#.to_owned());
        assert_eq!(resolved(r#"["a,b", 2]"#, &["name", "line_no"]), expected);
        assert!(resolved(r#"["a"]"#, &["name", "line_no"]).is_err());
        assert!(resolved(r#"["a", null]"#, &["name", "line_no"]).is_err());
        assert_eq!(resolved("[1,4]", &["span"]), Ok("[1,4]".to_owned()));
    }

    #[test]
    fn pairs_given_one_by_one_can_contain_commas_and_equals_signs() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let key = RowKeyInput::from_pairs(&["b=x=1,y=2", "a= z"]).unwrap();
        let key = key.resolve("t", &columns).unwrap();
        assert_eq!(key.as_str(), r#"[" z", "x=1,y=2"]"#);
        assert!(RowKeyInput::from_pairs(&["a=1", "2"]).is_err());
        assert!(RowKeyInput::from_pairs(&["a=1", "a=2"]).is_err());
    }

    #[test]
    fn long_keys_are_replaced_by_a_digest() {
        let key = RowKeyText::from_values(vec!["x".repeat(600)]);
        assert!(key.as_str().starts_with("sha256:"));
        let prefixed = RowKeyText::from_values(vec!["sha256:00".to_owned()]);
        assert_eq!(prefixed.as_str().len(), "sha256:".len() + 64);
    }
}
