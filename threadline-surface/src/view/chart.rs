//! The volume of a timeline as bars.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use threadline_diesel::query::{Precision, VolumeBucket};

use super::instant::instant;
use super::number::{count_of, number};
use crate::href::Href;
use crate::question::{ChartBy, GivenInstant, TimelineQuestion};
use crate::request::GrantedRequest;

const WIDTH: u64 = 960;
const HEIGHT: u64 = 64;

/// The widths of bars, in seconds.
const STEPS: [i64; 17] = [
    1, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800,
    2_592_000, 31_536_000,
];

/// The number of bars of a window without a fitting step.
const DEFAULT_BARS: u32 = 48;

/// The number of bars of a window: of whole steps where that is possible, at most 60.
pub(crate) fn bar_count(from: DateTime<Utc>, to: DateTime<Utc>) -> u32 {
    let width = (to - from).num_seconds();
    let bars = |step: &i64| (width % step == 0).then_some(width / step);
    let fitting = STEPS.iter().filter_map(bars);
    let fitting = fitting.filter(|bars| (12..=60).contains(bars)).max();
    fitting
        .and_then(|bars| u32::try_from(bars).ok())
        .unwrap_or(DEFAULT_BARS)
}

/// Links to the same list with other charts.
pub(crate) fn chart_choices(request: &GrantedRequest, question: &TimelineQuestion) -> Markup {
    html! {
        nav.window aria-label="Chart by" {
            "Chart by"
            @for by in ChartBy::ALL {
                @let other = TimelineQuestion { chart_by: by, ..question.clone() };
                @let href = other.list(request.href("/timeline")).with("volume", "true");
                " " a href=(href) aria-current=[(by == question.chart_by).then_some("true")] { (by.words()) }
            }
        }
    }
}

/// Bars that link to their window, with a caption in words and a table.
pub(crate) fn chart(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    buckets: &[VolumeBucket],
) -> Markup {
    let most = buckets.iter().max_by_key(|bucket| bucket.count);
    let Some(most) = most.filter(|bucket| bucket.count > 0) else {
        return html! { p.note { "No changes in this window." } };
    };
    let count = u64::try_from(buckets.len()).unwrap_or(1);
    let bars = buckets.iter().zip(0u64..).map(|(bucket, place)| Bar {
        x: place * WIDTH / count,
        width: (WIDTH / count).saturating_sub(2).max(1),
        height: (bucket.count * HEIGHT / most.count).max(u64::from(bucket.count > 0)),
        href: bucket_href(request, question, bucket),
        label: format!(
            "{}, {}",
            words(bucket.count, bucket.precision),
            span_text(request, bucket)
        ),
    });
    html! {
        figure.chart {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="group" aria-label="Volume" {
                @for bar in bars {
                    a href=(bar.href) aria-label=(bar.label) {
                        title { (bar.label) }
                        rect.hit x=(bar.x) y="0" width=(bar.width) height=(HEIGHT) {}
                        rect x=(bar.x) y=(HEIGHT - bar.height) width=(bar.width) height=(bar.height) {}
                    }
                }
            }
            figcaption { (caption(request, buckets, most)) }
            details {
                summary { "As a table" }
                (table(request, question, buckets))
            }
            (chart_choices(request, question))
        }
    }
}

struct Bar {
    x: u64,
    width: u64,
    height: u64,
    href: Href,
    label: String,
}

/// A number in words: exact, at least, or about.
pub(super) fn words(count: u64, precision: Precision) -> String {
    match precision {
        Precision::Exact => count_of(count, "change"),
        Precision::AtLeast => format!("at least {}", count_of(count, "change")),
        _ => format!("about {}", count_of(count, "record")),
    }
}

fn caption(request: &GrantedRequest, buckets: &[VolumeBucket], most: &VolumeBucket) -> Markup {
    let total = buckets.iter().map(|bucket| bucket.count).sum();
    let precision = buckets
        .iter()
        .map(|bucket| bucket.precision)
        .find(|precision| *precision != Precision::Exact)
        .unwrap_or(Precision::Exact);
    html! {
        (words(total, precision))
        @if let [first, .., last] = buckets {
            " from " (instant(request, first.from)) " to " (instant(request, last.to))
        }
        ", the most (" (number(most.count)) ") " (span_text(request, most)) "."
        @if precision == Precision::Estimated {
            " Estimated from ids: changes, actions, and what was rolled back or removed."
        }
    }
}

fn table(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    buckets: &[VolumeBucket],
) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Volume as a table" {
            table {
                thead { tr { th scope="col" { "From" } th.number scope="col" { "Number" } } }
                tbody {
                    @for bucket in buckets.iter().filter(|bucket| bucket.count > 0) {
                        tr {
                            th scope="row" {
                                a href=(bucket_href(request, question, bucket)) { (instant(request, bucket.from)) }
                            }
                            td.number { (words(bucket.count, bucket.precision)) }
                        }
                    }
                }
            }
        }
    }
}

/// The timeline in the span of a bucket. Windows include their end, buckets do not.
pub(super) fn bucket_href(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    bucket: &VolumeBucket,
) -> Href {
    let to = bucket.to - TimeDelta::microseconds(1);
    question.with_window(
        request.href("/timeline"),
        Some(GivenInstant::at(bucket.from)),
        Some(GivenInstant::at(to)),
    )
}

/// The span of a bucket in the zone of the operator.
pub(super) fn span_text(request: &GrantedRequest, bucket: &VolumeBucket) -> String {
    let zone = request.zone();
    let (from, to) = (
        bucket.from.with_timezone(&zone),
        bucket.to.with_timezone(&zone),
    );
    let end = if from.date_naive() == to.date_naive() {
        to.format("%H:%M:%S").to_string()
    } else {
        to.format("%Y-%m-%d %H:%M:%S").to_string()
    };
    format!("{} to {end}", from.format("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_whole_steps_and_at_most_60_bars() {
        let from = DateTime::UNIX_EPOCH;
        for (minutes, bars) in [
            (15, 60),
            (60, 60),
            (6 * 60, 36),
            (24 * 60, 48),
            (7 * 24 * 60, 56),
            (30 * 24 * 60, 60),
            (47, 47),
        ] {
            let to = from + TimeDelta::minutes(minutes);
            assert_eq!(bar_count(from, to), bars, "{minutes} minutes");
        }
        let odd = from + TimeDelta::seconds(1_237);
        assert_eq!(bar_count(from, odd), DEFAULT_BARS);
    }
}
