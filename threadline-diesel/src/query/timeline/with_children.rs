//! The history of a row together with the rows that referred to it.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, RunQueryDsl};
use threadline_core::row_key::RowKeyText;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use super::change_filter::RefersTo;
use super::{Cursor, Order, Page, PageSize, Paging, Start, Timeline, digest};
use crate::models::TimelineEntry;
use crate::query::error::ReadError;
use crate::query::pagination::Position;
use crate::query::scope::Scope;
use crate::restore::catalog::{Catalog, Reference};

/// A query for the changes of a row and of the rows whose foreign keys referred to it, read a page at a time
/// by [`history_with_children`](crate::history_with_children()), newest first by id.
///
/// A change of a child is listed if the child referred to the row before or after it. Only foreign keys that
/// refer to the table directly, as the database has them now, are followed. Changes of children are found in
/// the index of their table by time, within the lifetime of the row: without an index on the values of
/// images, a page reads every change of these tables until it is full.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryWithChildren {
    /// The changes of the row, then the changes of children of each foreign key.
    lists: Vec<Timeline>,
    paging: Paging,
}

impl HistoryWithChildren {
    /// The history of the row that has this key now, or had it last. Reads the foreign keys that refer to the
    /// table, and the values by which they referred to the row.
    ///
    /// # Errors
    /// [`ReadError`] when the database reports an error.
    pub async fn resolve<C>(
        conn: &mut C,
        table: &TableName,
        key: &RowKeyText,
    ) -> Result<Self, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let mut lists = vec![Timeline::new().row(table.clone(), key)];
        let catalog = Catalog::read(conn, table, true).await?;
        let lifetime = row_query(include_str!("lifetime.sql"), table, key)
            .get_result::<Lifetime>(conn)
            .await?;
        let direct = catalog
            .references
            .into_iter()
            .filter(|reference| reference.parent == *table);
        for reference in direct {
            let rows = row_query(include_str!("referred_values.sql"), table, key)
                .bind::<Array<Text>, _>(reference.parent_columns.clone())
                .load::<ReferredValues>(conn)
                .await?;
            lists.extend(lifetime.children(reference, rows));
        }
        Ok(Self {
            lists,
            paging: Paging::default(),
        })
    }

    /// Restricts all changes to a scope. If no change of the row is visible, its children are not listed
    /// either: they would show the values by which they referred to it.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        let lists = self.lists.into_iter();
        self.lists = lists.map(|list| list.scope(scope)).collect();
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
        let lists: Vec<_> = self.lists.iter().map(Timeline::digest).collect();
        digest("history with children", &lists, None, Order::NewestFirst)
    }

    /// The page of each list at the position of this query's cursor.
    fn pages(&self) -> Result<Vec<Timeline>, ReadError> {
        let position = self
            .paging
            .position::<i64>(&self.digest(), Order::NewestFirst)
            .map_err(ReadError::from)?
            .map(|(_, position)| position);
        let page = |list: &Timeline| {
            let mut list = list.clone();
            list.paging.size = self.paging.size;
            let cursor = position.as_ref().map(|at| cursor_of(&list.digest(), at));
            list.paging.start = match (&self.paging.start, cursor) {
                (Start::After(_), Some(cursor)) => Start::After(cursor),
                (Start::Before(_), Some(cursor)) => Start::Before(cursor),
                _ => Start::Beginning,
            };
            list
        };
        Ok(self.lists.iter().map(page).collect())
    }

    /// The page of the merged lists.
    fn merge(&self, pages: Vec<Page<TimelineEntry>>) -> Page<TimelineEntry> {
        let is_backward = self.paging.reads_backward();
        let is_cut = |page: &Page<TimelineEntry>| {
            !page.entries.is_empty()
                && if is_backward {
                    page.has_previous()
                } else {
                    page.has_more()
                }
        };
        let more = pages.iter().any(is_cut);
        let mut entries: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.change.id));
        // A row that refers to itself is in two lists.
        entries.dedup_by_key(|entry| entry.change.id);
        if is_backward {
            entries.reverse();
        }
        let digest = self.digest();
        let cursor_at =
            |entry: &TimelineEntry| Cursor::at(&digest, entry.change.captured_at, &entry.change.id);
        let mut page = self.paging.page(entries, cursor_at);
        if more && is_backward {
            page.previous = page.entries.as_slice().first().map(cursor_at);
        } else if more {
            page.next = page.entries.last().map(cursor_at);
        }
        page
    }
}

fn cursor_of(digest: &str, position: &Position<i64>) -> Cursor {
    let cursor = Cursor::at(digest, position.at, &position.id);
    if position.included {
        cursor.including_entry().unwrap_or(cursor)
    } else {
        cursor
    }
}

/// Reads a page of the changes of a row and of its children.
///
/// ```
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_core::row_key::RowKeyText;
/// use threadline_diesel::query::HistoryWithChildren;
///
/// let key = RowKeyText::from_values(vec!["42".to_owned()]);
/// let query = HistoryWithChildren::resolve(conn, &"orders".parse()?, &key).await?;
/// for entry in threadline_diesel::history_with_children(conn, &query).await?.entries {
///     println!("{} of {}", entry.change.op, entry.change.table_name);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the cursor belongs to another query, the scope cannot be applied, or the database reports
/// an error.
pub async fn history_with_children<C>(
    conn: &mut C,
    query: &HistoryWithChildren,
) -> Result<Page<TimelineEntry>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let mut pages = Vec::new();
    if let Some(row) = query.lists.as_slice().first()
        && row.is_scoped()
    {
        let newest = row.clone().one_entry(Order::NewestFirst);
        if crate::timeline(conn, &newest).await?.entries.is_empty() {
            return Ok(query.merge(pages));
        }
    }
    for list in query.pages()? {
        pages.push(crate::timeline(conn, &list).await?);
    }
    Ok(query.merge(pages))
}

type RowQuery = diesel::query_builder::BoxedSqlQuery<'static, Pg, diesel::query_builder::SqlQuery>;

fn row_query(sql: &str, table: &TableName, key: &RowKeyText) -> RowQuery {
    diesel::sql_query(sql.replace("@threadline@", STORAGE_SCHEMA))
        .into_boxed::<Pg>()
        .bind::<Text, _>(table.schema().to_owned())
        .bind::<Text, _>(table.name().to_owned())
        .bind::<Text, _>(key.as_str().to_owned())
}

/// When a row existed, as far as the trail shows it.
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct Lifetime {
    /// The transaction that inserted the row; none if the row is older than its trail.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    inserted_in: Option<Uuid>,
    /// The last change of the transaction that deleted the row; none if the row is not deleted.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    deleted_by: Option<DateTime<Utc>>,
}

/// Values of a row's columns that foreign keys refer to.
#[derive(Debug, QueryableByName)]
struct ReferredValues {
    #[diesel(sql_type = Array<Nullable<Text>>)]
    referred_values: Vec<Option<String>>,
}

impl Lifetime {
    /// The changes of the children of a foreign key; none if no row could refer to these values.
    fn children(&self, reference: Reference, values: Vec<ReferredValues>) -> Option<Timeline> {
        let values: Vec<Vec<String>> = values
            .into_iter()
            .filter_map(|row| row.referred_values.into_iter().collect())
            .collect();
        if values.is_empty() {
            return None;
        }
        let mut list = Timeline::new().table(reference.child);
        let inserted_at = self
            .inserted_in
            .and_then(|id| AuditTransactionId::from(id).started_at());
        list.filters.context.from = inserted_at;
        list.filters.context.to = self.deleted_by;
        list.filters.refers_to = Some(RefersTo {
            columns: reference.child_columns,
            values,
        });
        Some(list)
    }
}
