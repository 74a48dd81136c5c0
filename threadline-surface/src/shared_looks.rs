//! Looks at timelines that are followed, shared by the operators who follow the same one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use threadline_core::table::AuditedTable;
use threadline_diesel::Timeline;

use crate::page_error::PageError;
use crate::request::PageContext;
use crate::view::followed::RecentChanges;

/// The age up to which a look is shared: less than the time between two polls of a page.
const FRESH: Duration = Duration::from_millis(2_500);

/// The number of timelines whose last looks are kept.
const MAX_TIMELINES: usize = 64;

/// The changes of a timeline since an instant, and the redaction rules with which they are shown.
pub(crate) struct Look {
    read_at: Instant,
    pub(crate) recent: RecentChanges,
    pub(crate) rules: Vec<AuditedTable>,
}

/// The last look at a timeline. The lock is held while it is read, so that others wait for it.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Look>>>>;

/// The last looks of a console, by the fingerprint of the timeline, which includes the scope.
#[derive(Default)]
pub(crate) struct SharedLooks(Mutex<HashMap<[u8; 32], Slot>>);

impl fmt::Debug for SharedLooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLooks").finish_non_exhaustive()
    }
}

impl SharedLooks {
    /// A look at a timeline that is at most [`FRESH`] old and begins at or before an instant.
    pub(crate) async fn look(
        &self,
        context: &mut PageContext<'_>,
        timeline: &Timeline,
        since: DateTime<Utc>,
    ) -> Result<Arc<Look>, PageError> {
        let slot = self.slot(timeline);
        let mut last = slot.lock().await;
        let is_usable =
            |look: &&Arc<Look>| look.read_at.elapsed() < FRESH && look.recent.since <= since;
        if let Some(look) = last.as_ref().filter(is_usable) {
            return Ok(Arc::clone(look));
        }
        let look = Arc::new(Look {
            read_at: Instant::now(),
            recent: RecentChanges::read(context, timeline, since).await?,
            rules: context.rules().await?,
        });
        *last = Some(Arc::clone(&look));
        Ok(look)
    }

    fn slot(&self, timeline: &Timeline) -> Slot {
        // Following replaces the start of the window, which can be relative to the time of the request.
        let key = timeline.clone().from(DateTime::UNIX_EPOCH).fingerprint();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_TIMELINES && !slots.contains_key(&key) {
            slots.clear();
        }
        Arc::clone(slots.entry(key).or_default())
    }
}
