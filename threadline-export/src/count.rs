//! The number of changes of an export.

use diesel_async::AsyncPgConnection;
use threadline_diesel::Timeline;

use crate::error::ExportError;
use crate::{change_cursor, snapshot};

/// Counts the changes that match the filters of a timeline.
///
/// The connection must not be in a transaction, because this function begins one.
///
/// # Errors
/// [`ExportError::Database`].
///
/// ```no_run
/// use diesel_async::AsyncPgConnection;
/// use threadline_diesel::Timeline;
/// use threadline_export::count;
///
/// # async fn example(conn: &mut AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// let orders = Timeline::new().table("orders".parse()?);
/// println!("{} changes", count(conn, &orders).await?);
/// # Ok(())
/// # }
/// ```
pub async fn count(conn: &mut AsyncPgConnection, timeline: &Timeline) -> Result<u64, ExportError> {
    snapshot::begin(conn).await?;
    let counted = change_cursor::count(conn, timeline).await;
    let counted = snapshot::end(conn, counted.map_err(ExportError::from)).await?;
    Ok(u64::try_from(counted).unwrap_or_default())
}
