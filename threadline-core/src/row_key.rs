//! The key of a row, typed on the way in, one text in the index.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::table::AuditedTable;

/// Longer keys are replaced by a digest; `row_key` in `sql/install` has the same number.
const MAX_KEY_BYTES: usize = 512;

/// One value of a key, as text in the form the trail stores it.
pub trait KeyPart {
    /// The text PostgreSQL gives for the value in JSON.
    fn key_text(&self) -> String;
}

macro_rules! key_part_by_display {
    ($($part:ty),*) => {$(
        impl KeyPart for $part {
            fn key_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

key_part_by_display!(bool, i16, i32, i64, str, String, Uuid, NaiveDate);

impl KeyPart for NaiveDateTime {
    fn key_text(&self) -> String {
        without_trailing_zeros(&self.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
    }
}

impl KeyPart for NaiveTime {
    fn key_text(&self) -> String {
        without_trailing_zeros(&self.format("%H:%M:%S%.6f").to_string())
    }
}

impl KeyPart for DateTime<Utc> {
    fn key_text(&self) -> String {
        let text = self.to_rfc3339_opts(SecondsFormat::Micros, false);
        match text.strip_suffix("+00:00") {
            Some(instant) => format!("{}+00:00", without_trailing_zeros(instant)),
            None => text,
        }
    }
}

fn without_trailing_zeros(instant: &str) -> String {
    instant
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

impl<P: KeyPart + ?Sized> KeyPart for &P {
    fn key_text(&self) -> String {
        (**self).key_text()
    }
}

/// The values of a key, in the order in which the model declares its key columns: a value for a
/// key of one column, a tuple for a composite one.
pub trait KeyParts {
    /// The values as texts.
    fn key_texts(&self) -> Vec<String>;
}

impl<P: KeyPart> KeyParts for P {
    fn key_texts(&self) -> Vec<String> {
        vec![self.key_text()]
    }
}

macro_rules! key_parts_of_tuple {
    ($($part:ident),*) => {
        impl<$($part: KeyPart),*> KeyParts for ($($part,)*) {
            #[allow(non_snake_case, reason = "the macro names values after their types")]
            fn key_texts(&self) -> Vec<String> {
                let ($($part,)*) = self;
                vec![$($part.key_text()),*]
            }
        }
    };
}

key_parts_of_tuple!(A, B);
key_parts_of_tuple!(A, B, C);
key_parts_of_tuple!(A, B, C, D);
key_parts_of_tuple!(A, B, C, D, E);
key_parts_of_tuple!(A, B, C, D, E, F);

/// A row's key as the index holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowKeyText(String);

/// A key that does not fit its table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRowKey {
    /// The table has no key.
    #[error("table {0} has no key, so its rows have no history of their own; filter a timeline")]
    TableWithoutKey(String),
    /// The number of values is wrong.
    #[error("the key of table {table} has the columns {expected}, but {given} values were given")]
    WrongNumber {
        /// The table.
        table: String,
        /// Its key columns.
        expected: String,
        /// How many values there were.
        given: usize,
    },
    /// A name was given twice or is no key column.
    #[error("key column `{0}` is given twice, or not a column name")]
    BadColumn(String),
    /// A value is empty where a name or value should be.
    #[error("`{0}` is no key: write the value, or column=value pairs separated by commas")]
    Malformed(String),
}

impl RowKeyText {
    /// The key of a row of a declared table.
    ///
    /// # Errors
    /// [`InvalidRowKey`] when the table has no key, or one of another number of columns.
    pub fn of(table: &AuditedTable, key: &impl KeyParts) -> Result<Self, InvalidRowKey> {
        let columns = table.key().columns();
        let values = key.key_texts();
        if columns.is_empty() {
            return Err(InvalidRowKey::TableWithoutKey(table.name().to_string()));
        }
        if columns.len() != values.len() {
            return Err(InvalidRowKey::WrongNumber {
                table: table.name().to_string(),
                expected: columns.join(", "),
                given: values.len(),
            });
        }
        Ok(Self::from_named(
            columns.iter().cloned().zip(values).collect(),
        ))
    }

    /// The key from values by column name; with one column the name does not matter.
    #[must_use]
    pub fn from_named(mut named: Vec<(String, String)>) -> Self {
        named.sort();
        let values: Vec<_> = named.into_iter().map(|(_, value)| value).collect();
        let joined = match values.as_slice() {
            [single] => single.clone(),
            several => json_array(several),
        };
        if joined.len() > MAX_KEY_BYTES {
            let digest = Sha256::digest(joined.as_bytes());
            return Self(format!("sha256:{}", hex::encode(digest)));
        }
        Self(joined)
    }

    /// The key as the index holds it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for RowKeyText {
    type Err = InvalidRowKey;

    /// Reads what a person types: the value of a single key column, or `column=value` pairs
    /// separated by commas for a composite key.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pairs: Option<Vec<_>> = text.split(',').map(|pair| pair.split_once('=')).collect();
        let Some(pairs) = pairs else {
            return if text.is_empty() {
                Err(InvalidRowKey::Malformed(text.to_owned()))
            } else {
                Ok(Self::from_named(vec![(String::new(), text.to_owned())]))
            };
        };
        let mut named: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs {
            let name = name.trim();
            if name.is_empty() || named.iter().any(|(known, _)| known == name) {
                return Err(InvalidRowKey::BadColumn(name.to_owned()));
            }
            named.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self::from_named(named))
    }
}

/// A JSON array of texts as PostgreSQL's `jsonb` prints it.
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
    fn instants_are_written_as_postgresql_writes_them() {
        let whole: DateTime<Utc> = "2024-03-01T10:00:00Z".parse().unwrap();
        let half: DateTime<Utc> = "2024-03-01T10:00:00.500Z".parse().unwrap();
        assert_eq!(whole.key_text(), "2024-03-01T10:00:00+00:00");
        assert_eq!(half.key_text(), "2024-03-01T10:00:00.5+00:00");
        assert_eq!(half.naive_utc().key_text(), "2024-03-01T10:00:00.5");
    }

    #[test]
    fn composite_keys_are_ordered_by_column_name() {
        let typed: RowKeyText = "order_id=7,line_no=2".parse().unwrap();
        assert_eq!(typed.as_str(), r#"["2", "7"]"#);
        let swapped: RowKeyText = "line_no=2,order_id=7".parse().unwrap();
        assert_eq!(typed, swapped);
    }

    #[test]
    fn a_single_value_may_hold_anything() {
        assert_eq!("a,b".parse::<RowKeyText>().unwrap().as_str(), "a,b");
        assert_eq!("id=5".parse::<RowKeyText>().unwrap().as_str(), "5");
        assert!("".parse::<RowKeyText>().is_err());
        assert!("a=1,a=2".parse::<RowKeyText>().is_err());
    }

    #[test]
    fn long_keys_are_digested() {
        let key = RowKeyText::from_named(vec![("k".into(), "x".repeat(600))]);
        assert!(key.as_str().starts_with("sha256:"));
    }
}
