//! The sealed fields of an archived record: what `seal_fields` in the database computes from its row.

use threadline_seal::field::Fields;
use threadline_seal::record::RecordKind;

use super::columns::{ColumnType, columns, value};
use super::layout::ArchiveKind;
use crate::seal::fields::{Members, add_json};

/// The record has a JSON text that PostgreSQL would not print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the column `{0}` has malformed JSON")]
pub struct MalformedJson(pub &'static str);

/// The fields of a record from the texts of its columns, which are in the order of
/// [`columns`](fn@super::columns).
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
