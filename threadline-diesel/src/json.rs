//! Stored JSON documents.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A stored JSON document, with its numbers in full precision.
///
/// `serde_json::Value` reads every number as a 64-bit float or integer: 1.10 becomes 1.1, and a
/// `numeric` of thirty digits loses half of them. So stored documents stay text until a field
/// is read.
#[derive(Debug, Clone, Serialize, Deserialize, FromSqlRow)]
#[serde(transparent)]
pub struct StoredJson(Box<RawValue>);

impl StoredJson {
    /// The document's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The fields of an object in stored order; empty for other values.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, StoredJson)> {
        struct InOrder(Vec<(String, StoredJson)>);
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Self;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                mut self,
                mut map: A,
            ) -> Result<Self, A::Error> {
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    self.0.push((name, StoredJson(value)));
                }
                Ok(self)
            }
        }
        let mut reader = serde_json::Deserializer::from_str(self.as_str());
        serde::Deserializer::deserialize_map(&mut reader, InOrder(Vec::new()))
            .map(|fields| fields.0)
            .unwrap_or_default()
    }

    /// A field of an object.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<StoredJson> {
        self.fields()
            .into_iter()
            .find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The text of a JSON string, or the document as text, as `->>` returns it.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::from_str::<String>(self.as_str()).unwrap_or_else(|_| self.as_str().to_owned())
    }

    /// Whether it is JSON's null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// Deserializes the document.
    ///
    /// # Errors
    /// The error of serde when the document does not have that type.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.as_str())
    }
}

impl PartialEq for StoredJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl std::fmt::Display for StoredJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromSql<Jsonb, Pg> for StoredJson {
    /// Binary `jsonb` is the version byte 1 and the text.
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = match value.as_bytes() {
            [1, text @ ..] => std::str::from_utf8(text)?,
            _ => return Err("jsonb of an unknown version".into()),
        };
        Ok(Self(RawValue::from_string(text.to_owned())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> StoredJson {
        StoredJson(RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn numbers_keep_their_digits() {
        let document = stored(r#"{"b": 12345678901234567890.123456789, "a": 1.10}"#);
        assert_eq!(document.field("a").unwrap().as_str(), "1.10");
        assert_eq!(
            document.field("b").unwrap().as_str(),
            "12345678901234567890.123456789"
        );
    }

    #[test]
    fn texts_lose_their_quotes_and_nothing_else() {
        assert_eq!(stored(r#""a\"b""#).to_text(), "a\"b");
        assert_eq!(stored("[1, 2]").to_text(), "[1, 2]");
        assert!(stored("[1]").fields().is_empty());
    }
}
