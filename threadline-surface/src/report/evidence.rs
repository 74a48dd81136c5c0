//! The content of a report that its digest covers.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use threadline_core::table::AuditedTable;
use threadline_diesel::query::diff::{ChangeDiff, FieldState};
use threadline_diesel::{AuditAction, Op, RecordedActor, TimelineEntry};
use uuid::Uuid;

use crate::page_error::PageError;

/// The digits of the digest of a part.
const PART_DIGITS: usize = 16;

/// The changes and actions of a report, as its reader may see them. Its JSON is canonical: members are in the
/// order of this type, without white space, values with the digits that are stored.
#[derive(Debug, Serialize)]
pub(crate) struct Evidence<'a> {
    pub(crate) changes: Vec<ChangeEvidence<'a>>,
    pub(crate) actions: Vec<ActionEvidence<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChangeEvidence<'a> {
    id: i64,
    captured_at: DateTime<Utc>,
    op: Op,
    table_schema: &'a str,
    table_name: &'a str,
    key: String,
    actor_ref: Option<&'a RecordedActor>,
    on_behalf_of: Option<&'a RecordedActor>,
    transaction_id: Uuid,
    action_id: Option<Uuid>,
    pub(crate) fields: Vec<FieldEvidence>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FieldEvidence {
    pub(crate) field: String,
    /// Absent without the capability to see values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<FieldState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<FieldState>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ActionEvidence<'a> {
    id: Uuid,
    recorded_at: DateTime<Utc>,
    name: &'a str,
    status: &'a str,
    actor_ref: Option<&'a RecordedActor>,
    on_behalf_of: Option<&'a RecordedActor>,
    reason: Option<&'a str>,
    comment: Option<&'a str>,
    transaction_id: Uuid,
}

impl<'a> Evidence<'a> {
    pub(crate) fn new(
        entries: &'a [TimelineEntry],
        actions: &'a [AuditAction],
        rules: &[AuditedTable],
        with_values: bool,
    ) -> Self {
        let changes = entries.iter();
        Self {
            changes: changes
                .map(|entry| ChangeEvidence::new(entry, rules, with_values))
                .collect(),
            actions: actions.iter().map(ActionEvidence::new).collect(),
        }
    }

    /// The canonical JSON.
    pub(crate) fn canonical(&self) -> Result<String, PageError> {
        serde_json::to_string(self).map_err(|_| PageError::Internal("json"))
    }

    /// The parts, as a permalink states them.
    pub(crate) fn state(&self) -> Result<SharedState, PageError> {
        Ok(SharedState {
            changes: Part::new(&self.changes)?,
            actions: Part::new(&self.actions)?,
        })
    }
}

impl<'a> ChangeEvidence<'a> {
    fn new(entry: &'a TimelineEntry, rules: &[AuditedTable], with_values: bool) -> Self {
        let change = &entry.change;
        let fields = ChangeDiff::of_values(change, rules).fields.into_iter();
        Self {
            id: change.id,
            captured_at: change.captured_at,
            op: change.op,
            table_schema: &change.table_schema,
            table_name: &change.table_name,
            key: change.shown_key(),
            actor_ref: entry.actor(),
            on_behalf_of: entry.on_behalf_of(),
            transaction_id: change.transaction_id,
            action_id: change.action_id,
            fields: fields
                .map(|field| FieldEvidence {
                    field: field.field,
                    before: with_values.then_some(field.before),
                    after: with_values.then_some(field.after),
                })
                .collect(),
        }
    }
}

impl<'a> ActionEvidence<'a> {
    fn new(action: &'a AuditAction) -> Self {
        Self {
            id: action.id,
            recorded_at: action.recorded_at,
            name: &action.name,
            status: &action.status,
            actor_ref: action.actor.as_ref(),
            on_behalf_of: action.on_behalf_of.as_ref(),
            reason: action.reason.as_deref(),
            comment: action.comment.as_deref(),
            transaction_id: action.transaction_id,
        }
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(crate) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// The parts of a report when it was shared: numbers and digests, as `3.0123456789abcdef-1.fedcba9876543210`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedState {
    changes: Part,
    actions: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    count: usize,
    digest: String,
}

impl Part {
    fn new<T: Serialize>(entries: &[T]) -> Result<Self, PageError> {
        let text = serde_json::to_string(entries).map_err(|_| PageError::Internal("json"))?;
        Ok(Self {
            count: entries.len(),
            digest: digest(&text)[..PART_DIGITS].to_owned(),
        })
    }

    fn difference(&self, now: &Self, name: &str) -> Option<String> {
        if self == now {
            return None;
        }
        let (then, now) = (self.count, now.count);
        Some(if then == now {
            format!("The {name} are as many ({now}), but not the same.")
        } else {
            format!("When it was shared the report had {then} {name}; it has {now} now.")
        })
    }
}

impl SharedState {
    /// What differs from the report now, in sentences.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let changes = self.changes.difference(&now.changes, "changes");
        let actions = self.actions.difference(&now.actions, "actions");
        changes.into_iter().chain(actions).collect()
    }
}

impl fmt::Display for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (changes, actions) = (&self.changes, &self.actions);
        write!(
            f,
            "{}.{}-{}.{}",
            changes.count, changes.digest, actions.count, actions.digest
        )
    }
}

impl FromStr for SharedState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |text: &str| {
            let (count, digest) = text.split_once('.')?;
            let is_digest =
                digest.len() == PART_DIGITS && digest.bytes().all(|one| one.is_ascii_hexdigit());
            is_digest.then_some(Part {
                count: count.parse().ok()?,
                digest: digest.to_owned(),
            })
        };
        text.split_once('-')
            .and_then(|(changes, actions)| {
                Some(Self {
                    changes: part(changes)?,
                    actions: part(actions)?,
                })
            })
            .ok_or("copy the whole address of the report")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_report_survives_the_way_through_an_address() {
        let text = "3.0123456789abcdef-1.fedcba9876543210";
        let state: SharedState = text.parse().unwrap();
        assert_eq!(state.to_string(), text);
        let now: SharedState = "2.0123456789abcdee-1.fedcba9876543211".parse().unwrap();
        assert_eq!(
            state.differences(&now),
            [
                "When it was shared the report had 3 changes; it has 2 now.",
                "The actions are as many (1), but not the same."
            ]
        );
        assert!(state.differences(&state).is_empty());
        for odd in ["", "3.x-1.y", "3.0123456789abcdef"] {
            assert!(odd.parse::<SharedState>().is_err(), "{odd}");
        }
    }
}
