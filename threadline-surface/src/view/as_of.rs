//! The state of a row as of an instant, in words.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_diesel::models::StoredJson;
use threadline_diesel::query::{CaptureGap, ChangeRef, GapKind, Horizon, KnownRow, RecordedState};
use threadline_diesel::{AsOf, Op};

use super::actor::actor;
use super::completeness::Completeness;
use super::id::change_id;
use super::instant::instant;
use crate::request::GrantedRequest;

/// The row that the trail recorded, also if it may have changed since without a record.
pub(crate) fn recorded_row(answer: &AsOf<StoredJson>) -> Option<&KnownRow<StoredJson>> {
    match answer {
        AsOf::Row(known) => Some(known),
        AsOf::Uncertain(uncertain) => match &uncertain.recorded {
            RecordedState::Row(known) => Some(known),
            RecordedState::Deleted(_) => None,
        },
        _ => None,
    }
}

/// Why the row has this state at an instant, or why it is not known.
pub(crate) fn state_sentence(
    request: &GrantedRequest,
    at: DateTime<Utc>,
    answer: &AsOf<StoredJson>,
    table: &Completeness,
) -> Markup {
    let by = |change: &ChangeRef| change_sentence(request, change);
    html! {
        @match answer {
            AsOf::Row(known) if known.later => {
                p { "Not recorded yet. Taken from the next record: " (by(&known.change)) }
                (earlier_records(request, at, table))
            }
            AsOf::Row(known) => p { "Since " (by(&known.change)) },
            AsOf::Deleted(change) => p { span.token { "no row" } " Removed by " (by(change)) },
            AsOf::NotYetKnown(horizon) => (not_known(request, at, horizon, table)),
            AsOf::Uncertain(uncertain) => {
                p {
                    span.token.warning { "uncertain" }
                    " The row may have changed without a record. Recorded: "
                    @match &uncertain.recorded {
                        RecordedState::Row(known) => (by(&known.change)),
                        RecordedState::Deleted(change) => { "removed by " (by(change)) }
                    }
                }
                (gap_list(&uncertain.gaps))
            }
            AsOf::Absent(absent) => {
                p {
                    span.token { "no row" }
                    " A baseline of all rows, which ended at " (instant(request, absent.baselined_at))
                    ", did not find it. Last record: " (by(&absent.change))
                }
                (gap_list(&absent.gaps))
            }
            _ => p { "This release cannot show the answer." },
        }
    }
}

/// Which of the reasons explains that the row is not known: retention, its insert, the start of capture.
fn not_known(
    request: &GrantedRequest,
    at: DateTime<Utc>,
    horizon: &Horizon,
    table: &Completeness,
) -> Markup {
    html! {
        p {
            span.token.warning { "not known" } " "
            @match &horizon.first {
                Some(first) if first.op == Op::Insert => {
                    "The row was inserted later: " (change_sentence(request, first))
                }
                Some(first) => { "The first record is later: " (change_sentence(request, first)) }
                None => "No change of the row is known.",
            }
        }
        (earlier_records(request, at, table))
        (gap_list(&horizon.gaps))
    }
}

/// Why there may be no records before an instant: retention removed them, or capture began later.
fn earlier_records(request: &GrantedRequest, at: DateTime<Utc>, table: &Completeness) -> Markup {
    let Some(facts) = table.table() else {
        return html! {};
    };
    let is_removal = |gap: &&CaptureGap| {
        gap.kind == GapKind::Removed && gap.to > Some(at) && gap.from.is_none_or(|from| from <= at)
    };
    html! {
        @if let Some(removal) = facts.gaps.iter().rev().find(is_removal) {
            p { "Older records were removed by retention: " bdi { (removal) } "." }
        } @else if let Some(start) = facts.known_since.filter(|start| *start > at) {
            p { "Capture of the table began at " (instant(request, start)) "." }
        }
    }
}

fn gap_list(gaps: &[CaptureGap]) -> Markup {
    html! { @if !gaps.is_empty() { ul.gaps { @for gap in gaps { li { bdi { (gap) } } } } } }
}

/// A change with its operation, instant and actor.
pub(crate) fn change_sentence(request: &GrantedRequest, change: &ChangeRef) -> Markup {
    html! {
        (change.op) " " (change_id(request, change.id))
        " at " (instant(request, change.captured_at))
        " by " (actor(request, change.actor.as_ref()))
    }
}
