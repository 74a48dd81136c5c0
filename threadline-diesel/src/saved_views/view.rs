//! A saved view.

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::actor::ActorRef;
use uuid::Uuid;

use super::statements::ViewRow;
use crate::models::RecordedActor;
use crate::query::TimelineFilters;

/// Who sees a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Sharing {
    /// Only its owner.
    #[default]
    Private,
    /// Every actor. The view shows its name and its filters, never records.
    Shared,
}

/// Filters of a timeline that were saved under a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SavedView {
    /// The id.
    pub id: Uuid,
    /// The actor that saved the view.
    pub owner: RecordedActor,
    /// The name.
    pub name: String,
    /// Who sees it.
    pub sharing: Sharing,
    /// The filters.
    #[serde(serialize_with = "filters_or_null")]
    pub filters: Result<TimelineFilters, UnreadableFilters>,
    /// When it was saved first.
    pub created_at: DateTime<Utc>,
    /// When it was saved last.
    pub updated_at: DateTime<Utc>,
}

/// Stored filters that this release cannot read: another release or another program wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filters of this view cannot be read: {0}; save it again")]
pub struct UnreadableFilters(String);

impl SavedView {
    /// Whether an actor owns the view.
    #[must_use]
    pub fn is_owned_by(&self, actor: &ActorRef) -> bool {
        self.owner.known() == Some(actor)
    }
}

impl From<ViewRow> for SavedView {
    fn from(row: ViewRow) -> Self {
        Self {
            id: row.id,
            owner: row.owner,
            name: row.name,
            sharing: if row.is_shared {
                Sharing::Shared
            } else {
                Sharing::Private
            },
            filters: serde_json::from_str(&row.filters)
                .map_err(|error| UnreadableFilters(error.to_string())),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn filters_or_null<S: serde::Serializer>(
    filters: &Result<TimelineFilters, UnreadableFilters>,
    out: S,
) -> Result<S::Ok, S::Error> {
    filters.as_ref().ok().serialize(out)
}
