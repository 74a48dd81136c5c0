//! Audited writes and queries on sync connections.
//!
//! Writes take a `PgConnection` and need the feature `sync`, which links libpq. Queries take any sync
//! connection to PostgreSQL. Other operations, such as coverage, baselines and retention, are async only;
//! a host without an async connection runs them by the command line.

#[cfg(feature = "sync")]
mod write;

use diesel::connection::LoadConnection;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel::query_dsl::methods::LoadQuery;
use threadline_core::Audited;

#[cfg(feature = "sync")]
pub use self::write::{audited, record_action};
use crate::json::StoredJson;
use crate::models::{AuditAction, AuditChange, TimelineEntry};
use crate::query::as_of::StoredAnswer;
use crate::query::gaps::GapsRow;
use crate::query::page_reader::PagedQuery;
use crate::query::timeline::{CandidateIds, CandidateRow, LookupRow, TransactionCache};
use crate::query::{
    Actions, AsOf, AsOfError, DocumentAsOf, History, Incident, IncidentBundle, Order, Page,
    ReadError, RowAsOf, SelectImage, Timeline,
};

/// Reads a page of a timeline.
///
/// ```no_run
/// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Timeline, blocking};
///
///
/// let query = Timeline::new().table("invoices".parse()?).actor("user:42".parse()?);
/// let page = blocking::timeline(conn, &query)?;
/// for entry in &page.entries {
///     println!("{} {} {}", entry.change.captured_at, entry.change.op, entry.change.table_name);
/// }
/// if let Some(next) = page.next {
///     let older = blocking::timeline(conn, &query.after(next))?;
///     println!("{} more", older.entries.len());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the query is invalid, its cursor belongs to another query, or the database
/// reports an error.
pub fn timeline<C>(conn: &mut C, query: &Timeline) -> Result<Page<TimelineEntry>, ReadError>
where
    C: LoadConnection<Backend = Pg>,
{
    let candidates = match query.candidate_query() {
        Some(candidates) => CandidateIds::from_rows(candidates.load::<CandidateRow>(conn)?),
        None => CandidateIds::default(),
    };
    let page = read_page(conn, &query.changes(&candidates))?;
    let mut cache = TransactionCache::default();
    if let Some(lookup) = cache.lookup(&page.entries) {
        cache.add(lookup.load::<LookupRow>(conn)?);
    }
    Ok(Page {
        entries: cache.entries(page.entries),
        next: page.next,
        previous: page.previous,
    })
}

/// Reads a page, as `query::page_reader` does on async connections.
fn read_page<C, Q>(conn: &mut C, query: &Q) -> Result<Page<Q::Row>, ReadError>
where
    Q: PagedQuery,
    Q::Statement: LoadQuery<'static, C, Q::Row>,
{
    let statement = query.statement(query.paging())?;
    let mut page = query.page(statement.internal_load(conn)?.collect::<QueryResult<_>>()?);
    if let Some(opposite) = query.paging().opposite(&page)
        && query
            .statement(&opposite)?
            .internal_load(conn)?
            .next()
            .is_none()
    {
        query.paging().clear_opposite_cursor(&mut page);
    }
    Ok(page)
}

/// Reads a page of a row's history.
///
/// ```no_run
/// # fn example<Invoice: threadline_core::Audited>(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{History, blocking};
///
///
/// let query = History::<Invoice>::new(42_i64)?;
/// for entry in blocking::history(conn, &query)?.entries {
///     println!("{} {}: {:?}", entry.change.captured_at, entry.change.op, entry.actor());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub fn history<C, M>(conn: &mut C, query: &History<M>) -> Result<Page<TimelineEntry>, ReadError>
where
    C: LoadConnection<Backend = Pg>,
{
    timeline(conn, query.timeline())
}

/// Reads the first change of a [`History`], a [`FieldHistory`](crate::FieldHistory) or any
/// [`Timeline`]; none if no change is known.
///
/// ```no_run
/// # fn example<Invoice: threadline_core::Audited>(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{History, blocking};
///
///
/// let first = blocking::first_change(conn, History::<Invoice>::new(42_i64)?)?;
/// println!("recorded first at {:?}", first.map(|entry| entry.change.captured_at));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub fn first_change<C>(
    conn: &mut C,
    query: impl Into<Timeline>,
) -> Result<Option<TimelineEntry>, ReadError>
where
    C: LoadConnection<Backend = Pg>,
{
    let query = query.into().one_entry(Order::OldestFirst);
    Ok(timeline(conn, &query)?.entries.pop())
}

/// Reads the last change of a [`History`], a [`FieldHistory`](crate::FieldHistory) or any
/// [`Timeline`]; none if no change is known.
///
/// ```no_run
/// # fn example<Invoice: threadline_core::Audited>(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{FieldHistory, History, blocking};
///
///
/// let email = FieldHistory::new(History::<Invoice>::new(42_i64)?, "email".parse()?);
/// let last = blocking::last_change(conn, email)?;
/// println!("email set last at {:?}", last.map(|entry| entry.change.captured_at));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub fn last_change<C>(
    conn: &mut C,
    query: impl Into<Timeline>,
) -> Result<Option<TimelineEntry>, ReadError>
where
    C: LoadConnection<Backend = Pg>,
{
    let query = query.into().one_entry(Order::NewestFirst);
    Ok(timeline(conn, &query)?.entries.pop())
}

/// Reads a page of actions.
///
/// ```no_run
/// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Actions, blocking};
///
///
/// let query = Actions::new().name("invoice.void").actor("user:42".parse()?);
/// for action in blocking::actions(conn, &query)?.entries {
///     println!("{}: {:?}", action.name, action.reason);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub fn actions<C>(conn: &mut C, query: &Actions) -> Result<Page<AuditAction>, ReadError>
where
    C: LoadConnection<Backend = Pg>,
{
    read_page(conn, query)
}

/// Reads one transaction with its actions and a page of its changes; none if there is no such
/// transaction, or the scope hides it.
///
/// ```no_run
/// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{Incident, blocking};
///
///
/// let query = Incident::new("000303c3-1adf-ad4e-0000-0000000002ea".parse()?);
/// if let Some(found) = blocking::incident(conn, query)? {
///     println!("{} actions, {} changes", found.actions.len(), found.changes.len());
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`timeline`].
pub fn incident<C>(
    conn: &mut C,
    query: impl Into<Incident>,
) -> Result<Option<IncidentBundle>, ReadError>
where
    C: LoadConnection<Backend = Pg>,
{
    let query = query.into();
    let Some(transaction) = query.select_transaction()?.first(conn).optional()? else {
        return Ok(None);
    };
    let actions = read_page(conn, &query.actions())?;
    let candidates = CandidateIds::default();
    let changes = read_page(conn, &query.changes().changes(&candidates))?;
    Ok(Some(IncidentBundle::new(transaction, actions, changes)))
}

/// Reads a row as of an instant in its stored form.
///
/// ```no_run
/// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::{AsOf, DocumentAsOf, blocking};
///
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let query = DocumentAsOf::new("invoices".parse()?, &key, "2026-03-01T12:00:00Z".parse()?);
/// if let AsOf::Row(known) = blocking::document_as_of(conn, &query)? {
///     println!("{:?}", known.row);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`AsOfError`] when the scope cannot be applied, or the database reports an error.
pub fn document_as_of<C>(conn: &mut C, query: &DocumentAsOf) -> Result<AsOf<StoredJson>, AsOfError>
where
    C: LoadConnection<Backend = Pg>,
{
    if let Some(visible) = query.visible_changes()
        && timeline(conn, &visible)?.entries.is_empty()
    {
        return Ok(AsOf::NOT_RECORDED);
    }
    let stored = query.statement().get_result::<StoredAnswer>(conn)?;
    if let Some(record) = query.visible_record(&stored)
        && record.statement()?.load::<AuditChange>(conn)?.is_empty()
    {
        return Ok(AsOf::NOT_RECORDED);
    }
    let gaps = match query.gaps_statement(&stored) {
        Some(statement) => Some(statement.get_result::<GapsRow>(conn)?),
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
/// #     fn audited_table() -> Result<threadline_core::table::AuditedTable, threadline_core::table::InvalidTable> {
/// #         unimplemented!()
/// #     }
/// # }
/// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::{AsOf, RowAsOf, blocking};
///
///
/// let query = RowAsOf::<Invoice>::new(42_i64, "2026-03-01T12:00:00Z".parse()?)?;
/// match blocking::as_of(conn, &query)? {
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
pub fn as_of<'query, C, M>(conn: &mut C, query: &RowAsOf<M>) -> Result<AsOf<M>, AsOfError>
where
    C: LoadConnection<Backend = Pg>,
    M: Audited + Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg> + Expression + QueryId,
    SelectImage<M::SelectExpression>: LoadQuery<'query, C, M>,
{
    let answer = document_as_of(conn, query.document())?;
    let (mut stored, gaps) = match answer.into_recorded_row() {
        Ok(recorded) => recorded,
        Err(answer) => return Ok(*answer),
    };
    let unknown = std::mem::take(&mut stored.unknown);
    let (select, unknown) = query.select_image(&stored.row, unknown)?;
    query.answer(select.get_result(conn), stored, unknown, gaps)
}
