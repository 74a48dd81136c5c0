//! The completeness note: what an answer about tables does not know.

use std::slice;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::coverage::{CoverageReport, Severity};
use threadline_diesel::query::{CaptureGap, GapKind, TableCompleteness};
use threadline_diesel::table_completeness;

use super::instant::instant;
use crate::access::Capability;
use crate::page_error::PageError;
use crate::question::{GivenInstant, Window};
use crate::request::{GrantedRequest, PageContext};

/// What is known of the completeness of an answer about tables, in a window.
#[derive(Debug)]
pub(crate) enum Completeness {
    /// The reader has a scope; the facts are of whole tables.
    Scoped,
    /// The trails of the tables.
    Tables {
        tables: Vec<TableCompleteness>,
        /// The errors of the last check of coverage about these tables.
        errors: Vec<(TableName, String)>,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
    },
}

impl Completeness {
    /// The facts of an answer about one table; none under a scope.
    pub(crate) fn table(&self) -> Option<&TableCompleteness> {
        match self {
            Self::Tables { tables, .. } => tables.first(),
            Self::Scoped => None,
        }
    }
}

/// Reads the facts of a table, at any time.
pub(crate) async fn read(
    context: &mut PageContext<'_>,
    table: &TableName,
) -> Result<Completeness, PageError> {
    read_tables(context, slice::from_ref(table), None, None).await
}

/// Reads the facts of all captured tables in a window, for an answer with changes of any table.
pub(crate) async fn read_captured(
    context: &mut PageContext<'_>,
    window: &Window,
) -> Result<Completeness, PageError> {
    if is_hidden(context.request) {
        return Ok(Completeness::Scoped);
    }
    let rules = context.rules().await?;
    let tables: Vec<_> = rules.iter().map(AuditedTable::name).cloned().collect();
    let instant = |end: &Option<GivenInstant>| end.as_ref().map(|end| end.instant);
    read_tables(context, &tables, instant(&window.from), instant(&window.to)).await
}

/// Whether the facts are hidden: under a scope, unless the grant has the capability `coverage`.
pub(crate) fn is_hidden(request: &GrantedRequest) -> bool {
    request.scope().is_some() && !request.allows(Capability::Coverage)
}

/// Reads the facts of tables in a window, in one statement, unless they are hidden.
pub(crate) async fn read_tables(
    context: &mut PageContext<'_>,
    tables: &[TableName],
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<Completeness, PageError> {
    let request = context.request;
    if is_hidden(request) {
        return Ok(Completeness::Scoped);
    }
    let last = request.settings.coverage.last();
    let errors = last.map(|last| errors_of(&last.report, tables));
    Ok(Completeness::Tables {
        tables: table_completeness(context.conn, tables).await?,
        errors: errors.unwrap_or_default(),
        from,
        to,
    })
}

fn errors_of(report: &CoverageReport, tables: &[TableName]) -> Vec<(TableName, String)> {
    let errors = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors
        .filter_map(|finding| {
            let table = finding.table.as_ref().filter(|one| tables.contains(one))?;
            Some((table.clone(), finding.explanation.clone()))
        })
        .collect()
}

/// Whether changes of a window may be missing because of a gap.
fn concerns(gap: &CaptureGap, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> bool {
    let end = match gap.kind {
        GapKind::Suspended => gap.to.or(gap.from),
        _ => gap.to,
    };
    let is_before = from.zip(end).is_some_and(|(from, end)| end < from);
    let is_after = to.zip(gap.from).is_some_and(|(to, begin)| begin > to);
    !is_before && !is_after
}

/// The note under the heading of an answer about tables.
pub(crate) fn completeness_note(request: &GrantedRequest, facts: &Completeness) -> Markup {
    let Completeness::Tables {
        tables,
        errors,
        from,
        to,
    } = facts
    else {
        return scoped_note();
    };
    let is_single = tables.len() == 1;
    let gaps: Vec<_> = tables
        .iter()
        .flat_map(|table| table.gaps.iter().map(move |gap| (&table.table, gap)))
        .filter(|(_, gap)| concerns(gap, *from, *to))
        .collect();
    let is_late = |table: &&TableCompleteness| {
        let is_after = |since| from.is_some_and(|from| since > from);
        table.known_since.is_none_or(is_after)
    };
    let late: Vec<_> = tables.iter().filter(is_late).collect();
    let is_complete = late.is_empty() && gaps.is_empty() && errors.is_empty();
    html! {
        div.completeness.gaps[!is_complete] {
            @if let [table] = tables.as_slice() {
                p { (table_sentence(request, table, *from, is_complete)) }
            } @else {
                (tables_sentence(request, tables, *from, &late, is_complete))
            }
            (coverage_errors(request, errors, is_single))
            @if !gaps.is_empty() {
                details {
                    summary { (gaps.len()) " recorded gap" @if gaps.len() > 1 { "s" } }
                    ul {
                        @for (table, gap) in &gaps {
                            li { @if !is_single { bdi { (table) } ": " } bdi { (gap) } }
                        }
                    }
                }
            }
        }
    }
}

/// The note for a reader who may not see the facts.
pub(crate) fn scoped_note() -> Markup {
    html! {
        p.completeness {
            "You see the records in your scope. Your grant does not show whether records are missing from the trail."
        }
    }
}

/// The largest number of coverage errors that are not folded.
const OPEN_ERRORS: usize = 2;

fn coverage_errors(
    request: &GrantedRequest,
    errors: &[(TableName, String)],
    is_single: bool,
) -> Markup {
    let error = |(table, explanation): &(TableName, String)| {
        html! {
            span.token.warning { "coverage error" } " "
            @if !is_single { bdi { (table) } ": " }
            bdi { (explanation) } ". "
            @if let Some(href) = request.screen("coverage") { a href=(href) { "Coverage" } }
        }
    };
    html! {
        @if errors.len() <= OPEN_ERRORS {
            @for one in errors { p { (error(one)) } }
        } @else {
            details {
                summary { (errors.len()) " coverage errors" }
                ul { @for one in errors { li { (error(one)) } } }
            }
        }
    }
}

fn table_sentence(
    request: &GrantedRequest,
    table: &TableCompleteness,
    from: Option<DateTime<Utc>>,
    is_complete: bool,
) -> Markup {
    html! {
        @match table.known_since {
            None => "This table was never captured.",
            Some(since) => {
                @if is_complete && from.is_some() { "Complete in this window. " }
                "Changes are known since " (instant(request, since))
                @if from.is_some_and(|from| since > from) { ", which is after the start of the window" }
                @if is_complete { ", without a recorded gap" }
                "."
            }
        }
    }
}

fn tables_sentence(
    request: &GrantedRequest,
    tables: &[TableCompleteness],
    from: Option<DateTime<Utc>>,
    late: &[&TableCompleteness],
    is_complete: bool,
) -> Markup {
    let latest = tables.iter().filter_map(|table| table.known_since).max();
    html! {
        @if tables.is_empty() {
            p { "No table is captured." }
        } @else if !late.is_empty() {
            details {
                summary {
                    (late.len()) " of " (tables.len()) " tables "
                    @if from.is_some() { "are not known from the start of the window" } @else { "were never captured" }
                }
                ul {
                    @for table in late {
                        li {
                            bdi { (table.table) } ": "
                            @match table.known_since {
                                Some(since) => { "known since " (instant(request, since)) }
                                None => "never captured",
                            }
                        }
                    }
                }
            }
        } @else {
            p {
                @match (from, latest) {
                    (None, Some(latest)) => {
                        "Changes of all " (tables.len()) " tables are known since " (instant(request, latest))
                    }
                    _ => {
                        @if is_complete { "Complete in this window: all " } @else { "All " }
                        (tables.len()) " tables were captured before it began"
                    }
                }
                @if is_complete { ", without a recorded gap" }
                "."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_outside_of_the_window_do_not_concern_it() {
        let at = |hour: u32| -> DateTime<Utc> {
            format!("2026-03-01T{hour:02}:00:00Z").parse().unwrap()
        };
        let gap = |kind: &str, from: Option<u32>, to: Option<u32>| -> CaptureGap {
            serde_json::from_value(serde_json::json!({
                "kind": kind, "from": from.map(at), "to": to.map(at), "recorded_by": "x",
                "reason": null, "columns": [], "table_was_empty": null, "baselined_at": null,
                "first_id": 1, "last_id": null,
            }))
            .unwrap()
        };
        let window = |gap: &CaptureGap| concerns(gap, Some(at(10)), Some(at(12)));
        assert!(window(&gap("disabled", Some(8), None)));
        assert!(window(&gap("disabled", Some(8), Some(11))));
        assert!(window(&gap("removed", None, Some(11))));
        assert!(window(&gap("suspended", Some(11), None)));
        assert!(!window(&gap("disabled", Some(8), Some(9))));
        assert!(!window(&gap("removed", None, Some(9))));
        assert!(!window(&gap("suspended", Some(9), None)));
        assert!(!window(&gap("disabled", Some(13), None)));
        assert!(concerns(&gap("suspended", Some(9), None), None, None));
    }
}
