//! Whether the trail has a record, by reading one.

use threadline_diesel::{Actions, PageSize, Timeline, Transactions, timeline, transactions};

use crate::page_error::PageError;
use crate::request::PageContext;

pub(super) async fn has_change(
    context: &mut PageContext<'_>,
    query: Timeline,
) -> Result<bool, PageError> {
    let query = context.request.scoped(query, Timeline::scope);
    let query = query.page_size(one());
    Ok(!timeline(context.conn, &query).await?.entries.is_empty())
}

pub(super) async fn has_transaction(
    context: &mut PageContext<'_>,
    query: Transactions,
) -> Result<bool, PageError> {
    let query = context.request.scoped(query, Transactions::scope);
    let query = query.page_size(one());
    Ok(!transactions(context.conn, &query).await?.entries.is_empty())
}

/// Whether there is an action. None is, if the text is no name of one, or the scope does not say which are
/// visible.
pub(super) async fn has_action(
    context: &mut PageContext<'_>,
    query: Actions,
) -> Result<bool, PageError> {
    match context.actions(query.page_size(one())).await {
        Ok(page) => Ok(!page.entries.is_empty()),
        Err(PageError::Unscoped | PageError::Invalid(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn one() -> PageSize {
    PageSize::new(1).unwrap_or_default()
}
