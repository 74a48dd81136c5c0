//! The plan of a restoration.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::table::TableName;

use crate::query::gaps::CaptureGap;
use crate::query::{ChangeRef, DefinitionChange, IncompatibleValue, UnknownReason};

/// The statements that restore a row, and what they do not restore.
///
/// [`Display`](fmt::Display) writes the script: one transaction, with the sources of the values and the
/// missing columns as comments.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestorePlan {
    /// The table of the row.
    pub table: TableName,
    /// The key of the row as asked for, in its stored form.
    pub row_key: String,
    /// The instant of the restored state; none for the last state before the deletion.
    pub as_of: Option<DateTime<Utc>>,
    /// The change that removed the row; none if the row is not deleted.
    pub removed_by: Option<ChangeRef>,
    /// Whether children were asked for.
    pub with_children: bool,
    /// The statements in the order in which they run. Empty if the row has the state already.
    pub statements: Vec<RestoreStatement>,
    /// The children that are not restored.
    pub skipped: Vec<SkippedRow>,
    /// The tables that refer to restored rows and are not captured, so that their deleted rows are not
    /// known.
    pub uncaptured_tables: Vec<TableName>,
}

impl RestorePlan {
    /// The number of values that a person has to fill in before the script runs.
    #[must_use]
    pub fn needed_values(&self) -> usize {
        self.statements
            .iter()
            .flat_map(|statement| &statement.missing)
            .filter(|missing| missing.effect == MissingEffect::ValueNeeded)
            .count()
    }
}

/// The statement that restores one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestoreStatement {
    /// Whether the row is inserted or updated.
    pub operation: RestoreOperation,
    /// The table.
    pub table: TableName,
    /// The key of the row in its stored form.
    pub row_key: String,
    /// The record that the values come from.
    pub source: ChangeRef,
    /// The columns whose values are not known, or that cannot hold the stored value.
    pub missing: Vec<MissingColumn>,
    /// The columns that are defined otherwise now than when the values were recorded. Their values are
    /// those that were stored, so a person has to check them.
    pub definition_changes: Vec<DefinitionChange>,
    /// Gaps of capture after the record: the row may have changed since without a record.
    pub gaps: Vec<CaptureGap>,
    /// The generated columns, which PostgreSQL computes.
    pub generated: Vec<String>,
    /// The SQL, without a semicolon.
    pub sql: String,
}

/// How a statement restores its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RestoreOperation {
    /// `INSERT`: the row does not exist.
    Insert,
    /// `UPDATE` of the columns that differ.
    Update,
}

/// A column whose value is not known, or that cannot hold the stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingColumn {
    /// The name of the column.
    pub column: String,
    /// Why its value is not known.
    pub reason: UnknownReason,
    /// The stored value, if the reason is [`UnknownReason::Incompatible`].
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub incompatible: Option<IncompatibleValue>,
    /// What the statement does with it.
    pub effect: MissingEffect,
}

impl fmt::Display for MissingColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            MissingEffect::ValueNeeded => "value needed",
            MissingEffect::Default => "gets its default",
            MissingEffect::Null => "stays NULL",
            MissingEffect::Unchanged => "is not changed",
        };
        match &self.incompatible {
            Some(value) => write!(f, "{} ({value}): {effect}", self.column),
            None => write!(f, "{} ({}): {effect}", self.column, self.reason),
        }
    }
}

/// What a statement does with a column whose value is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissingEffect {
    /// The column is NOT NULL without a default: the statement fails until a person writes a value in place
    /// of `/* value needed */`.
    ValueNeeded,
    /// The inserted row gets the default of the column.
    Default,
    /// The inserted row has NULL.
    Null,
    /// The update leaves the column as it is.
    Unchanged,
}

/// A child that is not restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SkippedRow {
    /// The table.
    pub table: TableName,
    /// The key of the row in its stored form.
    pub row_key: String,
    /// The change that deleted it.
    pub change_id: i64,
    /// Why it is not restored.
    pub reason: SkipReason,
}

/// Why a deleted child is not restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The trail has later changes under its key: the row was inserted again.
    RecordedLater,
    /// The trail does not show the row at the instant.
    NotKnownAsOf,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecordedLater => "its key was used again later",
            Self::NotKnownAsOf => "not known as of the instant",
        })
    }
}
