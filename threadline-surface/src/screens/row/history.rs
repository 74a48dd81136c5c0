//! The history of a row: its changes newest first, with changes of its key, moves and gaps.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_diesel::query::diff::{ChangeDiff, KeyValues};
use threadline_diesel::query::{CaptureGap, HistoryNotes};
use threadline_diesel::{Page, TimelineEntry};

use super::Row;
use crate::request::GrantedRequest;
use crate::view::entries::{entry_of_diff, folded_diff};
use crate::view::id::{change_id, copied};
use crate::view::instant::instant;
use crate::view::pager::pager;

/// A change or a gap.
enum Item<'a> {
    Change(&'a TimelineEntry),
    Gap(&'a CaptureGap),
}

impl Row {
    /// The key, and the earlier keys on this page of changes.
    pub(super) fn headline(&self, request: &GrantedRequest, page: &Page<TimelineEntry>) -> Markup {
        let earlier = page.entries.iter().filter_map(|entry| {
            let diff = ChangeDiff::of(&entry.change);
            Some((changed_key(&diff)?, entry))
        });
        html! {
            p.headline {
                bdi.strong { (self.question.table) } " key " (copied(self.key.as_str()))
                @for (key, entry) in earlier {
                    " · was " bdi { (key) } " until " (instant(request, entry.change.captured_at))
                }
            }
        }
    }

    pub(super) fn history_heading(&self, request: &GrantedRequest) -> Markup {
        let row = self.question.row(request.href("/rows"));
        let is_filtered = self.question.field.is_some() || self.question.with_children;
        html! {
            h2 id="history" {
                @if let Some(field) = &self.question.field { "History of " bdi { (field.as_str()) } }
                @else if self.question.with_children { "History with children" }
                @else { "History" }
            }
            p.links.moves {
                @if is_filtered { a href=(row) { "The whole history of the row" } }
                @if !self.question.with_children {
                    a href=(row.clone().with("with_children", true)) { "With rows that refer to it" }
                }
            }
        }
    }

    /// A page of the changes, with the gaps between them.
    pub(super) fn history(
        &self,
        request: &GrantedRequest,
        page: &Page<TimelineEntry>,
        notes: &HistoryNotes,
    ) -> Markup {
        html! {
            ul.entries aria-label="Changes, newest first" {
                @for item in items(page, &notes.gaps) {
                    @match item {
                        Item::Change(entry) => (self.history_entry(request, entry, notes)),
                        Item::Gap(gap) => li.gap {
                            span.token.warning { "gap" } " Changes may be missing: " bdi { (gap) }
                        },
                    }
                }
            }
            (pager(&self.question.list(request.href("/rows")), page))
        }
    }

    fn history_entry(
        &self,
        request: &GrantedRequest,
        entry: &TimelineEntry,
        notes: &HistoryNotes,
    ) -> Markup {
        let diff = ChangeDiff::with_rules_among(&entry.change, &self.rules);
        let id = entry.change.id;
        let left = notes.moves.iter().find(|one| one.left_id == id);
        let arrived = notes.moves.iter().find(|one| one.arrived_id == id);
        let note = html! {
            @if let Some(key) = changed_key(&diff) {
                p.note { "Key changed from " bdi { (key) } " to " bdi { (entry.change.shown_key()) } "." }
            }
            @if let Some(one) = left {
                p.note { "Moved to another partition, which is stored as this delete and the insert " (change_id(request, one.arrived_id)) }
            }
            @if let Some(one) = arrived {
                p.note { "Arrived from another partition, where its key was " bdi { (one.previous_key) } ": change " (change_id(request, one.left_id)) }
            }
            (folded_diff(request, &diff))
        };
        entry_of_diff(request, entry, &diff, &note)
    }
}

/// Facts about the row that no single change states.
pub(super) fn notes_list(request: &GrantedRequest, notes: &HistoryNotes) -> Markup {
    let has_notes = !notes.earlier_holders.is_empty()
        || notes.truncated.is_some()
        || notes.key_defined_at.is_some();
    html! {
        @if has_notes {
            ul.note {
                @for other in &notes.earlier_holders {
                    li {
                        "Until " (instant(request, other.until))
                        " this was the key of another row, which became " bdi { (other.next_key) } "."
                    }
                }
                @if let Some(truncated) = &notes.truncated {
                    li {
                        "The table was truncated at " (instant(request, truncated.at))
                        ", which removed this row: change " (change_id(request, truncated.change_id))
                    }
                }
                @if let Some(defined) = notes.key_defined_at {
                    li {
                        "The key of the table was redefined at " (instant(request, defined))
                        ": earlier changes have other keys and are not listed."
                    }
                }
            }
        }
    }
}

/// The key before a change of the key.
fn changed_key(diff: &ChangeDiff) -> Option<String> {
    let (before, after) = (diff.key_before.as_ref()?, diff.key_after.as_ref()?);
    (before != after).then(|| shown_key(before))
}

fn shown_key(key: &KeyValues) -> String {
    if let (1, Some(value)) = (key.len(), key.values().next()) {
        return value.clone();
    }
    let pairs = key.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// The changes of a page, and the gaps that ended between them, newest first.
fn items<'a>(page: &'a Page<TimelineEntry>, gaps: &'a [CaptureGap]) -> Vec<Item<'a>> {
    let at = |entry: &TimelineEntry| entry.change.captured_at;
    let newest = page.entries.first().filter(|_| page.has_previous()).map(at);
    let oldest = page.entries.last().filter(|_| page.has_more()).map(at);
    let place = |gap: &CaptureGap| gap.to.or(gap.from);
    let mut gaps: Vec<(DateTime<Utc>, &CaptureGap)> = gaps
        .iter()
        .filter_map(|gap| Some((place(gap)?, gap)))
        .filter(|(place, _)| newest.is_none_or(|newest| *place <= newest))
        .filter(|(place, _)| oldest.is_none_or(|oldest| *place > oldest))
        .collect();
    gaps.sort_by_key(|(place, _)| *place);
    let mut items = Vec::with_capacity(page.entries.len() + gaps.len());
    for entry in &page.entries {
        while let Some((_, gap)) = gaps.pop_if(|(place, _)| *place > at(entry)) {
            items.push(Item::Gap(gap));
        }
        items.push(Item::Change(entry));
    }
    items.extend(gaps.into_iter().rev().map(|(_, gap)| Item::Gap(gap)));
    items
}
