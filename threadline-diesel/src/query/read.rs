//! Executes queries on an async connection.
//!
//! Statements and the assembly of answers are in the files of the queries; [`blocking`](crate::blocking)
//! executes some of them on a sync connection.

use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::Selectable;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::Audited;
use threadline_core::table::TableName;

use super::actions::Actions;
use super::as_of::{AsOf, AsOfError, DocumentAsOf, RowAsOf, SelectImage, StoredAnswer};
use super::change_by_id::ChangeById;
use super::correlation::{Correlation, CorrelationBundle};
use super::error::ReadError;
use super::gaps::GapsRow;
use super::history::History;
use super::incident::{Incident, IncidentBundle, TransactionChanges};
use super::key_columns::{KeyColumnsRow, select_key_columns};
use super::page_reader::read_page;
use super::pagination::{Order, Page};
use super::timeline::{
    CandidateIds, CandidateQuery, CandidateRow, LookupRow, Timeline, TransactionCache,
};
use super::transactions::Transactions;
use crate::json::StoredJson;
use crate::models::{AuditAction, AuditChange, AuditTransaction, TimelineEntry};

/// Reads a page of a timeline.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Timeline, timeline};
///
///
/// let query = Timeline::new().table("invoices".parse()?).actor("user:42".parse()?);
/// let page = timeline(conn, &query).await?;
/// for entry in &page.entries {
///     println!("{} {} {}", entry.change.captured_at, entry.change.op, entry.change.table_name);
/// }
/// if let Some(next) = page.next {
///     let older = timeline(conn, &query.after(next)).await?;
///     println!("{} more", older.entries.len());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, its cursor belongs to another query, or the database
/// reports an error.
pub async fn timeline<C>(conn: &mut C, query: &Timeline) -> Result<Page<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let candidates = find_candidates(conn, query.candidate_query()).await?;
    read_entries(conn, query, &candidates, TransactionCache::default()).await
}

/// Reads the ids of the candidate transactions.
pub(crate) async fn find_candidates<C>(
    conn: &mut C,
    query: Option<CandidateQuery>,
) -> Result<CandidateIds, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let Some(query) = query else {
        return Ok(CandidateIds::default());
    };
    let rows = query.load::<CandidateRow>(conn).await?;
    Ok(CandidateIds::from_rows(rows))
}

/// Reads a page of changes, then their transactions and actions.
async fn read_entries<C>(
    conn: &mut C,
    query: &Timeline,
    candidates: &CandidateIds,
    cache: TransactionCache,
) -> Result<Page<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let page = read_page(conn, &query.changes(candidates)).await?;
    Ok(Page {
        entries: attribute(conn, page.entries, cache).await?,
        next: page.next,
        previous: page.previous,
    })
}

/// Adds the transactions and actions of changes.
async fn attribute<C>(
    conn: &mut C,
    changes: Vec<AuditChange>,
    mut cache: TransactionCache,
) -> Result<Vec<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if let Some(lookup) = cache.lookup(&changes) {
        cache.add(lookup.load::<LookupRow>(conn).await?);
    }
    Ok(cache.entries(changes))
}

/// Reads a page of a row's history.
///
/// ```no_run
/// # async fn example<Invoice: threadline_core::Audited>(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{History, history};
///
///
/// let query = History::<Invoice>::new(42_i64)?;
/// for entry in history(conn, &query).await?.entries {
///     println!("{} {}: {:?}", entry.change.captured_at, entry.change.op, entry.actor());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn history<C, M>(
    conn: &mut C,
    query: &History<M>,
) -> Result<Page<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    timeline(conn, query.timeline()).await
}

/// Reads the first change of a [`History`], a [`FieldHistory`](super::FieldHistory) or any
/// [`Timeline`]; none if no change is known.
///
/// ```no_run
/// # async fn example<Invoice: threadline_core::Audited>(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{History, first_change};
///
///
/// let first = first_change(conn, History::<Invoice>::new(42_i64)?).await?;
/// println!("recorded first at {:?}", first.map(|entry| entry.change.captured_at));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn first_change<C>(
    conn: &mut C,
    query: impl Into<Timeline> + Send,
) -> Result<Option<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = query.into().one_entry(Order::OldestFirst);
    Ok(timeline(conn, &query).await?.entries.pop())
}

/// Reads the last change of a [`History`], a [`FieldHistory`](super::FieldHistory) or any
/// [`Timeline`]; none if no change is known.
///
/// ```no_run
/// # async fn example<Invoice: threadline_core::Audited>(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{FieldHistory, History, last_change};
///
///
/// let email = FieldHistory::new(History::<Invoice>::new(42_i64)?, "email".parse()?);
/// let last = last_change(conn, email).await?;
/// println!("email set last at {:?}", last.map(|entry| entry.change.captured_at));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn last_change<C>(
    conn: &mut C,
    query: impl Into<Timeline> + Send,
) -> Result<Option<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = query.into().one_entry(Order::NewestFirst);
    Ok(timeline(conn, &query).await?.entries.pop())
}

/// Reads one change by its id; none if there is no such change, or the scope hides it.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::change;
///
/// println!("{:?}", change(conn, 1234).await?.map(|entry| entry.change.op));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the scope cannot be applied, or the database reports an error.
pub async fn change<C>(
    conn: &mut C,
    query: impl Into<ChangeById> + Send,
) -> Result<Option<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let statement = query.into().statement()?;
    let changes = statement.load::<AuditChange>(conn).await?;
    let mut entries = attribute(conn, changes, TransactionCache::default()).await?;
    Ok(entries.pop())
}

/// Reads a page of actions.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Actions, actions};
///
///
/// let query = Actions::new().name("invoice.void").actor("user:42".parse()?);
/// for action in actions(conn, &query).await?.entries {
///     println!("{}: {:?}", action.name, action.reason);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn actions<C>(conn: &mut C, query: &Actions) -> Result<Page<AuditAction>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    read_page(conn, query).await
}

/// Reads a page of transactions.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Transactions, transactions};
///
///
/// let query = Transactions::new().request_id("req-7f3a".parse()?);
/// for transaction in transactions(conn, &query).await?.entries {
///     println!("{} by {:?}", transaction.id, transaction.actor);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn transactions<C>(
    conn: &mut C,
    query: &Transactions,
) -> Result<Page<AuditTransaction>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let candidates = find_candidates(conn, query.candidate_query()).await?;
    read_page(conn, &query.among(&candidates)).await
}

/// Reads one transaction and a page of its changes; none if there is no such transaction, or the scope
/// hides it.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Incident, transaction};
///
///
/// let query = Incident::new("000303c3-1adf-ad4e-0000-0000000002ea".parse()?);
/// if let Some(found) = transaction(conn, query).await? {
///     println!("{} changes on this page", found.changes.entries.len());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn transaction<C>(
    conn: &mut C,
    query: impl Into<Incident> + Send,
) -> Result<Option<TransactionChanges>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = query.into();
    let found = query.select_transaction()?.load(conn).await?;
    let Some(transaction) = found.into_iter().next() else {
        return Ok(None);
    };
    let changes = timeline(conn, query.changes()).await?;
    Ok(Some(TransactionChanges {
        transaction,
        changes,
    }))
}

/// Reads one transaction with its actions and a page of its changes; none if there is no such
/// transaction, or the scope hides it.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Incident, incident};
///
///
/// let query = Incident::new("000303c3-1adf-ad4e-0000-0000000002ea".parse()?);
/// if let Some(found) = incident(conn, query).await? {
///     println!("{} actions, {} changes", found.actions.len(), found.changes.len());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn incident<C>(
    conn: &mut C,
    query: impl Into<Incident> + Send,
) -> Result<Option<IncidentBundle>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let query = query.into();
    let found = query.select_transaction()?.load(conn).await?;
    let Some(transaction) = found.into_iter().next() else {
        return Ok(None);
    };
    let actions = read_page(conn, &query.actions()).await?;
    let candidates = CandidateIds::default();
    let changes = read_page(conn, &query.changes().changes(&candidates)).await?;
    Ok(Some(IncidentBundle::new(transaction, actions, changes)))
}

/// Reads the first page of the transactions, actions and changes of a correlation.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Correlation, correlation};
///
///
/// let found = correlation(conn, &Correlation::new("order-8812".parse()?)).await?;
/// println!("{} changes on the first page", found.changes.entries.len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub async fn correlation<C>(
    conn: &mut C,
    query: &Correlation,
) -> Result<CorrelationBundle, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let transactions = transactions(conn, &query.transactions()).await?;
    let actions = actions(conn, &query.actions()).await?;
    let changes = match query.candidates(&transactions, &actions) {
        Some(candidates) => {
            let mut cache = TransactionCache::default();
            let (transactions, actions) = (&transactions.entries, &actions.entries);
            cache.extend(transactions.iter().cloned(), actions.iter().cloned());
            read_entries(conn, &query.changes(), &candidates, cache).await?
        }
        None => timeline(conn, &query.changes()).await?,
    };
    Ok(CorrelationBundle {
        transactions,
        actions,
        changes,
    })
}

/// Reads a row as of an instant in its stored form.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::{AsOf, DocumentAsOf, document_as_of};
///
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let query = DocumentAsOf::new("invoices".parse()?, &key, "2026-03-01T12:00:00Z".parse()?);
/// if let AsOf::Row(known) = document_as_of(conn, &query).await? {
///     println!("{:?}", known.row);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`AsOfError`] when the scope cannot be applied, or the database reports an error.
pub async fn document_as_of<C>(
    conn: &mut C,
    query: &DocumentAsOf,
) -> Result<AsOf<StoredJson>, AsOfError>
where
    C: AsyncConnection<Backend = Pg>,
{
    if let Some(visible) = query.visible_changes()
        && timeline(conn, &visible).await?.entries.is_empty()
    {
        return Ok(AsOf::NOT_RECORDED);
    }
    let stored = query.statement().get_result::<StoredAnswer>(conn).await?;
    if let Some(record) = query.visible_record(&stored)
        && record
            .statement()?
            .load::<AuditChange>(conn)
            .await?
            .is_empty()
    {
        return Ok(AsOf::NOT_RECORDED);
    }
    let gaps = match query.gaps_statement(&stored) {
        Some(statement) => Some(statement.get_result::<GapsRow>(conn).await?),
        None => None,
    };
    Ok(query.answer(stored, gaps)?)
}

/// Reads a model's row as of an instant.
///
/// ```no_run
/// # use diesel::prelude::*;
/// # diesel::table! { invoices (id) { id -> BigInt, } }
/// # #[derive(Queryable, Selectable)]
/// # #[diesel(table_name = invoices)]
/// # struct Invoice { id: i64 }
/// # impl threadline_core::Audited for Invoice {
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> { unimplemented!() }
/// # }
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{AsOf, RowAsOf, as_of};
///
///
/// let query = RowAsOf::<Invoice>::new(42_i64, "2026-03-01T12:00:00Z".parse()?)?;
/// match as_of(conn, &query).await? {
///     AsOf::Row(known) => println!("invoice {}", known.row.id),
///     AsOf::Deleted(change) => println!("deleted at {}", change.captured_at),
///     _ => println!("no changes recorded up to then"),
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`AsOfError`] when columns are not known whose fields cannot be NULL, or the database reports an
/// error.
pub async fn as_of<'query, C, M>(conn: &mut C, query: &RowAsOf<M>) -> Result<AsOf<M>, AsOfError>
where
    C: AsyncConnection<Backend = Pg>,
    M: Audited + Selectable<Pg> + Send + 'static,
    M::SelectExpression: QueryFragment<Pg> + Expression + QueryId + Send + 'query,
    SelectImage<M::SelectExpression>: LoadQuery<'query, C, M> + 'query,
{
    let answer = document_as_of(conn, query.document()).await?;
    let (mut stored, gaps) = match answer.into_recorded_row() {
        Ok(recorded) => recorded,
        Err(answer) => return Ok(*answer),
    };
    let unknown = std::mem::take(&mut stored.unknown);
    let (select, unknown) = query.select_image(&stored.row, unknown)?;
    let loaded = select.get_result::<M>(conn).await;
    query.answer(loaded, stored, unknown, gaps)
}

/// Reads the key columns of a table in declared order, as its newest policy has them; none if the table
/// has no key, or the trail does not know it.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{key_columns};
///
///
/// let columns = key_columns(conn, &"order_lines".parse()?).await?;
/// println!("key: {}", columns.join(", "));
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the database reports an error.
pub async fn key_columns<C>(conn: &mut C, table: &TableName) -> Result<Vec<String>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let rows = select_key_columns(table)
        .load::<KeyColumnsRow>(conn)
        .await?;
    let newest = rows.into_iter().next();
    Ok(newest.map(|row| row.key_columns).unwrap_or_default())
}
