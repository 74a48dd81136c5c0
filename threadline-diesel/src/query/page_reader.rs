//! Reading one page of a list.

#[cfg(feature = "async")]
use diesel::pg::Pg;
#[cfg(feature = "async")]
use diesel_async::methods::LoadQuery;
#[cfg(feature = "async")]
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::error::InvalidQuery;
#[cfg(feature = "async")]
use super::error::ReadError;
use super::pagination::{Page, Paging};

/// A list in a fixed order that is read a page at a time.
pub(crate) trait PagedQuery {
    /// The statement that reads a page.
    type Statement;
    /// A row of the statement.
    type Row;

    /// Which page to read.
    fn paging(&self) -> &Paging;

    /// The statement for a page: one row more than the page has, in the order of reading.
    fn statement(&self, paging: &Paging) -> Result<Self::Statement, InvalidQuery>;

    /// Cuts the page out of the rows of the statement.
    fn page(&self, rows: Vec<Self::Row>) -> Page<Self::Row>;
}

/// Reads a page. A second statement reads one row on the side of the cursor that the page was
/// reached from: the entry of the cursor may have been removed since.
#[cfg(feature = "async")]
pub(crate) async fn read_page<C, Q>(conn: &mut C, query: &Q) -> Result<Page<Q::Row>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
    Q: PagedQuery,
    Q::Row: Send,
    Q::Statement: LoadQuery<'static, C, Q::Row> + Send + 'static,
{
    let statement = query.statement(query.paging())?;
    let mut page = query.page(statement.load(conn).await?);
    if let Some(opposite) = query.paging().opposite(&page) {
        let rows: Vec<Q::Row> = query.statement(&opposite)?.load(conn).await?;
        if rows.is_empty() {
            query.paging().clear_opposite_cursor(&mut page);
        }
    }
    Ok(page)
}
