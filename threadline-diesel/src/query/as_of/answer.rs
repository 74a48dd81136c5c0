//! The possible answers.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::{Deserialize, Serialize};
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use crate::json::StoredJson;
use crate::models::{Op, RecordedActor};
use crate::query::definition_changes::DefinitionChange;
use crate::query::gaps::CaptureGap;

/// A row as of an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AsOf<T> {
    /// The row existed.
    Row(KnownRow<T>),
    /// The row had been deleted by this change: a `delete`, or a `truncate` of its table.
    Deleted(ChangeRef),
    /// No record of the row shows what it was.
    NotYetKnown(Horizon),
    /// Changes of the row may be missing between its record and the instant, because capture was off.
    Uncertain(UncertainRow<T>),
    /// The row was deleted, or got another key, while capture was off: a baseline of all rows did not find it.
    Absent(AbsentRow),
}

/// A recorded row and the gaps after its record.
type RecordedRow<T> = (KnownRow<T>, Vec<CaptureGap>);

impl<T> AsOf<T> {
    /// The answer for a row without changes.
    pub(crate) const NOT_RECORDED: Self = Self::NotYetKnown(Horizon {
        first: None,
        gaps: Vec::new(),
    });

    /// The row, if it certainly existed.
    #[must_use]
    pub fn row(self) -> Option<T> {
        match self {
            Self::Row(known) => Some(known.row),
            Self::Deleted(_) | Self::NotYetKnown(_) | Self::Uncertain(_) | Self::Absent(_) => None,
        }
    }

    /// The recorded row and the gaps after it, or the answer if there is no recorded row.
    pub(crate) fn into_recorded_row<M>(self) -> Result<RecordedRow<T>, Box<AsOf<M>>> {
        let answer = match self {
            Self::Row(known) => return Ok((known, Vec::new())),
            Self::Uncertain(UncertainRow {
                recorded: RecordedState::Row(known),
                gaps,
            }) => return Ok((known, gaps)),
            Self::Uncertain(UncertainRow {
                recorded: RecordedState::Deleted(change),
                gaps,
            }) => AsOf::Uncertain(UncertainRow {
                recorded: RecordedState::Deleted(change),
                gaps,
            }),
            Self::Deleted(change) => AsOf::Deleted(change),
            Self::NotYetKnown(horizon) => AsOf::NotYetKnown(horizon),
            Self::Absent(absent) => AsOf::Absent(absent),
        };
        Err(Box::new(answer))
    }

    /// The answer, given all recorded gaps of the table.
    pub(crate) fn with_gaps(self, mut gaps: Vec<CaptureGap>, instant: DateTime<Utc>) -> Self {
        let (record, is_later) = match &self {
            Self::Row(known) => (Some(known.change.id), known.later),
            Self::Deleted(change) => (Some(change.id), false),
            Self::NotYetKnown(horizon) => (horizon.first.as_ref().map(|change| change.id), true),
            Self::Uncertain(_) | Self::Absent(_) => return self,
        };
        gaps.retain(|gap| gap.separates(record, is_later, instant));
        // A row that existed then would have a record after the gap.
        let baselined_at = (gaps.last().filter(|_| !is_later))
            .and_then(|gap| gap.baselined_at)
            .filter(|baselined_at| *baselined_at <= instant);
        match (self, baselined_at) {
            (Self::NotYetKnown(horizon), _) => Self::NotYetKnown(Horizon { gaps, ..horizon }),
            (certain, _) if gaps.is_empty() => certain,
            (Self::Row(known), Some(baselined_at)) => Self::Absent(AbsentRow {
                change: known.change,
                baselined_at,
                gaps,
            }),
            (Self::Row(known), None) => Self::Uncertain(UncertainRow {
                recorded: RecordedState::Row(known),
                gaps,
            }),
            (Self::Deleted(change), None) => Self::Uncertain(UncertainRow {
                recorded: RecordedState::Deleted(change),
                gaps,
            }),
            (other, _) => other,
        }
    }
}

/// A row as of an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KnownRow<T> {
    /// The row.
    pub row: T,
    /// The columns that are not known, or that the present type cannot hold: of a struct, among its
    /// columns; of a document, among the present columns of the table. In a struct, unknown texts hold
    /// their placeholder and other values are NULL; a document has what is stored.
    pub unknown: Vec<UnknownColumn>,
    /// The record that shows the row: the change that wrote it, or the baseline that recorded it; if
    /// `later`, the first record after the instant.
    pub change: ChangeRef,
    /// Whether the row is taken from a record after the instant, because there is none before.
    pub later: bool,
    /// The columns of the table that are defined otherwise now than when the record was captured.
    pub definition_changes: Vec<DefinitionChange>,
}

/// A change and its actor.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChangeRef {
    /// Its id, in the order of capture.
    pub id: i64,
    /// The operation.
    pub op: Op,
    /// When it was captured.
    pub captured_at: DateTime<Utc>,
    /// Its transaction.
    pub transaction_id: AuditTransactionId,
    /// The actor in force; none if the change is unattributed.
    pub actor: Option<RecordedActor>,
}

/// The audit horizon of a row: the instant before which nothing is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Horizon {
    /// The first known change of the row; none if no change is known. If it is an insert, the row was
    /// created then. Otherwise the row existed before, and its earlier changes were never captured or
    /// were removed by retention.
    pub first: Option<ChangeRef>,
    /// Gaps in which the row may have been created or deleted without a record.
    pub gaps: Vec<CaptureGap>,
}

/// The recorded state of a row that may have changed since without a record.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UncertainRow<T> {
    /// The state that the trail has.
    pub recorded: RecordedState<T>,
    /// The gaps between the record and the instant.
    pub gaps: Vec<CaptureGap>,
}

/// A row that a baseline of all rows did not find after a gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AbsentRow {
    /// The last record of the row.
    pub change: ChangeRef,
    /// When the baseline ended.
    pub baselined_at: DateTime<Utc>,
    /// The gaps between the record and the baseline.
    pub gaps: Vec<CaptureGap>,
}

/// A recorded state of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedState<T> {
    /// The row existed.
    Row(KnownRow<T>),
    /// The row had been deleted by this change.
    Deleted(ChangeRef),
}

/// A column whose value is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnknownColumn {
    /// The name of the column.
    pub column: String,
    /// Why its value is not known.
    pub reason: UnknownReason,
    /// The stored value, if the reason is [`UnknownReason::Incompatible`].
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub incompatible: Option<Box<IncompatibleValue>>,
}

/// A stored value that is not a value of the present type of its column: an enum label was renamed, the
/// attributes of a composite type were changed, or the column has another type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IncompatibleValue {
    /// The stored value as text.
    pub stored: String,
    /// The present type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The error of PostgreSQL.
    pub error: String,
}

impl fmt::Display for IncompatibleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.stored.chars().take(MAX_SHOWN_CHARS).collect();
        let rest = if shown.len() < self.stored.len() {
            "…"
        } else {
            ""
        };
        write!(
            f,
            "stored as `{shown}{rest}`, which is not a value of type {}",
            self.type_name
        )
    }
}

/// The length to which a stored value is cut in messages.
const MAX_SHOWN_CHARS: usize = 100;

/// An entry of `unknown` in the answer of `row_as_of`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StoredReason {
    Incompatible(IncompatibleValue),
    Other(UnknownReason),
}

impl UnknownColumn {
    pub(crate) fn list(by_name: BTreeMap<String, StoredReason>) -> Vec<Self> {
        by_name
            .into_iter()
            .map(|(column, reason)| match reason {
                StoredReason::Incompatible(value) => Self::incompatible(column, value),
                StoredReason::Other(reason) => Self::unknown(column, reason),
            })
            .collect()
    }

    pub(crate) fn unknown(column: String, reason: UnknownReason) -> Self {
        Self {
            column,
            reason,
            incompatible: None,
        }
    }

    pub(crate) fn incompatible(column: String, value: IncompatibleValue) -> Self {
        Self {
            column,
            reason: UnknownReason::Incompatible,
            incompatible: Some(Box::new(value)),
        }
    }
}

impl fmt::Display for UnknownColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.incompatible {
            Some(value) => write!(f, "{} ({value})", self.column),
            None => write!(f, "{} ({})", self.column, self.reason),
        }
    }
}

/// Why a value is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnknownReason {
    /// Only a placeholder was stored.
    Masked,
    /// The column is never stored.
    Excluded,
    /// The value was stored, and was erased.
    Erased,
    /// The value was too large: only its size and digest were stored.
    TooLarge,
    /// The value was not stored: the column did not exist then, or was not classified.
    NotCaptured,
    /// The stored value is not a value of the column's present type.
    Incompatible,
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masked => "masked",
            Self::Excluded => "excluded",
            Self::Erased => "erased",
            Self::TooLarge => "too large",
            Self::NotCaptured => "not captured",
            Self::Incompatible => "incompatible with the present type",
        })
    }
}

/// The SQL types of a row of `row_as_of`.
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
    Bool,
    Jsonb,
);

/// A row of `row_as_of`.
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
    bool,
    StoredJson,
);

impl From<StoredAnswer> for AsOf<StoredJson> {
    fn from(stored: StoredAnswer) -> Self {
        let (state, id, captured_at, op, later, transaction, actor, image, unknown, _, definitions) =
            stored;
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
                definition_changes: definitions.read().unwrap_or_default(),
            }),
            ("deleted", _, Some(change)) => Self::Deleted(change),
            (_, _, first) => Self::NotYetKnown(Horizon {
                first,
                gaps: Vec::new(),
            }),
        }
    }
}
