//! The sealed fields of a row, from its row as JSON or from the texts of its columns.
//!
//! Equal to the SQL function `seal_fields`, which takes most of the time of a step; tests compare both.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use threadline_seal::field::Fields;
use threadline_seal::instant::{format_micros, parse_micros};

use super::SealError;

/// Columns whose members are fields of their own.
const WITH_MEMBERS: [&str; 4] = ["data_after", "changed_from", "context", "meta"];

/// The fields of a change or transaction, whose row is the text of `to_jsonb(row)`. Its instants are of years that RFC
/// 3339 can write.
pub(super) fn fields_of_row(row: &str) -> Result<Fields, SealError> {
    let columns: Members<&RawValue> = serde_json::from_str(row).map_err(|_| SealError::Fields)?;
    let mut fields = Fields::new();
    for (column, value) in columns.0 {
        add_json(&mut fields, &column, value.get()).map_err(|_| SealError::Fields)?;
    }
    for column in ["captured_at", "occurred_at"] {
        if let Some(instant) = fields.get_mut(column) {
            *instant = format_micros(parse_micros(instant).ok_or(SealError::Fields)?);
        }
    }
    Ok(fields)
}

/// Adds the fields of a jsonb column.
pub(crate) fn add_json(fields: &mut Fields, column: &str, text: &str) -> serde_json::Result<()> {
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
pub(crate) struct Members<T>(pub(crate) Vec<(String, T)>);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, T)> = Vec::new();
        let mut names = HashSet::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a repeated member"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}
