//! Qualified table names, and their text form.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identifier::quote_identifier;

/// A table's qualified name.
///
/// ```
/// use threadline_core::table::TableName;
/// let name: TableName = "billing.invoices".parse()?;
/// assert_eq!((name.schema(), name.name()), ("billing", "invoices"));
/// assert_eq!("invoices".parse::<TableName>()?, TableName::new("public", "invoices"));
/// assert_eq!(r#""Odd.Name""#.parse::<TableName>()?.name(), "Odd.Name");
/// # Ok::<(), threadline_core::table::InvalidTableName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    schema: String,
    name: String,
}

impl TableName {
    /// Creates a name from its unquoted parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// The schema, unquoted.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name within the schema, unquoted.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses `table.column` or `schema.table.column`; parts can be quoted as in SQL.
    #[must_use]
    pub fn split_column(text: &str) -> Option<(Self, String)> {
        let mut parts = identifier_parts(text)?;
        let column = parts.pop()?;
        let name = parts.pop()?;
        let schema = parts.pop().unwrap_or_else(|| "public".to_owned());
        parts.is_empty().then(|| (Self::new(schema, name), column))
    }

    /// The name as quoted SQL identifiers.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            quote_identifier(&self.schema),
            quote_identifier(&self.name)
        )
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            quote_if_needed(&self.schema),
            quote_if_needed(&self.name)
        )
    }
}

/// Quotes a name unless it is a plain identifier.
fn quote_if_needed(name: &str) -> String {
    if crate::identifier::is_plain_identifier(name) {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

/// The error for a text that is not a table name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a table name: write `table` or `schema.table`, with parts quoted as in SQL where \
     needed: `\"Odd Schema\".\"Table\"`"
)]
pub struct InvalidTableName(pub String);

impl std::str::FromStr for TableName {
    type Err = InvalidTableName;

    /// Parses `table` or `schema.table`; parts can be quoted as in SQL. Unlike in SQL, unquoted parts
    /// are not folded to lower case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTableName(text.to_owned());
        let parts = identifier_parts(text).ok_or_else(invalid)?;
        match parts.as_slice() {
            [name] => Ok(Self::new("public", name)),
            [schema, name] => Ok(Self::new(schema, name)),
            _ => Err(invalid()),
        }
    }
}

/// Splits a qualified name into its unquoted parts; `None` if a part is empty or a quote is not
/// closed.
pub(crate) fn identifier_parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_part(quoted)?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        if part.is_empty() || part.contains('\0') {
            return None;
        }
        parts.push(part);
        if after.is_empty() {
            return Some(parts);
        }
        rest = after.strip_prefix('.')?;
    }
}

fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_round_trip_through_text() {
        for name in [
            TableName::new("public", "orders"),
            TableName::new("Odd Schema", "a.b\"c"),
            TableName::new("übung", "Größe"),
        ] {
            assert_eq!(name.to_string().parse::<TableName>(), Ok(name));
        }
        for text in ["", ".", "a.", "a.b.c", "\"open"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }
}
