//! How many changes an export would have.

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_diesel::timeline::Timeline;

use crate::error::ExportError;

/// How many changes a timeline asks for now.
///
/// # Errors
/// [`ExportError::Database`].
pub async fn count(conn: &mut AsyncPgConnection, timeline: &Timeline) -> Result<u64, ExportError> {
    let counted: i64 = timeline
        .unpaged_query()
        .select(count_star())
        // Replaces the order of changes, which a count has no use for.
        .order(count_star())
        .get_result(conn)
        .await?;
    Ok(u64::try_from(counted).unwrap_or_default())
}
