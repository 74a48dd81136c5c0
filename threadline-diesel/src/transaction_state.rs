//! Whether a connection is inside a transaction.

use diesel::result::QueryResult;
use diesel_async::{AsyncConnection, TransactionManager};

/// Whether the connection is inside a transaction that Diesel began.
pub(crate) fn is_in_transaction<C: AsyncConnection>(conn: &mut C) -> QueryResult<bool> {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    Ok(status.transaction_depth()?.is_some())
}
