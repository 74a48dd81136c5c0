//! Reads evidence.

use chrono::{DateTime, Utc};
use diesel::OptionalExtension;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::{Map, Value};

use super::EvidenceError;
use super::recording::require_migration;
use super::statements::{self, Filters, Query};
use super::stored::Evidence;
use super::subject::EvidenceSubject;
use crate::query::page_reader::{PagedQuery, read_page};
use crate::query::pagination::{Paging, Start, digest};
use crate::query::{Cursor, InvalidQuery, Order, Page, PageSize};

/// A query for evidence, newest first, read by [`history`].
///
/// ```
/// use threadline_diesel::evidence::{EvidenceHistory, EvidenceSubject};
///
/// let query = EvidenceHistory::new()
///     .subject(&EvidenceSubject::TriggerCoverage)
///     .from("2026-01-01T00:00:00Z".parse()?);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvidenceHistory {
    filters: Filters,
    paging: Paging,
}

impl EvidenceHistory {
    /// All evidence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only evidence about a subject.
    #[must_use]
    pub fn subject(mut self, subject: &EvidenceSubject) -> Self {
        self.filters.subject = Some(subject.as_str().to_owned());
        self
    }

    /// Only evidence about one object: the whole `subject_ref`.
    #[must_use]
    pub fn subject_ref(mut self, subject_ref: Map<String, Value>) -> Self {
        self.filters.subject_ref = Some(Value::Object(subject_ref));
        self
    }

    /// Only evidence that was recorded at this instant or later.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.from = Some(instant);
        self
    }

    /// Only evidence that was recorded at this instant or earlier.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.to = Some(instant);
        self
    }

    /// The number of entries of a page; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.paging.size = size;
        self
    }

    /// The page after a cursor of the same query.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::After(cursor);
        self
    }

    /// The page before a cursor of the same query.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::Before(cursor);
        self
    }

    fn digest(&self) -> String {
        digest("evidence", &self.filters, None, Order::NewestFirst)
    }
}

impl PagedQuery for EvidenceHistory {
    type Statement = Query;
    type Row = Evidence;

    fn paging(&self) -> &Paging {
        &self.paging
    }

    fn statement(&self, paging: &Paging) -> Result<Query, InvalidQuery> {
        check_window(self.filters.from, self.filters.to)?;
        let position = paging.position::<i64>(&self.digest(), Order::NewestFirst)?;
        Ok(statements::history(
            &self.filters,
            position.map(|(comparison, position)| (comparison, position.id)),
            paging.reads_descending(Order::NewestFirst),
            paging.size.limit(),
        ))
    }

    fn page(&self, rows: Vec<Evidence>) -> Page<Evidence> {
        let digest = self.digest();
        self.paging.page(rows, |evidence| {
            Cursor::at(&digest, evidence.recorded_at, &evidence.order_id)
        })
    }
}

/// Rejects a window that ends before it begins.
pub(super) fn check_window(
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<(), InvalidQuery> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(InvalidQuery::EmptyWindow { from, to }),
        _ => Ok(()),
    }
}

/// Reads a page of evidence, newest first. Needs `SELECT` on `audit_evidence`, as the other functions that read.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{EvidenceHistory, history};
///
/// for evidence in history(conn, &EvidenceHistory::new()).await?.entries {
///     println!("{} {}: {}", evidence.recorded_at, evidence.subject, evidence.summary_status);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EvidenceError`] when migration `threadline_0002` is not applied, the cursor belongs to another query, the window
/// is empty, or the database reports an error.
pub async fn history<C>(
    conn: &mut C,
    query: &EvidenceHistory,
) -> Result<Page<Evidence>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    Ok(read_page(conn, query).await?)
}

/// Reads one record of evidence by its `order_id`; none if there is none.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::find;
///
/// let evidence = find(conn, 4_711).await?;
/// println!("{:?}", evidence.map(|evidence| evidence.summary_status));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`history`].
pub async fn find<C>(conn: &mut C, order_id: i64) -> Result<Option<Evidence>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    let found = statements::find(order_id).get_result(conn).await;
    Ok(found.optional()?)
}

/// Reads the newest evidence about a subject.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{EvidenceSubject, latest};
///
/// let newest = latest(conn, &EvidenceSubject::RedactionPolicy).await?;
/// println!("{:?}", newest.map(|evidence| evidence.outcome));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`history`].
pub async fn latest<C>(
    conn: &mut C,
    subject: &EvidenceSubject,
) -> Result<Option<Evidence>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let newest = EvidenceHistory::new()
        .subject(subject)
        .page_size(PageSize::ONE);
    Ok(history(conn, &newest).await?.entries.pop())
}

/// Reads the newest evidence about each object of a subject, newest first: the newest result of a check and the
/// newest statement of the host.
///
/// # Errors
/// As [`history`].
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{EvidenceSubject, latest_refs};
/// use threadline_diesel::query::PageSize;
///
/// let deliveries = latest_refs(conn, &EvidenceSubject::ExportDelivery, PageSize::default()).await?;
/// println!("{} deliveries", deliveries.len());
/// # Ok(()) }
/// ```
pub async fn latest_refs<C>(
    conn: &mut C,
    subject: &EvidenceSubject,
    limit: PageSize,
) -> Result<Vec<Evidence>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let filters = Filters {
        subject: Some(subject.as_str().to_owned()),
        ..Filters::default()
    };
    newest(conn, &filters, limit).await
}

/// Reads the newest evidence about each object of all subjects, as [`latest_refs`].
///
/// # Errors
/// As [`history`].
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::overview;
/// use threadline_diesel::query::PageSize;
///
/// let now = chrono::Utc::now();
/// for evidence in overview(conn, PageSize::default()).await? {
///     println!("{}: {}", evidence.subject, evidence.assess(now).status.as_str());
/// }
/// # Ok(()) }
/// ```
pub async fn overview<C>(conn: &mut C, limit: PageSize) -> Result<Vec<Evidence>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    newest(conn, &Filters::default(), limit).await
}

async fn newest<C>(
    conn: &mut C,
    filters: &Filters,
    limit: PageSize,
) -> Result<Vec<Evidence>, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    let newest = statements::newest(filters, limit.limit() - 1);
    Ok(newest.load(conn).await?)
}
