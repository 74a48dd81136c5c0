//! The reasons for an empty answer, and their text.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::actor::ActorRef;
use threadline_core::context::ContextId;
use threadline_core::table::TableName;

use crate::json::StoredJson;
use crate::models::{AuditAction, AuditTransaction, TimelineEntry};
use crate::query::actions::Actions;
use crate::query::filters::ContextFilter;
use crate::query::nearest::{Nearest, NearestChanges};
use crate::query::transactions::Transactions;

/// The length to which values are cut in text.
const VALUE_CHARS: usize = 40;

/// A reason for an empty answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmptyReason {
    /// There is no such table, and the trail has nothing of that name.
    UnknownTable {
        /// The table.
        table: TableName,
        /// Captured tables with similar names.
        similar: Vec<TableName>,
    },
    /// The table exists, and the trail has nothing of it.
    NotCaptured {
        /// The table.
        table: TableName,
    },
    /// The captured table has no such column.
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// The column is never stored.
    ExcludedColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// Only a placeholder is stored of the column, so that no value can be found.
    MaskedColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// No change of the row is recorded.
    RowNotRecorded {
        /// The table.
        table: TableName,
        /// The key of another row of the table, as it is shown.
        example_key: Option<String>,
    },
    /// No change and no action of the actor is recorded.
    ActorNotRecorded {
        /// The actor.
        actor: ActorRef,
        /// Similar actors of recent transactions.
        similar: Vec<String>,
    },
    /// No action of the name is recorded.
    ActionNotRecorded {
        /// The name.
        name: String,
        /// Similar names of recorded actions.
        similar: Vec<String>,
    },
    /// No transaction and no action of the correlation, request or job is recorded.
    ContextIdNotRecorded {
        /// The kind of id.
        kind: ContextIdKind,
        /// The id.
        id: ContextId,
        /// Similar ids of recent transactions.
        similar: Vec<String>,
    },
    /// The column of the row was never set to the value.
    ValueNeverSet {
        /// The column.
        column: String,
        /// The newest values of the column.
        values: Vec<StoredJson>,
    },
    /// There are changes before or after the window.
    NearestChanges(Box<NearestChanges>),
    /// There are actions before or after the window.
    NearestActions(Box<Nearest<AuditAction>>),
    /// There are transactions before or after the window.
    NearestTransactions(Box<Nearest<AuditTransaction>>),
}

/// A kind of id in the context of transactions and actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextIdKind {
    /// The correlation id.
    Correlation,
    /// The request id.
    Request,
    /// The job id.
    Job,
}

impl ContextIdKind {
    pub(super) const ALL: [Self; 3] = [Self::Correlation, Self::Request, Self::Job];

    /// The name for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Correlation => "correlation",
            Self::Request => "request",
            Self::Job => "job",
        }
    }

    /// The filter by ids of this kind.
    pub(super) fn filter(self, context: &ContextFilter) -> Option<&ContextId> {
        match self {
            Self::Correlation => context.correlation_id.as_ref(),
            Self::Request => context.request_id.as_ref(),
            Self::Job => context.job_id.as_ref(),
        }
    }

    pub(super) fn transactions(self, id: ContextId) -> Transactions {
        match self {
            Self::Correlation => Transactions::new().correlation_id(id),
            Self::Request => Transactions::new().request_id(id),
            Self::Job => Transactions::new().job_id(id),
        }
    }

    pub(super) fn actions(self, id: ContextId) -> Actions {
        match self {
            Self::Correlation => Actions::new().correlation_id(id),
            Self::Request => Actions::new().request_id(id),
            Self::Job => Actions::new().job_id(id),
        }
    }

    /// The id of this kind of a transaction.
    pub(super) fn recorded_id(self, transaction: AuditTransaction) -> Option<String> {
        match self {
            Self::Correlation => transaction.correlation_id,
            Self::Request => transaction.request_id,
            Self::Job => transaction.job_id,
        }
    }
}

impl EmptyReason {
    /// The reason as lines of text. They contain stored text: escape them for a terminal or a page.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = match self {
            Self::UnknownTable { table, similar } => format!(
                "there is no table {table}, and no changes are recorded for one{}",
                similar_hint(similar)
            ),
            Self::NotCaptured { table } => {
                format!("table {table} is not captured, and no changes are recorded for it")
            }
            Self::UnknownColumn {
                table,
                column,
                columns,
            } => format!(
                "table {table} is captured with the columns {}, and without `{column}`",
                columns.join(", ")
            ),
            Self::ExcludedColumn { table, column } => {
                format!("no changes match: column `{column}` of table {table} is never stored")
            }
            Self::MaskedColumn { table, column } => format!(
                "no changes match: column `{column}` of table {table} is masked, so its values are not \
                 known; omit the value to see its changes"
            ),
            Self::RowNotRecorded { example_key, .. } => {
                let example = example_key.as_ref();
                let example = example.map(|key| format!("; keys look like `{key}`"));
                format!(
                    "no changes are recorded for this row: it did not exist, or has not changed since \
                     capture began, or its key is spelled differently{}",
                    example.unwrap_or_default()
                )
            }
            Self::ActorNotRecorded { actor, similar } => format!(
                "no changes and actions by `{actor}` are recorded{}",
                similar_hint(similar)
            ),
            Self::ActionNotRecorded { name, similar } => format!(
                "no actions named `{name}` are recorded{}",
                similar_hint(similar)
            ),
            Self::ContextIdNotRecorded { kind, id, similar } => format!(
                "no changes and actions of {} `{id}` are recorded{}",
                kind.as_str(),
                similar_hint(similar)
            ),
            Self::ValueNeverSet { column, values } => {
                let values: Vec<_> = values.iter().map(show_value).collect();
                format!(
                    "column `{column}` of this row was never set to this value; newest values: {}",
                    values.join(", ")
                )
            }
            Self::NearestChanges(nearest) => return nearest.lines("change", show_change),
            Self::NearestActions(nearest) => return nearest.lines("action", show_action),
            Self::NearestTransactions(nearest) => {
                return nearest.lines("transaction", show_transaction);
            }
        };
        vec![line]
    }
}

impl<T> Nearest<T> {
    fn lines(&self, kind: &str, show: fn(&T) -> String) -> Vec<String> {
        let records = [("before", &self.before), ("after", &self.after)];
        let found = records.iter().filter_map(|(side, record)| {
            let shown = show(record.as_ref()?);
            Some(format!("nearest {kind} {side} the window: {shown}"))
        });
        found.collect()
    }
}

fn show_change(entry: &TimelineEntry) -> String {
    let change = &entry.change;
    format!(
        "{}, {} of {}.{}, change {}",
        show_instant(change.captured_at),
        change.op,
        change.table_schema,
        change.table_name,
        change.id
    )
}

fn show_action(action: &AuditAction) -> String {
    format!("{}, {}", show_instant(action.recorded_at), action.name)
}

fn show_transaction(transaction: &AuditTransaction) -> String {
    let at = show_instant(transaction.occurred_at);
    format!("{at}, transaction {}", transaction.id)
}

fn show_instant(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn show_value(value: &StoredJson) -> String {
    let text = value.to_text();
    if text.chars().count() <= VALUE_CHARS {
        return text;
    }
    let start: String = text.chars().take(VALUE_CHARS - 1).collect();
    format!("{start}…")
}

fn similar_hint(similar: &[impl Display]) -> String {
    if similar.is_empty() {
        return String::new();
    }
    let names: Vec<_> = similar.iter().map(ToString::to_string).collect();
    format!("; similar: {}", names.join(", "))
}
