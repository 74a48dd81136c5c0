//! The checks. Each reads and returns a result; none writes.

pub(super) mod continuity;
pub(super) mod coverage;
pub(super) mod policy;
pub(super) mod retention;
pub(super) mod roles;

use serde_json::Value;

/// The most entries of a list in a detail.
const MAX_LISTED: usize = 200;

/// A list for a detail; longer ones are cut, which the numbers beside them show.
fn list(entries: impl IntoIterator<Item = Value>) -> Value {
    entries.into_iter().take(MAX_LISTED).collect()
}
