//! The records about the trail as Rust types.

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;

use crate::json::StoredJson;

/// A suspension of capture, of tables in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Suspension {
    /// The position in the order of capture.
    pub order_id: i64,
    /// The transaction, whose changes of these tables were not captured.
    pub transaction_id: AuditTransactionId,
    /// When capture was suspended.
    pub suspended_at: DateTime<Utc>,
    /// The session user that suspended it.
    pub suspended_by: String,
    /// The reason.
    pub reason: String,
    /// The tables, of which a scope hides those outside of it.
    pub tables: Vec<TableName>,
}

/// A removal of records by retention, or an erasure of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Removal {
    /// The position in the order of capture.
    pub order_id: i64,
    /// The transaction that removed the records or erased the values.
    pub transaction_id: AuditTransactionId,
    /// When the records were removed or the values erased.
    pub removed_at: DateTime<Utc>,
    /// The session user.
    pub removed_by: String,
    /// The reason.
    pub reason: String,
    /// What was removed.
    pub target: RemovalTarget,
    /// The number of removed or erased changes; none if changes of tables outside of the scope are among
    /// them.
    pub change_count: Option<i64>,
}

/// What a removal removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RemovalTarget {
    /// Expired records. Empty if only transactions or actions were removed.
    Retention {
        /// The tables whose changes were removed.
        cutoffs: Vec<TableCutoff>,
    },
    /// Values of a row.
    Erasure {
        /// The table.
        table: TableName,
        /// The stored key of the row.
        row_key: String,
        /// The columns.
        columns: Vec<String>,
    },
    /// Fields of records of a person.
    PersonErasure {
        /// The records: `values` of changes, `changes`, `transactions` or `actions`.
        records: String,
        /// The columns or fields, and keys of `meta` as `meta.key`.
        fields: Vec<String>,
    },
}

/// The last instant of removed changes of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableCutoff {
    /// The table.
    pub table: TableName,
    /// The instant before which changes were removed.
    pub before: DateTime<Utc>,
}

/// The deployment of a policy on a table, or the end of its capture.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Enrolment {
    /// The position in the order of capture: changes of the table with a greater id were captured under
    /// this policy.
    pub order_id: i64,
    /// The transaction.
    pub transaction_id: AuditTransactionId,
    /// The table.
    pub table: TableName,
    /// Whether capture was enabled; otherwise it was disabled.
    pub enabled: bool,
    /// When the policy was deployed or capture was disabled.
    pub recorded_at: DateTime<Utc>,
    /// The session user.
    pub recorded_by: String,
    /// The hash of the policy.
    pub policy_hash: Option<String>,
    /// The key columns, in order; none for a table without a key.
    pub key_columns: Option<Vec<String>>,
    /// The captured columns: an array of `{"name", "attnum", "type", "rule"}`.
    pub columns: Option<StoredJson>,
    /// Whether all capture triggers existed already; if false, earlier writes may be missing.
    pub was_captured: Option<bool>,
    /// Whether the table was empty.
    pub table_was_empty: Option<bool>,
}
