//! The check of coverage that all requests of a console share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use threadline_core::table::TableName;
use threadline_diesel::coverage::{Coverage, CoverageError, CoverageReport, CoverageStatus};
use threadline_diesel::doctor::{Doctor, DoctorReport};
use threadline_diesel::query::{Suspension, TableCompleteness, TrailRecords};
use threadline_diesel::{coverage, deployed_policies, doctor, suspensions, table_completeness};

use crate::page_error::PageError;
use crate::question::FieldError;
use crate::settings::Settings;

/// The age up to which an answer is given again.
const FRESH: Duration = Duration::from_secs(10);

/// Coverage and the state of the trail, as they were at a time.
#[derive(Debug)]
pub(crate) struct CheckedCoverage {
    finished: Instant,
    pub(crate) report: CoverageReport,
    pub(crate) doctor: DoctorReport,
    /// The captured tables.
    pub(crate) captured: Vec<TableCompleteness>,
    /// The newest suspensions of capture.
    pub(crate) suspensions: Vec<Suspension>,
}

impl CheckedCoverage {
    pub(crate) fn age(&self) -> Duration {
        self.finished.elapsed()
    }
}

/// The last check of a console. One check runs at a time.
#[derive(Default)]
pub(crate) struct CoverageCheck {
    last: Mutex<Option<Arc<CheckedCoverage>>>,
    running: tokio::sync::Mutex<()>,
}

impl fmt::Debug for CoverageCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoverageCheck").finish_non_exhaustive()
    }
}

impl CoverageCheck {
    /// The last answer, of any age. Never waits.
    pub(crate) fn last(&self) -> Option<Arc<CheckedCoverage>> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// An answer that is at most 10 seconds old. If a check is running, waits for its answer.
    pub(crate) async fn current(
        &self,
        settings: &Settings,
    ) -> Result<Arc<CheckedCoverage>, PageError> {
        let _running = self.running.lock().await;
        if let Some(last) = self.last().filter(|last| last.age() < FRESH) {
            return Ok(last);
        }
        let checked = Arc::new(check(settings, &query(settings)?).await?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&checked));
        Ok(checked)
    }
}

/// The query for coverage, with the expected gaps of the console.
pub(crate) fn query(settings: &Settings) -> Result<Coverage, PageError> {
    let gaps = settings.expected_gaps.iter().copied();
    gaps.into_iter()
        .try_fold(Coverage::new(), Coverage::expecting)
        .map_err(|error| PageError::Invalid(vec![FieldError::of_page(error)]))
}

/// Checks coverage in a read-only transaction of its own.
pub(crate) async fn check(
    settings: &Settings,
    query: &Coverage,
) -> Result<CheckedCoverage, PageError> {
    let limits = &settings.limits;
    let mut connection = tokio::time::timeout(limits.connection, settings.readers.connection())
        .await
        .map_err(|_| PageError::Unavailable("pool timeout"))?
        .map_err(|_| PageError::Unavailable("pool"))?;
    let conn: &mut AsyncPgConnection = &mut connection;
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}",
        limits.statement.as_millis()
    );
    AnsiTransactionManager::begin_transaction_sql(conn, &begin)
        .await
        .map_err(|_| PageError::Unavailable("begin"))?;
    let checked = read(conn, settings, query).await;
    // Nothing was written. A failed end closes the connection when the pool checks it.
    let _: QueryResult<()> = AnsiTransactionManager::rollback_transaction(conn).await;
    checked
}

async fn read(
    conn: &mut AsyncPgConnection,
    settings: &Settings,
    query: &Coverage,
) -> Result<CheckedCoverage, PageError> {
    let mut report = coverage(conn, query).await?;
    report.complete_remedies(&settings.tables, &deployed_policies(conn).await?);
    let is_captured = |status| status == CoverageStatus::Captured;
    let captured: Vec<TableName> = report
        .tables
        .iter()
        .filter(|table| is_captured(table.status))
        .map(|table| table.table.clone())
        .collect();
    Ok(CheckedCoverage {
        captured: table_completeness(conn, &captured).await?,
        suspensions: suspensions(conn, &TrailRecords::new()).await?,
        doctor: doctor(conn, &Doctor::new()).await,
        report,
        finished: Instant::now(),
    })
}

impl From<CoverageError> for PageError {
    fn from(error: CoverageError) -> Self {
        match error {
            CoverageError::NoSuchSchema(ref schema) => Self::Invalid(vec![FieldError {
                field: "schema".to_owned(),
                value: schema.clone(),
                message: error.to_string(),
            }]),
            CoverageError::Database(error) => error.into(),
            other => Self::Invalid(vec![FieldError::of_page(other)]),
        }
    }
}
