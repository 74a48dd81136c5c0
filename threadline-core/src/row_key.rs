//! The key of a row, typed on the way in, one text in the index.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::table::AuditedTable;

/// Longer keys are replaced by a digest; `row_key` in `sql/install` has the same number.
const MAX_KEY_BYTES: usize = 512;

/// One value of a key, as text in the form the trail stores it.
pub trait KeyPart {
    /// The value as PostgreSQL writes it as text, dates in ISO style and instants in UTC.
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
        without_trailing_zeros(&self.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    }
}

impl KeyPart for NaiveTime {
    fn key_text(&self) -> String {
        without_trailing_zeros(&self.format("%H:%M:%S%.6f").to_string())
    }
}

impl KeyPart for DateTime<Utc> {
    fn key_text(&self) -> String {
        format!("{}+00", self.naive_utc().key_text())
    }
}

/// Cuts a fraction of a second as PostgreSQL does.
fn without_trailing_zeros(time: &str) -> String {
    time.trim_end_matches('0').trim_end_matches('.').to_owned()
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
    /// The columns are not those of the key.
    #[error("table {table} has the key ({expected}); write it as column=value,..., not `{given}`")]
    OtherColumns {
        /// The table.
        table: String,
        /// Its key columns.
        expected: String,
        /// What was typed.
        given: String,
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
        Ok(Self::from_values(values))
    }

    /// The key from its values, in the order of the table's key columns.
    #[must_use]
    pub fn from_values(values: Vec<String>) -> Self {
        let joined = match <[String; 1]>::try_from(values) {
            Ok([single]) => single,
            Err(several) => json_array(&several),
        };
        if joined.len() > MAX_KEY_BYTES || joined.starts_with("sha256:") {
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

/// A key as a person types it: the value of a single key column, or `column=value` pairs separated by
/// commas. Which row it names depends on the key columns of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedKey(String);

impl std::str::FromStr for TypedKey {
    type Err = InvalidRowKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidRowKey::Malformed(text.to_owned()));
        }
        let typed = Self(text.to_owned());
        let pairs = typed.pairs().unwrap_or_default();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if name.is_empty() || pairs[..index].iter().any(|(known, _)| known == name) {
                return Err(InvalidRowKey::BadColumn((*name).to_owned()));
            }
        }
        Ok(typed)
    }
}

impl TypedKey {
    /// The text as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a row of a table with these key columns.
    ///
    /// # Errors
    /// [`InvalidRowKey`] when there are no key columns, or others than were typed.
    pub fn resolve(&self, table: &str, columns: &[String]) -> Result<RowKeyText, InvalidRowKey> {
        let pairs = self.pairs().unwrap_or_default();
        match columns {
            [] => Err(InvalidRowKey::TableWithoutKey(table.to_owned())),
            [column] => Ok(RowKeyText::from_values(vec![match pairs.as_slice() {
                [(name, value)] if name == column => (*value).to_owned(),
                _ => self.0.clone(),
            }])),
            columns => {
                let value = |column: &String| {
                    let pair = pairs.iter().find(|(name, _)| name == column)?;
                    Some(pair.1.to_owned())
                };
                let values: Option<Vec<_>> = columns.iter().map(value).collect();
                match values {
                    Some(values) if pairs.len() == columns.len() => {
                        Ok(RowKeyText::from_values(values))
                    }
                    _ => Err(InvalidRowKey::OtherColumns {
                        table: table.to_owned(),
                        expected: columns.join(", "),
                        given: self.0.clone(),
                    }),
                }
            }
        }
    }

    /// The pairs that were typed; none if the text is not made of pairs.
    fn pairs(&self) -> Option<Vec<(&str, &str)>> {
        self.0
            .split(',')
            .map(|pair| {
                let (name, value) = pair.split_once('=')?;
                Some((name.trim(), value))
            })
            .collect()
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
        assert_eq!(whole.key_text(), "2024-03-01 10:00:00+00");
        assert_eq!(half.key_text(), "2024-03-01 10:00:00.5+00");
        assert_eq!(half.naive_utc().key_text(), "2024-03-01 10:00:00.5");
    }

    fn resolved(typed: &str, columns: &[&str]) -> Result<String, InvalidRowKey> {
        let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
        let key = typed.parse::<TypedKey>()?.resolve("t", &columns)?;
        Ok(key.as_str().to_owned())
    }

    #[test]
    fn composite_keys_are_written_in_the_order_of_the_key() {
        let expected = Ok(r#"["7", "2"]"#.to_owned());
        let columns = ["order_id", "line_no"];
        assert_eq!(resolved("order_id=7,line_no=2", &columns), expected);
        assert_eq!(resolved("line_no=2,order_id=7", &columns), expected);
        assert!(resolved("order_id=7", &columns).is_err());
        assert!(resolved("order_id=7,position=2", &columns).is_err());
    }

    #[test]
    fn the_value_of_a_single_key_column_may_hold_anything() {
        assert_eq!(resolved("a,b", &["id"]), Ok("a,b".to_owned()));
        assert_eq!(resolved("id=5", &["id"]), Ok("5".to_owned()));
        assert_eq!(resolved("x=5", &["id"]), Ok("x=5".to_owned()));
        assert!(resolved("", &["id"]).is_err());
        assert!(resolved("a=1,a=2", &["a", "b"]).is_err());
    }

    #[test]
    fn long_keys_are_digested() {
        let key = RowKeyText::from_values(vec!["x".repeat(600)]);
        assert!(key.as_str().starts_with("sha256:"));
        let imitation = RowKeyText::from_values(vec!["sha256:00".to_owned()]);
        assert_eq!(imitation.as_str().len(), "sha256:".len() + 64);
    }
}
