//! What the answer can be.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::{Deserialize, Serialize};
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use crate::change::{Op, RecordedActor};
use crate::json::StoredJson;

/// What is known of a row as of an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AsOf<T> {
    /// There was a row.
    Row(KnownRow<T>),
    /// The row had been deleted by then, by this change: a `delete`, or a `truncate` of its table.
    Deleted(ChangeRef),
    /// Nothing was known of the row yet.
    NotYetKnown(Horizon),
}

impl<T> AsOf<T> {
    /// The row, if there was one.
    #[must_use]
    pub fn row(self) -> Option<T> {
        match self {
            Self::Row(known) => Some(known.row),
            Self::Deleted(_) | Self::NotYetKnown(_) => None,
        }
    }
}

/// A row as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KnownRow<T> {
    /// The row.
    pub row: T,
    /// What of it is not known: of a struct, of its columns; of a document, of the columns the
    /// table has now. Texts that are not known hold the placeholder, everything else is NULL.
    pub unknown: Vec<UnknownColumn>,
    /// The record that tells: the change that made the row what it was, or the baseline that recorded
    /// it; if `later`, the first record after the instant.
    pub change: ChangeRef,
    /// Whether the row had no record yet at the instant, and a later one tells what it was.
    pub later: bool,
}

/// A change, and who made it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChangeRef {
    /// Its place in the order of capture.
    pub id: i64,
    /// What happened.
    pub op: Op,
    /// When it was captured.
    pub captured_at: DateTime<Utc>,
    /// In which database transaction.
    pub transaction_id: AuditTransactionId,
    /// The actor in force; none if none was named.
    pub actor: Option<RecordedActor>,
}

/// Where the knowledge of a row begins: the audit horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Horizon {
    /// The first change that is known of the row; none where nothing is known of it at all. An
    /// insert says that the row came into being then. Anything else says that it was there before,
    /// and that what came before was never captured, or was removed by retention.
    pub first: Option<ChangeRef>,
}

/// A column whose value is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnknownColumn {
    /// Its name.
    pub column: String,
    /// Why.
    pub reason: UnknownReason,
}

impl UnknownColumn {
    pub(crate) fn list(by_name: BTreeMap<String, UnknownReason>) -> Vec<Self> {
        by_name
            .into_iter()
            .map(|(column, reason)| Self { column, reason })
            .collect()
    }
}

impl fmt::Display for UnknownColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.column, self.reason)
    }
}

/// Why a value is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownReason {
    /// It was stored as the placeholder.
    Masked,
    /// It is never stored.
    Excluded,
    /// It was stored, and erased since.
    Erased,
    /// It was too large for the trail, which has its size and digest.
    TooLarge,
    /// It was not stored: the column did not exist then, or was not classified.
    NotCaptured,
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masked => "masked",
            Self::Excluded => "excluded",
            Self::Erased => "erased",
            Self::TooLarge => "too large",
            Self::NotCaptured => "not captured",
        })
    }
}

/// The types of what `row_as_of` gives.
pub(crate) type RowAnswer = (
    Text,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Text>,
    Bool,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<Jsonb>,
    Nullable<Jsonb>,
);

/// What `row_as_of` gives.
pub(crate) type StoredAnswer = (
    String,
    Option<i64>,
    Option<DateTime<Utc>>,
    Option<Op>,
    bool,
    Option<Uuid>,
    Option<RecordedActor>,
    Option<StoredJson>,
    Option<StoredJson>,
);

impl From<StoredAnswer> for AsOf<StoredJson> {
    fn from(stored: StoredAnswer) -> Self {
        let (state, id, captured_at, op, later, transaction, actor, image, unknown) = stored;
        let change = match (id, captured_at, op, transaction) {
            (Some(id), Some(captured_at), Some(op), Some(transaction)) => Some(ChangeRef {
                id,
                op,
                captured_at,
                transaction_id: transaction.into(),
                actor,
            }),
            _ => None,
        };
        match (state.as_str(), image, change) {
            ("row", Some(row), Some(change)) => Self::Row(KnownRow {
                row,
                unknown: UnknownColumn::list(
                    unknown
                        .and_then(|unknown| unknown.read().ok())
                        .unwrap_or_default(),
                ),
                change,
                later,
            }),
            ("deleted", _, Some(change)) => Self::Deleted(change),
            (_, _, first) => Self::NotYetKnown(Horizon { first }),
        }
    }
}
