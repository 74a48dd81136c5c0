//! Arrow columns of a batch of changes.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use threadline_diesel::json::StoredJson;

use crate::format::ActionColumns;
use crate::record::{Record, column_names, json_text};

const UTC: &str = "UTC";

/// Columns that are never NULL.
const REQUIRED: [&str; 6] = [
    "id",
    "captured_at",
    "op",
    "table_schema",
    "table_name",
    "transaction_id",
];

/// The Arrow schema of an export.
pub(super) fn schema(actions: ActionColumns) -> Schema {
    let fields = column_names(actions).map(|name| {
        let data_type = match name {
            "id" => DataType::Int64,
            "captured_at" | "occurred_at" => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
            }
            "changed_fields" => DataType::new_list(DataType::Utf8, true),
            _ => DataType::Utf8,
        };
        Field::new(name, data_type, !REQUIRED.contains(&name))
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The builder of a column.
enum Column {
    Number(Int64Builder),
    Instant(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Texts(ListBuilder<StringBuilder>),
}

/// A value of a column.
enum Value<'v> {
    Number(Option<i64>),
    Instant(Option<i64>),
    Text(Option<&'v str>),
    Texts(Option<&'v [String]>),
}

impl Column {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Number(Int64Builder::new()),
            DataType::Timestamp(..) => {
                Self::Instant(TimestampMicrosecondBuilder::new().with_timezone(UTC))
            }
            DataType::List(_) => Self::Texts(ListBuilder::new(StringBuilder::new())),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Appends a value. A value of another type is skipped; the columns then differ in length, and the
    /// creation of the batch fails.
    fn push(&mut self, value: &Value<'_>) {
        match (self, value) {
            (Self::Number(column), Value::Number(value)) => column.append_option(*value),
            (Self::Instant(column), Value::Instant(value)) => column.append_option(*value),
            (Self::Text(column), Value::Text(value)) => column.append_option(*value),
            (Self::Texts(column), Value::Texts(Some(values))) => {
                column.append_value(values.iter().map(Some));
            }
            (Self::Texts(column), Value::Texts(None)) => column.append_null(),
            _ => {}
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Number(column) => Arc::new(column.finish()),
            Self::Instant(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
            Self::Texts(column) => Arc::new(column.finish()),
        }
    }
}

/// The column builders of a batch.
pub(super) struct Columns {
    builders: Vec<Column>,
    rows: usize,
    bytes: usize,
}

impl Columns {
    pub(super) fn new(actions: ActionColumns) -> Self {
        let schema = schema(actions);
        Self {
            builders: schema
                .fields()
                .iter()
                .map(|field| Column::new(field.data_type()))
                .collect(),
            rows: 0,
            bytes: 0,
        }
    }

    /// The number of changes in the batch.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The total length of the texts in the batch.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, record: &Record<'_>) {
        let actor = record.actor_ref.map(json_text);
        let on_behalf_of = record.on_behalf_of.map(json_text);
        let transaction_id = record.transaction_id.to_string();
        let action_id = record
            .action
            .as_ref()
            .and_then(|it| it.action_id)
            .map(|id| id.to_string());
        let mut values = vec![
            Value::Number(Some(record.id)),
            Value::Instant(Some(record.captured_at.timestamp_micros())),
            Value::Text(Some(record.op.as_str())),
            Value::Text(Some(record.table_schema)),
            Value::Text(Some(record.table_name)),
            Value::Text(record.table_pk.map(StoredJson::as_str)),
            Value::Texts(record.changed_fields.as_deref()),
            Value::Text(record.changed_from.map(StoredJson::as_str)),
            Value::Text(record.data_after.map(StoredJson::as_str)),
            Value::Text(actor.as_deref()),
            Value::Text(on_behalf_of.as_deref()),
            Value::Text(Some(&transaction_id)),
            Value::Instant(record.occurred_at.map(|at| at.timestamp_micros())),
            Value::Text(record.request_id),
            Value::Text(record.correlation_id),
            Value::Text(record.job_id),
            Value::Text(record.source),
            Value::Text(record.remote_addr),
            Value::Text(record.meta.map(StoredJson::as_str)),
            Value::Text(record.db_user),
            Value::Text(record.application_name),
            Value::Text(record.partition_name),
        ];
        if let Some(action) = &record.action {
            values.push(Value::Text(action_id.as_deref()));
            values.extend(action.texts().map(Value::Text));
        }
        for (column, value) in self.builders.iter_mut().zip(&values) {
            if let Value::Text(Some(text)) = value {
                self.bytes += text.len();
            }
            column.push(value);
        }
        self.rows += 1;
    }

    /// Returns the batch and clears the columns.
    pub(super) fn take(&mut self, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        let arrays = self.builders.iter_mut().map(Column::take).collect();
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new(Arc::clone(schema), arrays)
    }
}
