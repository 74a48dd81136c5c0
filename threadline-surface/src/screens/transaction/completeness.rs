//! What the answer about a transaction may not have: changes of suspended tables, and removed ones.

use chrono::TimeDelta;
use maud::{Markup, html};
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::query::{RemovalTarget, TrailRecords};
use threadline_diesel::{AuditTransaction, removals, suspensions};

use crate::page_error::PageError;
use crate::request::PageContext;
use crate::view::completeness::{is_hidden, scoped_note};

/// The facts that make the answer about a transaction incomplete.
pub(super) enum Completeness {
    /// The grant does not show them.
    Scoped,
    /// One sentence for each fact.
    Facts(Vec<String>),
}

pub(super) async fn read(
    context: &mut PageContext<'_>,
    transaction: &AuditTransaction,
) -> Result<Completeness, PageError> {
    if is_hidden(context.request) {
        return Ok(Completeness::Scoped);
    }
    let at = transaction.occurred_at;
    let hour = TimeDelta::hours(1);
    // Capture may be suspended before the first change is captured, or after it.
    let near = TrailRecords::new().from(at - hour).to(at + hour);
    let mut found = Vec::new();
    for one in suspensions(context.conn, &near).await? {
        if one.transaction_id == AuditTransactionId::from(transaction.id) {
            let tables: Vec<_> = one.tables.iter().map(ToString::to_string).collect();
            found.push(format!(
                "Capture of {} was suspended in this transaction by {}: {}",
                tables.join(", "),
                one.suspended_by,
                one.reason
            ));
        }
    }
    for removal in removals(context.conn, &TrailRecords::new().from(at)).await? {
        let RemovalTarget::Retention { cutoffs } = &removal.target else {
            continue;
        };
        let concerned = cutoffs.iter().filter(|cutoff| cutoff.before > at);
        let tables: Vec<_> = concerned.map(|cutoff| cutoff.table.to_string()).collect();
        if !tables.is_empty() {
            found.push(format!(
                "Retention removed changes of {} that are as old as this transaction",
                tables.join(", ")
            ));
        }
    }
    Ok(Completeness::Facts(found))
}

pub(super) fn note(facts: &Completeness) -> Markup {
    html! {
        @match facts {
            Completeness::Scoped => (scoped_note()),
            Completeness::Facts(facts) if facts.is_empty() => p.completeness {
                "Complete for captured tables: no suspension in this transaction and no removal is recorded."
            },
            Completeness::Facts(facts) => div.completeness.gaps {
                ul { @for fact in facts { li { bdi { (fact) } } } }
            },
        }
    }
}
