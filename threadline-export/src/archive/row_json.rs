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
    let row = Row {
        kind: ArchiveKind::Changes,
        record: change,
        transaction: Some(transaction),
    };
    serde_json::to_writer(&mut *out, &row)?;
    out.write_all(b"\n")
}

/// A record as an object of its columns.
struct Row<'r> {
    kind: ArchiveKind,
    record: &'r ArchivedRecord,
    /// Of a change.
    transaction: Option<Option<&'r ArchivedRecord>>,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (column, value) in columns(self.kind).iter().zip(&self.record.values) {
            map.serialize_entry(column.name, &Value(column, value.as_deref()))?;
        }
        if let Some(transaction) = self.transaction {
            let row = transaction.map(|record| Row {
                kind: ArchiveKind::Transactions,
                record,
                transaction: None,
            });
            map.serialize_entry("transaction", &row)?;
        }
        map.end()
    }
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
