//! The completeness note: what an answer about a table does not know.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::query::CaptureGap;
use threadline_diesel::{audit_horizon, capture_gaps};

use super::instant::instant;
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};

/// What is known of the completeness of a table's trail.
#[derive(Debug)]
pub(crate) enum Completeness {
    /// The reader has a scope; these facts are of the whole table.
    Scoped,
    /// The trail of the table.
    Table {
        /// The instant from which changes are known; none if the table was never captured.
        horizon: Option<DateTime<Utc>>,
        /// The times without capture, erasures and removals.
        gaps: Vec<CaptureGap>,
    },
}

/// Reads the facts of a table.
pub(crate) async fn read(
    context: &mut PageContext<'_>,
    table: &TableName,
) -> Result<Completeness, PageError> {
    if context.request.scope().is_some() {
        return Ok(Completeness::Scoped);
    }
    Ok(Completeness::Table {
        horizon: audit_horizon(context.conn, table).await?,
        gaps: capture_gaps(context.conn, table).await?,
    })
}

/// The note under the heading of an answer about a table.
pub(crate) fn completeness_note(request: &GrantedRequest, facts: &Completeness) -> Markup {
    let Completeness::Table { horizon, gaps } = facts else {
        return html! { p.completeness { "Within your scope." } };
    };
    html! {
        div.completeness {
            p {
                @match horizon {
                    Some(since) => { "Changes are known since " (instant(request, *since)) }
                    None => "This table was never captured.",
                }
                @if horizon.is_some() && gaps.is_empty() { ", without a recorded gap" }
                "."
            }
            @if !gaps.is_empty() {
                details {
                    summary { (gaps.len()) " recorded gap" @if gaps.len() > 1 { "s" } }
                    ul { @for gap in gaps { li { bdi { (gap) } } } }
                }
            }
        }
    }
}
