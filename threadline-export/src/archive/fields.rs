//! The sealed fields of an archived record: what `seal_fields` in the database computes from its row.

use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use threadline_seal::field::Fields;
use threadline_seal::record::RecordKind;

use super::columns::{ColumnType, columns, value};
use super::layout::ArchiveKind;

/// Columns whose members are fields of their own.
const WITH_MEMBERS: [&str; 4] = ["data_after", "changed_from", "context", "meta"];

/// The record has a JSON text that PostgreSQL would not print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the column `{0}` has malformed JSON")]
pub struct MalformedJson(pub &'static str);

/// The fields of a record from the texts of its columns, which are in the order of
/// [`columns`](super::columns).
///
/// # Errors
/// [`MalformedJson`].
pub fn sealed_fields(
    kind: ArchiveKind,
    values: &[Option<String>],
) -> Result<Fields, MalformedJson> {
    let mut fields = Fields::new();
    for (column, value) in columns(kind).iter().zip(values) {
        let Some(value) = value else { continue };
        let malformed = |_| MalformedJson(column.name);
        match column.column_type {
            ColumnType::Json => {
                add_json(&mut fields, column.name, value).map_err(malformed)?;
            }
            ColumnType::Fields => {
                let members: Members<String> = serde_json::from_str(value).map_err(malformed)?;
                return Ok(members.0.into_iter().collect());
            }
            _ => {
                fields.insert(column.name.to_owned(), value.clone());
            }
        }
    }
    Ok(fields)
}

/// The kind of a record; none if it is not one of the file's kind.
#[must_use]
pub fn record_kind(kind: ArchiveKind, values: &[Option<String>]) -> Option<RecordKind> {
    match kind {
        ArchiveKind::Changes => Some(RecordKind::Change),
        ArchiveKind::Transactions => Some(RecordKind::Transaction),
        ArchiveKind::Actions => Some(RecordKind::Action),
        ArchiveKind::Records => RecordKind::parse(value(kind, values, "kind")?),
    }
}

/// Adds the fields of a jsonb column.
fn add_json(fields: &mut Fields, column: &str, text: &str) -> serde_json::Result<()> {
    let value = match text.as_bytes().first() {
        Some(b'{') if text != "{}" && WITH_MEMBERS.contains(&column) => {
            return add_members(fields, column, text);
        }
        Some(b'n') if text == "null" => return Ok(()),
        Some(b'"') => serde_json::from_str(text)?,
        _ => text.to_owned(),
    };
    fields.insert(column.to_owned(), value);
    Ok(())
}

fn add_members(fields: &mut Fields, column: &str, text: &str) -> serde_json::Result<()> {
    let members: Members<&RawValue> = serde_json::from_str(text)?;
    // A malformed context can have a member whose path would be that of a member of meta.
    let is_ambiguous = members.0.iter().any(|(name, _)| name.starts_with("meta/"));
    for (name, value) in members.0 {
        let value = value.get();
        let has_members =
            column == "context" && name == "meta" && !is_ambiguous && value.starts_with('{');
        if has_members && value != "{}" {
            let of_meta: Members<&RawValue> = serde_json::from_str(value)?;
            for (name, value) in of_meta.0 {
                fields.insert(format!("context/meta/{name}"), value.get().to_owned());
            }
        } else {
            fields.insert(format!("{column}/{name}"), value.to_owned());
        }
    }
    Ok(())
}

/// The members of an object. A repeated name is refused: the fields would not show it.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(std::marker::PhantomData))
    }
}

struct MembersVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, T)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a repeated member"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}
