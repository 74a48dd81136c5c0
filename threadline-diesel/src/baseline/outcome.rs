//! The outcome and the progress of a baseline.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};
use threadline_core::table::TableName;

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BaselineProgress {
    /// The number of rows read.
    pub rows_seen: i64,
    /// The number of rows recorded.
    pub rows_recorded: i64,
    /// The number of rows that other transactions have locked; they are tried again at the end.
    pub rows_left: i64,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, FromSqlRow)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RunState {
    /// Running; also the state of a run whose process was killed.
    Running,
    /// The run read the whole table and skipped no row.
    Finished,
    /// The run was stopped, or skipped rows. The next run continues.
    Stopped,
    /// A later run replaced this one, whose process was killed or still running.
    Interrupted,
}

impl RunState {
    /// The name used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
        }
    }
}

impl FromSql<Text, Pg> for RunState {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = std::str::from_utf8(value.as_bytes())?;
        [
            Self::Running,
            Self::Finished,
            Self::Stopped,
            Self::Interrupted,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| format!("`{text}` is not a state of a baseline run").into())
    }
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BaselineOutcome {
    /// The table.
    pub table: TableName,
    /// The id of the run in `audit_baseline_runs`.
    pub run: i64,
    /// The unfinished run that it continued.
    pub continues: Option<i64>,
    /// The state of the run.
    pub state: RunState,
    /// The number of rows that this run read.
    pub rows_seen: i64,
    /// The number of rows that it recorded.
    pub rows_recorded: i64,
    /// The number of rows that it skipped, because other transactions had them locked all the time.
    pub rows_left: i64,
}
