//! The volume of a timeline by table, actor or operation, as bars.

use maud::{Markup, html};
use threadline_diesel::query::{ChangeCount, GroupedVolume, VolumeKey};

use super::chart::chart_choices;
use super::number::{count_of, number};
use super::op::op;
use crate::question::TimelineQuestion;
use crate::request::GrantedRequest;

/// A table with a bar for each value, which links to its changes.
pub(crate) fn group_chart(
    request: &GrantedRequest,
    question: &TimelineQuestion,
    volume: &GroupedVolume,
) -> Markup {
    let Some(most) = volume.groups.first() else {
        return html! { p.note { "No changes in this window." } (chart_choices(request, question)) };
    };
    let title = question.chart_by.title();
    html! {
        figure.chart {
            div.scroll tabindex="0" role="region" aria-label={ "Volume by " (question.chart_by.as_str()) } {
                table {
                    thead { tr { th scope="col" { (title) } th.number scope="col" { "Changes" } } }
                    tbody {
                        @for group in &volume.groups {
                            tr {
                                th scope="row" {
                                    @match question.with_volume_key(request.href("/timeline"), &group.key) {
                                        Some(href) => a href=(href) { (value(&group.key)) },
                                        None => (value(&group.key)),
                                    }
                                }
                                td.number {
                                    (number(group.count))
                                    svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
                                        rect width=(group.count * 100 / most.count) height="1" {}
                                    }
                                }
                            }
                        }
                        @if volume.others > 0 {
                            tr { th scope="row" { "others" } td.number { (number(volume.others)) } }
                        }
                    }
                }
            }
            figcaption { (counted(volume.total)) }
            (chart_choices(request, question))
        }
    }
}

/// How many changes are counted, and whether there are more.
pub(super) fn counted(total: ChangeCount) -> Markup {
    html! {
        @match total {
            ChangeCount::Exact(count) => { (count_of(count, "change")) "." }
            ChangeCount::AtLeast(count) => {
                "The newest " (count_of(count, "change")) " are counted; there are more. A shorter window helps."
            }
        }
    }
}

/// A value in words.
pub(super) fn value(key: &VolumeKey) -> Markup {
    html! {
        @match key {
            VolumeKey::Table(table) => bdi { (table) },
            VolumeKey::Actor(Some(actor)) => bdi { (actor) },
            VolumeKey::Actor(None) => "unattributed",
            VolumeKey::Op(one) => (op(*one)),
            _ => "other",
        }
    }
}
