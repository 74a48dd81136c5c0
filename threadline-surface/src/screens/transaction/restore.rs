//! The SQL that restores the rows that a transaction deleted.

use maud::{Markup, html};
use threadline_core::row_key::RowKeyInput;
use threadline_diesel::models::StoredJson;
use threadline_diesel::query::TransactionChanges;
use threadline_diesel::{AuditChange, Op, Restore, RestorePlan, resolve_key};

use super::summary::table_of;
use crate::access::Capability;
use crate::href::Href;
use crate::page_error::PageError;
use crate::request::PageContext;
use crate::view::restore::{Restoration, read, restoration};

/// The number of deleted rows for which statements are written.
const MAX_ROWS: usize = 20;

/// The statements for the deletes of a page, or the link to them. None without a delete.
pub(super) async fn section(
    context: &mut PageContext<'_>,
    found: &TransactionChanges,
    list: &Href,
    is_open: bool,
) -> Result<Markup, PageError> {
    let deletes: Vec<_> = (found.changes.entries.iter())
        .map(|entry| &entry.change)
        .filter(|change| change.op == Op::Delete && change.table_pk.is_some())
        .collect();
    if deletes.is_empty() || !context.request.allows(Capability::Values) {
        return Ok(html! {});
    }
    if !is_open {
        return Ok(html! {
            h2 id="restore" { "Restore" }
            p { a.button href=(list.clone().with("restore", true)) { "Restore statements of the deleted rows" } }
        });
    }
    let answers = plans(context, &deletes).await?;
    Ok(html! {
        h2 id="restore" { "Restore" }
        p { "Review the SQL, then run it in psql. The console does not run it." }
        @for (row, answer) in &answers {
            details open[answers.len() == 1] {
                summary { bdi { (row) } }
                (restoration(answer))
            }
        }
        @if deletes.len() > MAX_ROWS {
            p.note { "These are the statements of the first " (MAX_ROWS) " deleted rows of this page." }
        }
    })
}

/// The plans of deleted rows. A plan that restores a row with its children replaces the plans of these.
async fn plans(
    context: &mut PageContext<'_>,
    deletes: &[&AuditChange],
) -> Result<Vec<(String, Restoration)>, PageError> {
    let is_scoped = context.request.scope().is_some();
    let mut answers: Vec<(String, Restoration)> = Vec::new();
    for change in deletes.iter().take(MAX_ROWS) {
        let (table, title) = (
            table_of(change),
            format!("{} {}", table_of(change), change.shown_key()),
        );
        let pairs = key_pairs(change.table_pk.as_ref());
        let key = match RowKeyInput::from_pairs(&pairs) {
            Ok(key) => resolve_key(context.conn, &table, &key).await.ok(),
            Err(_) => None,
        };
        let Some(key) = key else {
            let why = "The key of the row is not that of the table any more.".to_owned();
            answers.push((title, Restoration::Refused(why)));
            continue;
        };
        let is_restored = |(_, answer): &(String, Restoration)| match answer {
            Restoration::Plan(plan) => (plan.statements.iter())
                .any(|one| one.table == table && one.row_key == key.as_str()),
            Restoration::Refused(_) => false,
        };
        if answers.iter().any(is_restored) {
            continue;
        }
        let query = Restore::new(table.clone(), &key);
        let query = if is_scoped {
            query
        } else {
            query.with_children()
        };
        let answer = read(context, &query).await?;
        if let Restoration::Plan(plan) = &answer {
            answers.retain(|(_, earlier)| !is_part(earlier, plan));
        }
        answers.push((title, answer));
    }
    Ok(answers)
}

fn key_pairs(key: Option<&StoredJson>) -> Vec<String> {
    let fields = key.map(StoredJson::fields).unwrap_or_default();
    let pairs = fields.iter();
    pairs
        .map(|(name, value)| format!("{name}={}", value.to_text()))
        .collect()
}

/// Whether all rows of an answer are restored by another plan.
fn is_part(answer: &Restoration, plan: &RestorePlan) -> bool {
    let Restoration::Plan(part) = answer else {
        return false;
    };
    part.statements.iter().all(|row| {
        let mut rows = plan.statements.iter();
        rows.any(|one| one.table == row.table && one.row_key == row.row_key)
    })
}
