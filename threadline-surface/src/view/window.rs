//! The window of a list: presets, earlier, later, wider.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::href::Href;
use crate::question::{GivenInstant, TimelineQuestion};
use crate::request::GrantedRequest;

const PRESETS: [(&str, i64); 6] = [
    ("15m", 15),
    ("1h", 60),
    ("6h", 6 * 60),
    ("24h", 24 * 60),
    ("7d", 7 * 24 * 60),
    ("30d", 30 * 24 * 60),
];

/// The links to other windows of a timeline.
pub(crate) fn window_links(request: &GrantedRequest, question: &TimelineQuestion) -> Markup {
    let filters = &question.filters;
    let ago = filters.from.as_ref().filter(|_| filters.to.is_none());
    let minutes = ago
        .filter(|from| from.is_relative)
        .map(|from| (request.now - from.instant).num_minutes());
    let is_all = filters.from.is_none() && filters.to.is_none();
    let current = |is_current: bool| is_current.then_some("true");
    html! {
        nav.window aria-label="Window" {
            @for (name, preset) in PRESETS {
                a href=(preset_href(request, question, name)) aria-current=[current(minutes == Some(preset))] { (name) }
            }
            a href=(question.with_window(request.href("/timeline"), None, None)) aria-current=[current(is_all)] { "all" }
            @if let Some(shift) = Shift::of(request, question) {
                a.button href=(shift.earlier) title="Earlier" aria-label="Earlier window" { "◀" }
                a.button href=(shift.later) title="Later" aria-label="Later window" { "▶" }
                a.button href=(shift.wider) title="Wider" aria-label="Wider window" { "⤢" }
            }
        }
    }
}

/// The address of the timeline from a time ago until now.
pub(crate) fn preset_href(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    ago: &str,
) -> Href {
    let from = GivenInstant::parse(&format!("-{ago}"), request.now, request.zone()).ok();
    question.with_window(request.href("/timeline"), from, None)
}

/// The addresses of the windows beside and around a window.
struct Shift {
    earlier: Href,
    later: Href,
    wider: Href,
}

impl Shift {
    /// None without a start, or at the ends of time.
    fn of(request: &GrantedRequest, question: &TimelineQuestion) -> Option<Self> {
        let from = question.filters.from.as_ref()?;
        let end = question.filters.to.as_ref();
        let width = end.map_or(request.now, |to| to.instant) - from.instant;
        let width = TimeDelta::seconds(width.num_seconds());
        let to = end.map_or(from.instant + width, |to| to.instant);
        let moved = |from_by: TimeDelta, to_by: TimeDelta| {
            let (from, to) = moved(from.instant, to, from_by, to_by)?;
            Some(question.with_window(request.href("/timeline"), Some(from), Some(to)))
        };
        let is_live = from.is_relative && end.is_none();
        Some(Self {
            earlier: moved(-width, -width)?,
            later: moved(width, width)?,
            wider: if is_live {
                preset_href(request, question, &ago_text(width * 2))
            } else {
                moved(-(width / 2), width / 2)?
            },
        })
    }
}

fn moved(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    from_by: TimeDelta,
    to_by: TimeDelta,
) -> Option<(GivenInstant, GivenInstant)> {
    let from = from.checked_add_signed(from_by)?;
    let to = to.checked_add_signed(to_by)?;
    Some((GivenInstant::at(from), GivenInstant::at(to)))
}

/// A time ago in the largest unit that has no rest.
fn ago_text(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let unit = units.into_iter().find(|(_, size)| seconds % size == 0);
    let (unit, size) = unit.unwrap_or(("s", 1));
    format!("{}{unit}", seconds / size)
}
