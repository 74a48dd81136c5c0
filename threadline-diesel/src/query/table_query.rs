//! A table, for queries about its capture.

use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use threadline_core::table::TableName;

use super::error::ReadError;
use super::pagination::Order;
use super::scope::Scope;
use super::timeline::Timeline;

/// A query about the capture of a table, read by [`capture_status`](crate::capture_status()) and
/// [`capture_gaps`](crate::capture_gaps()).
///
/// A scope shows a table if it names it, or, without [`Scope::tables`], if a change of the table is
/// visible. The answer for a hidden table is that of a table that does not exist.
///
/// ```
/// use threadline_diesel::Scope;
/// use threadline_diesel::query::TableQuery;
///
/// let support = Scope::new().tables(["invoices".parse()?]);
/// let query = TableQuery::new("payments".parse()?).scope(&support);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TableQuery {
    table: TableName,
    scope: Option<Scope>,
}

impl From<TableName> for TableQuery {
    fn from(table: TableName) -> Self {
        Self::new(table)
    }
}

impl From<&TableName> for TableQuery {
    fn from(table: &TableName) -> Self {
        Self::new(table.clone())
    }
}

/// What a scope shows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableVisibility {
    /// There is no scope.
    Unscoped,
    /// Nothing: the answer is that of a table that does not exist.
    Hidden,
    /// The table.
    Visible {
        /// Whether a change of the table is visible.
        has_changes: bool,
    },
}

impl TableQuery {
    /// A query about this table.
    #[must_use]
    pub fn new(table: TableName) -> Self {
        Self { table, scope: None }
    }

    /// Restricts the answer to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    pub(crate) fn table(&self) -> &TableName {
        &self.table
    }

    /// Reads what the scope shows of the table.
    pub(crate) async fn visibility<C>(&self, conn: &mut C) -> Result<TableVisibility, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let Some(scope) = &self.scope else {
            return Ok(TableVisibility::Unscoped);
        };
        let named = scope.named_tables();
        if named.is_some_and(|tables| !tables.contains(&self.table)) {
            return Ok(TableVisibility::Hidden);
        }
        let changes = Timeline::new().table(self.table.clone()).scope(scope);
        let newest = crate::timeline(conn, &changes.one_entry(Order::NewestFirst)).await?;
        let has_changes = !newest.entries.is_empty();
        Ok(if has_changes || named.is_some() {
            TableVisibility::Visible { has_changes }
        } else {
            TableVisibility::Hidden
        })
    }
}
