//! Archived changes as JSON.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::columns::{ArchiveColumn, ColumnType, columns};
use super::layout::ArchiveKind;
use super::read::ArchivedRecord;

/// Writes a change with its transaction on one line.
pub(super) fn write_change(
    out: &mut impl Write,
    change: &ArchivedRecord,
    transaction: Option<&ArchivedRecord>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Change(change, transaction))?;
    out.write_all(b"\n")
}

/// A change as an object of its columns, with its transaction.
struct Change<'r>(&'r ArchivedRecord, Option<&'r ArchivedRecord>);

impl Serialize for Change<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        add_columns(&mut map, ArchiveKind::Changes, self.0)?;
        map.serialize_entry("transaction", &self.1.map(Transaction))?;
        map.end()
    }
}

/// A transaction as an object of its columns.
struct Transaction<'r>(&'r ArchivedRecord);

impl Serialize for Transaction<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        add_columns(&mut map, ArchiveKind::Transactions, self.0)?;
        map.end()
    }
}

fn add_columns<M: SerializeMap>(
    map: &mut M,
    kind: ArchiveKind,
    record: &ArchivedRecord,
) -> Result<(), M::Error> {
    for (column, value) in columns(kind).iter().zip(&record.values) {
        map.serialize_entry(column.name, &Value(column, value.as_deref()))?;
    }
    Ok(())
}

/// A value of a column: numbers and JSON as they are stored, the rest as text.
struct Value<'v>(&'v ArchiveColumn, Option<&'v str>);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(text) = self.1 else {
            return serializer.serialize_none();
        };
        let is_json = matches!(self.0.column_type, ColumnType::Integer | ColumnType::Json);
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) if is_json => raw.serialize(serializer),
            _ => serializer.serialize_str(text),
        }
    }
}
