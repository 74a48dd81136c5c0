//! Reads what a report is about.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::query::Order;
use threadline_diesel::{Actions, AuditAction, PageSize, Timeline, TimelineEntry, timeline};

use super::question::ReportQuestion;
use crate::page_error::PageError;
use crate::question::FieldError;
use crate::request::PageContext;
use crate::view::completeness::{self, Completeness};

/// The largest number of changes of a report. A report is never cut.
pub(crate) const MAX_CHANGES: u32 = 200;

/// What a report is about.
pub(crate) struct Report {
    /// The changes, oldest first.
    pub(crate) entries: Vec<TimelineEntry>,
    /// The actions, oldest first, also those without changes.
    pub(crate) actions: Vec<AuditAction>,
    pub(crate) rules: Vec<AuditedTable>,
    pub(crate) completeness: Completeness,
    /// The snapshot, as returned by `pg_current_snapshot()`.
    pub(crate) snapshot: String,
    /// The instant of the snapshot, by the clock of the database.
    pub(crate) taken_at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Snapshot {
    #[diesel(sql_type = Text)]
    snapshot: String,
    #[diesel(sql_type = Timestamptz)]
    taken_at: DateTime<Utc>,
}

/// Reads a report. A transaction that does not exist, or that the scope hides, is not found.
pub(crate) async fn read(
    context: &mut PageContext<'_>,
    question: &ReportQuestion,
) -> Result<Report, PageError> {
    let sql = "SELECT pg_current_snapshot()::text AS snapshot, clock_timestamp() AS taken_at";
    let snapshot: Snapshot = diesel::sql_query(sql).get_result(context.conn).await?;
    let query = match question.transaction {
        Some(id) => {
            let query = Timeline::new().transaction(id);
            match context.request.scope() {
                Some(scope) => query.scope(scope),
                None => query,
            }
        }
        None => context.timeline(&question.filters).await?,
    };
    let query = query
        .order(Order::OldestFirst)
        .page_size(PageSize::new(MAX_CHANGES)?);
    let page = timeline(context.conn, &query).await?;
    if page.has_more() {
        return Err(too_many());
    }
    let actions = read_actions(context, question, &page.entries).await?;
    if question.transaction.is_some() && page.entries.is_empty() && actions.is_empty() {
        return Err(PageError::NotFound);
    }
    let tables: BTreeSet<_> = page
        .entries
        .iter()
        .map(|entry| TableName::new(&entry.change.table_schema, &entry.change.table_name))
        .chain(question.filters.fields.table.clone())
        .collect();
    let tables: Vec<_> = tables.into_iter().collect();
    let window = [&question.filters.from, &question.filters.to];
    let [from, to] = window.map(|one| one.as_ref().map(|one| one.instant));
    let completeness = completeness::read_tables(context, &tables, from, to).await?;
    Ok(Report {
        rules: context.rules().await?,
        entries: page.entries,
        actions,
        completeness,
        snapshot: snapshot.snapshot,
        taken_at: snapshot.taken_at,
    })
}

/// The actions of the transaction or the correlation, otherwise those in force for the changes.
async fn read_actions(
    context: &mut PageContext<'_>,
    question: &ReportQuestion,
    entries: &[TimelineEntry],
) -> Result<Vec<AuditAction>, PageError> {
    let query = match (question.transaction, &question.filters.fields.correlation) {
        (Some(id), _) => Actions::new().transaction(id),
        (None, Some(id)) => {
            let query = Actions::new().correlation_id(id.clone());
            let window = [question.filters.from.as_ref(), question.filters.to.as_ref()];
            let [from, to] = window.map(|one| one.map(|one| one.instant));
            let query = from.map_or(query.clone(), |from| query.from(from));
            to.map_or(query.clone(), |to| query.to(to))
        }
        (None, None) => return Ok(in_force(entries)),
    };
    let query = query.page_size(PageSize::new(MAX_CHANGES)?);
    match context.actions(query).await {
        Ok(page) if page.has_more() => Err(too_many()),
        Ok(mut page) => {
            page.entries.reverse();
            Ok(page.entries)
        }
        // The scope does not say which actions without changes are visible.
        Err(PageError::Unscoped) => Ok(in_force(entries)),
        Err(error) => Err(error),
    }
}

fn in_force(entries: &[TimelineEntry]) -> Vec<AuditAction> {
    let mut actions: Vec<AuditAction> = entries
        .iter()
        .filter_map(|entry| entry.action.clone())
        .collect();
    actions.sort_by_key(|action| action.order_id);
    actions.dedup_by_key(|action| action.id);
    actions
}

fn too_many() -> PageError {
    PageError::Invalid(vec![FieldError::of_page(format!(
        "A report has at most {MAX_CHANGES} changes and actions, and is never cut. Add a table, a key or an \
         actor, or choose a shorter window."
    ))])
}
