//! Health at a glance: numbers that link to their screens.
//!
//! A number whose statements take longer than [`DEADLINE`], or fail, is unknown; the others are not affected.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use diesel_async::{AnsiTransactionManager, SimpleAsyncConnection, TransactionManager};
use maud::{Markup, html};
use threadline_diesel::evidence::{Evidence, Verdict, overview};
use threadline_diesel::query::{Attribution, ChangeCount};
use threadline_diesel::{PageSize, Timeline, count_changes, feed, retention_runs};

use crate::access::Capability;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::question::instant_text;
use crate::request::{GrantedRequest, PageContext};
use crate::view::evidence::verdict_word;
use crate::view::instant::{age, instant};
use crate::view::number::count_of;

/// The time for each statement of a number, and for the check of coverage.
const DEADLINE: Duration = Duration::from_millis(300);

/// The largest number of unattributed changes that is counted.
const MAX_COUNT: u32 = 1_000;

/// The largest number of records of evidence that are read.
const MAX_RECORDS: u32 = 200;

/// A number, or several that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Unattributed,
    Coverage,
    Purge,
    Evidence,
    Feed,
}

impl Number {
    const ALL: [Self; 5] = [
        Self::Coverage,
        Self::Unattributed,
        Self::Purge,
        Self::Evidence,
        Self::Feed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unattributed => "unattributed",
            Self::Coverage => "coverage",
            Self::Purge => "purge",
            Self::Evidence => "evidence",
            Self::Feed => "feed",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Unattributed => "Unattributed today",
            Self::Coverage => "Captured tables",
            Self::Purge => "Last purge",
            Self::Evidence => "Evidence",
            Self::Feed => "Feed lag",
        }
    }

    fn capability(self) -> Capability {
        match self {
            Self::Unattributed => Capability::Read,
            Self::Coverage | Self::Feed => Capability::Coverage,
            Self::Purge => Capability::Retention,
            Self::Evidence => Capability::Evidence,
        }
    }

    /// The numbers that a grant may see.
    pub(crate) fn of_grant(request: &GrantedRequest) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|number| request.allows(number.capability()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|number| number.as_str() == text);
        found.ok_or_else(|| "write coverage, unattributed, purge, evidence or feed".to_owned())
    }
}

/// One number as a part of a page.
pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let number = parameters.parsed("number", Number::parse);
    parameters.finish()?;
    let number = number.ok_or(PageError::NotFound)?;
    if !request.allows(number.capability()) {
        return Err(PageError::Forbidden(number.capability()));
    }
    Ok(Screen::Fragment(read(context, number).await))
}

/// The places of the numbers, which the script fills. Without it, a link shows them.
pub(crate) fn places(request: &GrantedRequest) -> Markup {
    html! {
        ul.health aria-label="Health" {
            @for number in Number::of_grant(request) {
                @let part = request.href("/parts/health").with("number", number.as_str());
                li data-fragment=(part) {
                    span.name { (number.label()) } " "
                    a href=(request.href("/").with("health", "true")) { "show" }
                }
            }
        }
    }
}

/// The numbers, read one after the other.
pub(crate) async fn numbers(context: &mut PageContext<'_>) -> Markup {
    let mut shown = Vec::new();
    for number in Number::of_grant(context.request) {
        shown.push(read(context, number).await);
    }
    html! { ul.health aria-label="Health" { @for number in &shown { li { (number) } } } }
}

/// A number, or in words that it is not known.
async fn read(context: &mut PageContext<'_>, number: Number) -> Markup {
    let known = within_deadline(context, number).await;
    known.unwrap_or_else(|| {
        html! { span.name { (number.label()) } " " span.token.warning { "unknown" } }
    })
}

/// Reads a number in a savepoint of its own. None if it failed or took too long.
async fn within_deadline(context: &mut PageContext<'_>, number: Number) -> Option<Markup> {
    AnsiTransactionManager::begin_transaction(context.conn)
        .await
        .ok()?;
    let deadline = format!("SET LOCAL statement_timeout = {}", DEADLINE.as_millis());
    let known = match context.conn.batch_execute(&deadline).await {
        Ok(()) => known(context, number).await,
        Err(_) => None,
    };
    let ended: diesel::QueryResult<()> =
        AnsiTransactionManager::rollback_transaction(context.conn).await;
    known.filter(|_| ended.is_ok())
}

async fn known(context: &mut PageContext<'_>, number: Number) -> Option<Markup> {
    let request = context.request;
    match number {
        Number::Unattributed => {
            let from = start_of_day(request);
            let query = Timeline::new()
                .attribution(Attribution::Unattributed)
                .from(from);
            let query = request.scoped(query, Timeline::scope);
            let count = count_changes(context.conn, &query, MAX_COUNT).await.ok()?;
            let text = match count {
                ChangeCount::Exact(count) => count.to_string(),
                ChangeCount::AtLeast(count) => format!("{count}+"),
            };
            let href = request.screen("timeline").map(|href| {
                href.with("unattributed", "true")
                    .with("from", instant_text(from))
            });
            let is_warning = count != ChangeCount::Exact(0);
            Some(fact(number.label(), href, &html! { (text) }, is_warning))
        }
        Number::Coverage => captured(request).await,
        Number::Purge => {
            let runs = retention_runs(context.conn, 1).await.ok()?;
            let (text, is_warning) = match runs.first() {
                None => (html! { "never" }, false),
                Some(run) => (
                    html! { (run.state.as_str()) ", " (instant(request, run.started_at)) },
                    run.failure.is_some(),
                ),
            };
            let href = request.screen("retention");
            Some(fact(number.label(), href, &text, is_warning))
        }
        Number::Evidence => {
            let newest = overview(context.conn, PageSize::new(MAX_RECORDS).unwrap_or_default())
                .await
                .ok()?;
            let (text, is_warning) = verdicts(&newest, request.now);
            let href = request.screen("evidence");
            Some(fact(number.label(), href, &text, is_warning))
        }
        Number::Feed => {
            let consumers = feed::list(context.conn).await.ok()?;
            let behind = consumers
                .iter()
                .filter_map(|lag| lag.behind_for(request.now))
                .max();
            let text = match behind {
                _ if consumers.is_empty() => "no consumers".to_owned(),
                None => "none".to_owned(),
                Some(behind) => age(behind),
            };
            Some(fact(number.label(), None, &html! { (text) }, false))
        }
    }
}

/// The number of records of each verdict, and the age of the oldest one.
fn verdicts(newest: &[Evidence], now: DateTime<Utc>) -> (Markup, bool) {
    let Some(oldest) = newest.iter().map(|one| one.age(now)).max() else {
        return (html! { "none" }, false);
    };
    let count = |verdict| {
        newest
            .iter()
            .filter(|one| one.assess(now).status == verdict)
            .count()
    };
    let counts = [
        Verdict::Proven,
        Verdict::InferredPosture,
        Verdict::Unsupported,
    ]
    .map(|verdict| (count(verdict), verdict_word(verdict).to_lowercase()));
    let text = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect::<Vec<_>>()
        .join(", ");
    let is_warning = counts[2].0 > 0;
    (html! { (text) ", oldest " (age(oldest)) }, is_warning)
}

fn count(number: usize, thing: &str) -> String {
    count_of(u64::try_from(number).unwrap_or(u64::MAX), thing)
}

/// The number of captured tables, and of findings, of the check that all pages share. A check that takes longer
/// goes on, and the number is that of the last one.
async fn captured(request: &GrantedRequest) -> Option<Markup> {
    let settings = Arc::clone(&request.settings);
    let check = tokio::spawn(async move { settings.coverage.current(&settings).await });
    let checked = match tokio::time::timeout(DEADLINE, check).await {
        Ok(Ok(Ok(checked))) => checked,
        _ => request.settings.coverage.last()?,
    };
    let summary = &checked.report.summary;
    let all = summary.captured + summary.needs_capture;
    let text = html! { (summary.captured) " of " (all) };
    let findings = match (summary.errors, summary.warnings) {
        (0, 0) => "no findings".to_owned(),
        (errors, 0) => count(errors, "error"),
        (0, warnings) => count(warnings, "warning"),
        (errors, warnings) => {
            format!("{}, {}", count(errors, "error"), count(warnings, "warning"))
        }
    };
    let href = request.screen("coverage");
    Some(html! {
        (fact("Captured tables", href.clone(), &text, summary.needs_capture > 0))
        " "
        (fact("Findings", href, &html! { (findings) }, summary.errors > 0))
    })
}

/// A number with its name, linked to its screen.
fn fact(name: &str, href: Option<crate::href::Href>, text: &Markup, is_warning: bool) -> Markup {
    let class = if is_warning { "warning" } else { "" };
    html! {
        span {
            span.name { (name) } " "
            @match href {
                Some(href) => a.strong.(class) href=(href) { (text) },
                None => span.strong.(class) { (text) },
            }
        }
    }
}

/// The start of today in the zone of the operator.
fn start_of_day(request: &GrantedRequest) -> DateTime<Utc> {
    let today = request.now.with_timezone(&request.zone()).date_naive();
    let midnight = today
        .and_time(NaiveTime::MIN)
        .and_local_timezone(request.zone());
    // A zone may skip midnight.
    midnight
        .earliest()
        .map_or(request.now - TimeDelta::days(1), |start| start.to_utc())
}
