//! A list of changes that the script extends.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use sha2::{Digest, Sha256};
use threadline_core::table::AuditedTable;
use threadline_diesel::follow::{BLIND_WINDOW, changes_since, follow_start};
use threadline_diesel::query::ChangeCount;
use threadline_diesel::{PageSize, Timeline, TimelineEntry, count_changes, timeline};

use super::entries::entry;
use super::number::number;
use crate::href::Href;
use crate::page_error::PageError;
use crate::question::{TimelineQuestion, instant_text};
use crate::request::{GrantedRequest, PageContext};

/// The seconds between two polls.
const POLL_SECONDS: u32 = 3;

/// The seconds after which a browser without the script loads the page again.
pub(crate) const REFRESH_SECONDS: u32 = 10;

/// The number of changes that a poll returns at most.
const MAX_FOLLOWED: u32 = 200;

/// The id of the entry that says that a list was cut. The script shows it once.
pub(crate) const CUT: &str = "cut";

/// The changes of a timeline since an instant.
pub(crate) struct RecentChanges {
    pub(crate) since: DateTime<Utc>,
    /// The newest first.
    pub(crate) entries: Vec<TimelineEntry>,
    /// The instant from which the next poll reads.
    next_from: DateTime<Utc>,
    /// Whether only the newest were read, because there are too many.
    is_cut: bool,
    sees_all: bool,
}

/// The part of recent changes since a later instant.
pub(crate) struct Step<'a> {
    /// The newest first.
    pub(crate) entries: &'a [TimelineEntry],
    /// The instant from which the next poll reads.
    pub(crate) next_from: DateTime<Utc>,
    /// Whether there are older ones since the instant.
    pub(crate) is_cut: bool,
}

impl Step<'_> {
    /// The entity tag of the entries. The instants of the step are not part of it: a client that has the entries can
    /// poll from its earlier instant again.
    pub(crate) fn tag(&self) -> String {
        let mut ids = Sha256::new();
        for one in self.entries {
            ids.update(one.change.id.to_be_bytes());
        }
        format!("W/\"{}\"", hex::encode(&ids.finalize()[..8]))
    }
}

impl RecentChanges {
    /// Reads the changes since an instant.
    pub(crate) async fn read(
        context: &mut PageContext<'_>,
        query: &Timeline,
        since: DateTime<Utc>,
    ) -> Result<Self, PageError> {
        let recent = query.clone().from(since);
        let count = count_changes(context.conn, &recent, MAX_FOLLOWED).await?;
        if let ChangeCount::Exact(_) = count {
            let step = changes_since(context.conn, query, since).await?;
            return Ok(Self {
                since,
                entries: step.entries.into_iter().rev().collect(),
                next_from: step.next_from,
                is_cut: false,
                sees_all: step.sees_all,
            });
        }
        // Before the changes, as for every step.
        let start = follow_start(context.conn).await?;
        let size = PageSize::new(MAX_FOLLOWED).unwrap_or_default();
        let page = timeline(context.conn, &recent.page_size(size)).await?;
        Ok(Self {
            since,
            entries: page.entries,
            next_from: start.max(since),
            is_cut: true,
            sees_all: true,
        })
    }

    /// The changes since a later instant, for a poll.
    pub(crate) fn step(&self, since: DateTime<Utc>) -> Step<'_> {
        let newer = |entry: &&TimelineEntry| entry.change.captured_at >= since;
        let entries = &self.entries[..self.entries.iter().take_while(newer).count()];
        Step {
            entries,
            next_from: self.next_from.max(since),
            is_cut: self.is_cut && entries.len() == self.entries.len(),
        }
    }

    /// What a list that was cut may miss.
    pub(crate) fn cut_note(&self) -> Markup {
        html! {
            "More than " (number(MAX_FOLLOWED.into())) " changes match since " (self.since.format("%H:%M:%SZ"))
            ". Only the newest are compared with the list, so changes that commit late can be missed. A filter helps."
        }
    }
}

/// The buttons, and what following may miss.
pub(crate) fn follow_bar(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    recent: &RecentChanges,
) -> Markup {
    let stop: Href = question.list(request.href("/timeline"));
    html! {
        div.buttons {
            button type="button" hidden data-script data-pause="changes" aria-pressed="false" { "Pause" }
            button.primary type="button" id="more" hidden {}
            noscript {
                "Loaded again every " (REFRESH_SECONDS) " seconds. " a href=(stop) { "Stop" }
            }
        }
        @if recent.is_cut { p.note { (recent.cut_note()) } }
        @if !recent.sees_all {
            p.note {
                "The console cannot see when other transactions began. Changes of transactions that run longer than "
                (BLIND_WINDOW.num_minutes()) " minutes can be missed; grant its role pg_read_all_stats, and read from "
                "the primary server."
            }
        }
    }
}

/// The list, which the script extends. It knows entries by their ids, also those that are not on the page.
pub(crate) fn followed_list(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    entries: &[TimelineEntry],
    recent: &RecentChanges,
    rules: &[AuditedTable],
) -> Markup {
    let is_shown = |id: i64| entries.iter().any(|entry| entry.change.id == id);
    let recent_ids = recent.entries.iter().map(|entry| entry.change.id);
    let others = recent_ids.filter(|id| !is_shown(*id));
    html! {
        ul.entries id="changes" aria-label="Changes" data-mode="prepend" data-more="more" data-lazy="no"
            data-poll=(POLL_SECONDS) data-fragment=(poll_href(request, question, recent.since)) {
            @for one in entries { (entry(request, one, rules)) }
            li.hidden aria-hidden="true" {
                @for id in others { i data-id=(id) {} }
                @if recent.is_cut { i data-id=(CUT) {} }
            }
        }
        @if entries.is_empty() { p.note { "Nothing yet. New changes appear here." } }
    }
}

/// The address that a page polls.
pub(crate) fn poll_href(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    since: DateTime<Utc>,
) -> Href {
    let list = question.list(request.href("/parts/follow"));
    list.with("since", instant_text(since))
}
