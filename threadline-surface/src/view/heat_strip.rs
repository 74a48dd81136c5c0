//! The volume of a timeline by table or actor over time, as shades.

use std::fmt::Write;

use maud::{Markup, html};
use threadline_diesel::query::{VolumeBucket, VolumeGrid, VolumeKey};

use super::chart::{bucket_href, chart_choices, span_text, words};
use super::group_chart::{counted, value};
use super::instant::instant;
use super::number::{count_of, number};
use crate::question::TimelineQuestion;
use crate::request::GrantedRequest;

/// The size of a cell in the coordinates of the strip.
const CELL: usize = 10;

/// The space between two cells.
const GAP: usize = 1;

/// The shades, from the lightest.
const OPACITIES: [&str; 5] = [".25", ".45", ".65", ".85", "1"];

/// A row for each value, which links to its changes, and a column for each span of time, which links to its window.
pub(crate) fn heat_strip(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    grid: &VolumeGrid,
) -> Markup {
    let counts = grid.rows.iter().flat_map(|row| &row.counts);
    let Some(most) = counts.copied().max() else {
        return html! { p.note { "No changes in this window." } (chart_choices(request, question)) };
    };
    let (width, height) = (grid.buckets.len() * CELL, grid.rows.len() * CELL);
    let title = question.chart_by.title();
    html! {
        figure.chart {
            div.heat {
                ol aria-label=(title) {
                    @for row in &grid.rows {
                        li {
                            (linked(request, question, &row.key))
                            " " (number(row.counts.iter().sum()))
                        }
                    }
                }
                // A row of the list is as high.
                svg viewBox={ "0 0 " (width) " " (height) } width="100%" height={ (grid.rows.len() * 2) "em" }
                    preserveAspectRatio="none" role="group" aria-label={ (title) " over time" } {
                    @for (place, bucket) in grid.buckets.iter().enumerate() {
                        @let label = column_label(request, bucket);
                        a href=(bucket_href(request, question, bucket)) aria-label=(label) {
                            title { (label) }
                            rect.hit x=(place * CELL) y="0" width=(CELL) height=(height) {}
                        }
                    }
                    @for (level, opacity) in OPACITIES.iter().enumerate() {
                        path d=(cells(grid, most, level)) fill-opacity=(opacity) pointer-events="none" {}
                    }
                }
            }
            figcaption {
                @if let [first, .., last] = grid.buckets.as_slice() {
                    "From " (instant(request, first.from)) " to " (instant(request, last.to)) ": "
                }
                (counted(grid.total))
                " The most in one cell are " (number(most)) "; each lighter shade is at most half of the next."
                @if grid.others > 0 {
                    " Not shown: " (count_of(grid.others, "change")) " of others."
                }
            }
            details {
                summary { "As a table" }
                (table(request, question, grid))
            }
            (chart_choices(request, question))
        }
    }
}

/// The shade of a number of changes: the darkest has more than half of the most, each lighter one half of the next.
fn level(count: u64, most: u64) -> Option<usize> {
    let darkest = OPACITIES.len() - 1;
    let lighter = (1..=darkest).find(|steps| count > most >> steps);
    (count > 0).then(|| lighter.map_or(0, |steps| darkest + 1 - steps))
}

/// The cells of a shade, as one path.
fn cells(grid: &VolumeGrid, most: u64, shade: usize) -> String {
    let mut path = String::new();
    let side = CELL - GAP;
    for (y, row) in grid.rows.iter().enumerate() {
        for (x, count) in row.counts.iter().enumerate() {
            if level(*count, most) == Some(shade) {
                let (x, y) = (x * CELL, y * CELL);
                // A String accepts every write.
                let _: Result<(), _> = write!(path, "M{x} {y}h{side}v{side}h-{side}z");
            }
        }
    }
    path
}

fn column_label(request: &GrantedRequest, bucket: &VolumeBucket) -> String {
    format!(
        "{}, {}",
        words(bucket.count, bucket.precision),
        span_text(request, bucket)
    )
}

/// A value with a link to its changes, if a filter can select it.
fn linked(request: &GrantedRequest, question: &TimelineQuestion, key: &VolumeKey) -> Markup {
    html! {
        @match question.with_volume_key(request.href("/timeline"), key) {
            Some(href) => a href=(href) { (value(key)) },
            None => (value(key)),
        }
    }
}

/// A line for each span with changes.
fn table(request: &GrantedRequest, question: &TimelineQuestion, grid: &VolumeGrid) -> Markup {
    let spans = grid.buckets.iter().enumerate();
    html! {
        div.scroll tabindex="0" role="region" aria-label="Volume as a table" {
            table {
                thead {
                    tr {
                        th scope="col" { "From" }
                        @for row in &grid.rows { th.number scope="col" { (value(&row.key)) } }
                        th.number scope="col" { "All" }
                    }
                }
                tbody {
                    @for (place, bucket) in spans.filter(|(_, bucket)| bucket.count > 0) {
                        tr {
                            th scope="row" {
                                a href=(bucket_href(request, question, bucket)) { (instant(request, bucket.from)) }
                            }
                            @for row in &grid.rows {
                                td.number { (number(row.counts.get(place).copied().unwrap_or_default())) }
                            }
                            td.number { (words(bucket.count, bucket.precision)) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lighter_shade_has_at_most_half_of_the_next() {
        let levels = [0, 1, 6, 7, 12, 13, 25, 26, 50, 51, 100].map(|count| level(count, 100));
        let expected = [
            None,
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(2),
            Some(2),
            Some(3),
            Some(3),
            Some(4),
            Some(4),
        ];
        assert_eq!(levels, expected);
        assert_eq!(level(1, 1), Some(4));
    }
}
