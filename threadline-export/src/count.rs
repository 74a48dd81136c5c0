//! How many changes an export would have.

use diesel_async::AsyncPgConnection;
use threadline_diesel::timeline::Timeline;

use crate::error::ExportError;
use crate::{reading, snapshot};

/// How many changes a timeline asks for now.
///
/// The connection must not be in a transaction: counting has one of its own, as exporting has.
///
/// # Errors
/// [`ExportError::Database`].
pub async fn count(conn: &mut AsyncPgConnection, timeline: &Timeline) -> Result<u64, ExportError> {
    snapshot::begin(conn).await?;
    let counted = reading::count(conn, timeline).await;
    let counted = snapshot::end(conn, counted.map_err(ExportError::from)).await?;
    Ok(u64::try_from(counted).unwrap_or_default())
}
