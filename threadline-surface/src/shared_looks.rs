//! Looks at timelines that are followed, shared by the operators who follow the same one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use threadline_core::table::AuditedTable;
use threadline_diesel::Timeline;

use crate::page_error::PageError;
use crate::request::PageContext;
use crate::view::followed::RecentChanges;

/// The age up to which a look is shared: less than the time between two polls of a page.
const FRESH: Duration = Duration::from_millis(2_500);

/// The largest number of timelines whose looks are kept at once.
const MAX_TIMELINES: usize = 64;

/// The changes of a timeline since an instant, and the redaction rules with which they are shown.
pub(crate) struct Look {
    read_at: Instant,
    pub(crate) recent: RecentChanges,
    pub(crate) rules: Vec<AuditedTable>,
}

impl Look {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < FRESH
    }
}

/// The fresh looks of a console, by the fingerprint of the timeline, which includes the scope.
#[derive(Default)]
pub(crate) struct SharedLooks(Mutex<HashMap<[u8; 32], Arc<Look>>>);

impl fmt::Debug for SharedLooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLooks").finish_non_exhaustive()
    }
}

impl SharedLooks {
    /// A look at a timeline that is at most [`FRESH`] old and begins at or before an instant. No request waits
    /// for the look of another one, because it holds a connection.
    pub(crate) async fn look(
        &self,
        context: &mut PageContext<'_>,
        timeline: &Timeline,
        since: DateTime<Utc>,
    ) -> Result<Arc<Look>, PageError> {
        // Following replaces the start of the window, which can be relative to the time of the request.
        let key = timeline.clone().from(DateTime::UNIX_EPOCH).fingerprint();
        let is_usable = |look: &&Arc<Look>| look.is_fresh() && look.recent.since <= since;
        if let Some(look) = self.looks().get(&key).filter(is_usable) {
            return Ok(Arc::clone(look));
        }
        let look = Arc::new(Look {
            read_at: Instant::now(),
            recent: RecentChanges::read(context, timeline, since).await?,
            rules: context.rules().await?,
        });
        let mut looks = self.looks();
        looks.retain(|_, look| look.is_fresh());
        if looks.len() < MAX_TIMELINES {
            looks.insert(key, Arc::clone(&look));
        }
        Ok(look)
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Look>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
