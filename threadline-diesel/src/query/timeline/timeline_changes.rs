//! The page of changes of a timeline.

use super::{CandidateIds, SelectChanges, Timeline};
use crate::models::AuditChange;
use crate::query::error::InvalidQuery;
use crate::query::page_reader::PagedQuery;
use crate::query::pagination::{Cursor, Page, Paging};

/// The changes of a timeline, without their transactions and actions.
pub(crate) struct TimelineChanges<'a> {
    pub(super) timeline: &'a Timeline,
    pub(super) candidates: &'a CandidateIds,
}

impl PagedQuery for TimelineChanges<'_> {
    type Statement = SelectChanges;
    type Row = AuditChange;

    fn paging(&self) -> &Paging {
        &self.timeline.paging
    }

    fn statement(&self, paging: &Paging) -> Result<SelectChanges, InvalidQuery> {
        self.timeline.select_page(paging, self.candidates, true)
    }

    fn page(&self, rows: Vec<AuditChange>) -> Page<AuditChange> {
        let digest = self.timeline.digest();
        self.timeline.paging.page(rows, |change| {
            Cursor::at(&digest, change.captured_at, &change.id)
        })
    }
}
