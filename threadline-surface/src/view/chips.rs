//! The filters in force, each with a link that removes it.

use maud::{Markup, html};

use super::filter_words::filter_words;
use super::window::preset_href;
use crate::question::TimelineQuestion;
use crate::request::GrantedRequest;

/// The filters of a timeline.
pub(crate) fn chips(request: &GrantedRequest, question: &TimelineQuestion) -> Markup {
    let path = || request.href("/timeline");
    let pairs: Vec<_> = question
        .filters
        .pairs()
        .into_iter()
        .filter(|(name, _)| !(question.is_window_added && *name == "from"))
        .collect();
    let is_empty = pairs.is_empty() && !question.is_window_added && question.fixed.is_none();
    html! {
        @if !is_empty {
            ul.chips aria-label="Filters" {
                @for (name, value) in &pairs {
                    @let words = name.replace('_', " ");
                    li {
                        (filter_words(name, value)) " "
                        a href=(question.without(path(), name)) aria-label={ "Remove the filter " (words) } { "✕" }
                    }
                }
                @if question.is_window_added {
                    li.added {
                        "last 24 hours only: no index serves these filters. Or: "
                        @for window in ["7d", "30d"] {
                            a href=(preset_href(request, question, window)) { (window) } " "
                        }
                        a href=(question.with_window(path(), None, None)) { "all" }
                    }
                }
                @if let Some(fixed) = &question.fixed {
                    li {
                        "fixed at " (fixed.at.format("%H:%MZ")) " · "
                        a href=(question.live_list(path(), fixed)) { "live again" }
                    }
                }
            }
        }
    }
}
