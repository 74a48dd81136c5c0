//! The columns of the files of an archive: those of the tables, and two of the seals.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::layout::ArchiveKind;

const UTC: &str = "UTC";

/// The column with the index of the record's leaf.
pub const LEAF_COLUMN: &str = "seal_leaf";

/// The column with the record's secret in hexadecimal; null where fields were erased.
pub const SECRET_COLUMN: &str = "seal_secret";

/// A column of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveColumn {
    /// Its name, in the table and in the file.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it is null in some rows.
    pub is_nullable: bool,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// bigint and integer: INT64.
    Integer,
    /// timestamptz: TIMESTAMP in microseconds, UTC.
    Instant,
    /// Every other type: the text that PostgreSQL prints.
    Text,
    /// jsonb: the text that PostgreSQL prints.
    Json,
    /// inet: the text that PostgreSQL prints, without the length of the prefix for a host.
    Address,
    /// The sealed fields of a record as a JSON object.
    Fields,
}

const fn column(name: &'static str, column_type: ColumnType) -> ArchiveColumn {
    ArchiveColumn {
        name,
        column_type,
        is_nullable: true,
    }
}

const fn required(name: &'static str, column_type: ColumnType) -> ArchiveColumn {
    ArchiveColumn {
        name,
        column_type,
        is_nullable: false,
    }
}

use ColumnType::{Address, Fields, Instant, Integer, Json, Text};

const CHANGES: &[ArchiveColumn] = &[
    required("id", Integer),
    required("captured_at", Instant),
    required("transaction_id", Text),
    column("action_id", Text),
    column("command_id", Integer),
    column("actor", Text),
    required("op", Text),
    required("table_schema", Text),
    required("table_name", Text),
    column("row_key", Text),
    column("previous_key", Text),
    column("table_pk", Json),
    column("data_after", Json),
    column("changed_from", Json),
    column("partition_name", Text),
];

const TRANSACTIONS: &[ArchiveColumn] = &[
    required("id", Text),
    required("occurred_at", Instant),
    column("actor", Text),
    column("on_behalf_of", Text),
    column("action_id", Text),
    column("request_id", Text),
    column("correlation_id", Text),
    column("job_id", Text),
    column("context", Json),
    required("xid", Text),
    required("db_user", Text),
    column("application_name", Text),
    column("client_addr", Address),
    required("backend_pid", Integer),
];

const ACTIONS: &[ArchiveColumn] = &[
    required("id", Text),
    required("order_id", Integer),
    required("transaction_id", Text),
    required("recorded_at", Instant),
    required("name", Text),
    column("actor", Text),
    column("on_behalf_of", Text),
    required("status", Text),
    column("verb", Text),
    column("category", Text),
    column("reason", Text),
    column("comment", Text),
    column("correlation_id", Text),
    column("request_id", Text),
    column("job_id", Text),
    column("meta", Json),
];

const RECORDS: &[ArchiveColumn] = &[
    required("kind", Text),
    required("id", Integer),
    required("recorded_at", Instant),
    required("fields", Fields),
];

/// The columns of the files of a kind, without those of the seals.
#[must_use]
pub const fn columns(kind: ArchiveKind) -> &'static [ArchiveColumn] {
    match kind {
        ArchiveKind::Changes => CHANGES,
        ArchiveKind::Transactions => TRANSACTIONS,
        ArchiveKind::Actions => ACTIONS,
        ArchiveKind::Records => RECORDS,
    }
}

/// The position of a column.
pub(super) fn position(kind: ArchiveKind, name: &str) -> Option<usize> {
    columns(kind).iter().position(|column| column.name == name)
}

/// The value of a column.
pub(super) fn value<'v>(
    kind: ArchiveKind,
    values: &'v [Option<String>],
    name: &str,
) -> Option<&'v str> {
    values.get(position(kind, name)?)?.as_deref()
}

/// The id of a record in messages: the one in the log of seals, or the uuid of a transaction.
pub(super) fn record_id(kind: ArchiveKind, values: &[Option<String>]) -> String {
    let name = match kind {
        ArchiveKind::Actions => "order_id",
        _ => "id",
    };
    value(kind, values, name).unwrap_or_default().to_owned()
}

/// The SQL for the columns as an array of texts, in the form of [`ArchivedRecord`](super::ArchivedRecord). The table is
/// named `record`.
pub(super) fn values_sql(kind: ArchiveKind) -> String {
    let texts: Vec<_> = columns(kind).iter().map(|it| it.to_sql()).collect();
    format!("ARRAY[{}]", texts.join(", "))
}

impl ArchiveColumn {
    fn to_sql(self) -> String {
        let name = self.name;
        match self.column_type {
            Integer | Text | Json => format!("record.{name}::text"),
            // The cast of a host to text has the length of the prefix, and a seal does not.
            Address => format!("pg_catalog.to_jsonb(record.{name}) #>> '{{}}'"),
            Instant => format!(
                "CASE WHEN pg_catalog.isfinite(record.{name}) \
                 THEN pg_catalog.to_char(record.{name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
                 ELSE record.{name}::text END"
            ),
            Fields => format!("@threadline@.seal_fields(record.{name})::text"),
        }
    }

    fn to_field(self) -> Field {
        let data_type = match self.column_type {
            Integer => DataType::Int64,
            Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Text | Json | Address | Fields => DataType::Utf8,
        };
        Field::new(self.name, data_type, self.is_nullable)
    }
}

/// The Arrow schema of the files of a kind.
pub(super) fn schema(kind: ArchiveKind) -> Arc<Schema> {
    let mut fields: Vec<Field> = columns(kind).iter().map(|it| it.to_field()).collect();
    fields.push(Field::new(LEAF_COLUMN, DataType::Int64, false));
    fields.push(Field::new(SECRET_COLUMN, DataType::Utf8, true));
    Arc::new(Schema::new(fields))
}
