//! How far a baseline came.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};
use threadline_core::table::TableName;

/// How far a baseline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BaselineProgress {
    /// How many rows were looked at.
    pub rows_seen: i64,
    /// How many were recorded.
    pub rows_recorded: i64,
    /// How many other transactions have locked; they are tried again at the end.
    pub rows_left: i64,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, FromSqlRow)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RunState {
    /// It runs, or was killed.
    Running,
    /// It went through the whole table and left nothing out.
    Finished,
    /// It was stopped, or had to leave rows out. The next run continues.
    Stopped,
    /// It was killed, and a later run continued; or a later run took the table over.
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
        .ok_or_else(|| format!("`{text}` is no state of a baseline run").into())
    }
}

/// What came of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BaselineOutcome {
    /// The table.
    pub table: TableName,
    /// Its number in `audit_baseline_runs`.
    pub run: i64,
    /// The unfinished run that it continued.
    pub continues: Option<i64>,
    /// How far it came.
    pub state: RunState,
    /// How many rows this run looked at.
    pub rows_seen: i64,
    /// How many it recorded.
    pub rows_recorded: i64,
    /// How many it had to leave out, because other transactions had them locked all the time.
    pub rows_left: i64,
}
