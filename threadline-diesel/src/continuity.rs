//! Since when captured tables are known, and how many of their rows are older than that.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use serde::Serialize;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use crate::baseline::RunState;

/// Whether rows are counted, which reads the whole tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Counting {
    /// Every row, and whether it has history.
    #[default]
    Rows,
    /// Nothing: only what the catalog and the trail say at once.
    Nothing,
}

/// A question: since when are tables known, and what of them is not?
///
/// ```
/// use threadline_diesel::continuity::Continuity;
///
/// let question = Continuity::new().table("billing.invoices".parse()?);
/// # let _ = question;
/// # Ok::<(), threadline_core::table::InvalidTableName>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Continuity {
    pub(crate) table: Option<TableName>,
    pub(crate) counting: Counting,
}

impl Continuity {
    /// All captured tables, with their rows counted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only one table.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.table = Some(table);
        self
    }

    /// Whether rows are counted; they are unless this says otherwise.
    #[must_use]
    pub fn counting(mut self, counting: Counting) -> Self {
        self.counting = counting;
        self
    }

    pub(crate) fn query(&self) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        let (schema, name) = self
            .table
            .as_ref()
            .map(|table| (table.schema().to_owned(), table.name().to_owned()))
            .unzip();
        diesel::sql_query(format!("SELECT * FROM {STORAGE_SCHEMA}.continuity($1, $2)"))
            .into_boxed::<Pg>()
            .bind::<Nullable<Text>, _>(schema)
            .bind::<Nullable<Text>, _>(name)
    }
}

/// The query that counts the rows of a table.
pub(crate) fn row_counts(table: &TableName) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(format!(
        "SELECT row_count, unknown_count FROM {STORAGE_SCHEMA}.count_unknown_rows($1, $2)"
    ))
    .into_boxed::<Pg>()
    .bind::<Text, _>(table.schema().to_owned())
    .bind::<Text, _>(table.name().to_owned())
}

/// Since when a captured table is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableContinuity {
    /// The table.
    pub table: TableName,
    /// Whether it is captured now.
    pub captured: bool,
    /// Whether its rows can be told apart: without that there is no history and no baseline.
    pub has_key: bool,
    /// When capture began; none where it began before that was recorded.
    pub captured_since: Option<DateTime<Utc>>,
    /// The oldest change there is of it.
    pub first_recorded_at: Option<DateTime<Utc>>,
    /// How many rows there are, and how many without history; none where that was not asked for
    /// or cannot be told.
    pub rows: Option<RowCounts>,
    /// The newest baseline; none if there was none.
    pub baseline: Option<LastBaseline>,
    /// How many rows baselines have recorded in all.
    pub baselined_rows: i64,
}

impl TableContinuity {
    /// Whether everything that is there now is known: nothing is older than the trail.
    #[must_use]
    pub fn is_unbroken(&self) -> bool {
        self.captured
            && self
                .rows
                .as_ref()
                .is_none_or(|rows| rows.unknown_count == 0)
    }
}

/// How many rows a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
#[non_exhaustive]
pub struct RowCounts {
    /// All of them.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// Those of which the trail knows nothing; what a baseline would record.
    #[diesel(sql_type = BigInt)]
    pub unknown_count: i64,
}

/// The newest baseline of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LastBaseline {
    /// Its number.
    pub run: i64,
    /// How far it came.
    pub state: RunState,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it runs, or if it was killed.
    pub ended_at: Option<DateTime<Utc>>,
    /// The session's user who ran it.
    pub started_by: String,
}

/// A row of the function `continuity`.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(crate) struct ContinuityRow {
    #[diesel(sql_type = Text)]
    table_schema: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Bool)]
    captured: bool,
    #[diesel(sql_type = Bool)]
    has_key: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    captured_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_recorded_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    baseline_run: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    baseline_state: Option<RunState>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    baseline_started_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    baseline_ended_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    baseline_started_by: Option<String>,
    #[diesel(sql_type = BigInt)]
    baselined_rows: i64,
}

impl ContinuityRow {
    /// Whether its rows can be counted.
    pub(crate) fn is_countable(&self) -> bool {
        self.captured && self.has_key
    }

    pub(crate) fn table(&self) -> TableName {
        TableName::new(&self.table_schema, &self.table_name)
    }

    pub(crate) fn with(self, rows: Option<RowCounts>) -> TableContinuity {
        let baseline = match (
            self.baseline_run,
            self.baseline_state,
            self.baseline_started_at,
            self.baseline_started_by,
        ) {
            (Some(run), Some(state), Some(started_at), Some(started_by)) => Some(LastBaseline {
                run,
                state,
                started_at,
                ended_at: self.baseline_ended_at,
                started_by,
            }),
            _ => None,
        };
        TableContinuity {
            table: TableName::new(self.table_schema, self.table_name),
            captured: self.captured,
            has_key: self.has_key,
            captured_since: self.captured_since,
            first_recorded_at: self.first_recorded_at,
            rows,
            baseline,
            baselined_rows: self.baselined_rows,
        }
    }
}
