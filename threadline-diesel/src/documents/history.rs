//! The document of a history.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{EntryDocument, PageDocument};
use crate::models::TimelineEntry;
use crate::query::Page;
use crate::query::{
    CaptureGap, DefinitionChange, EarlierHolder, HistoryNotes, RowMove, TableTruncate,
};

/// A page of the history of a row, with the facts about the row that no single change states.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct HistoryDocument<'a> {
    /// The changes of the row.
    #[serde(flatten)]
    pub page: PageDocument<'a, EntryDocument<'a>>,
    /// Moves of the row between partitions: pairs of a delete and an insert among the changes.
    pub moves: &'a [RowMove],
    /// Other rows that had the key earlier.
    pub earlier_holders: &'a [EarlierHolder],
    /// The truncate that removed the row.
    pub truncated: Option<&'a TableTruncate>,
    /// When the table got its present key; earlier changes have other keys and are not listed.
    pub key_defined_at: Option<DateTime<Utc>>,
    /// Recorded gaps since the row was created: changes of the row may be missing there.
    pub gaps: &'a [CaptureGap],
    /// The columns that are defined otherwise now than when the oldest change of the row was captured.
    pub definition_changes: &'a [DefinitionChange],
}

impl<'a> HistoryDocument<'a> {
    /// The document of a page of a history.
    #[must_use]
    pub fn new(page: &'a Page<TimelineEntry>, notes: &'a HistoryNotes) -> Self {
        Self {
            page: PageDocument::new(page),
            moves: &notes.moves,
            earlier_holders: &notes.earlier_holders,
            truncated: notes.truncated.as_ref(),
            key_defined_at: notes.key_defined_at,
            gaps: &notes.gaps,
            definition_changes: &notes.definition_changes,
        }
    }
}
