//! Incidents on a terminal.

use comfy_table::Table;
use threadline_diesel::json::StoredJson;
use threadline_diesel::models::RecordedActor;
use threadline_diesel::query::IncidentBundle;
use threadline_diesel::{AuditAction, AuditChange, AuditTransaction, Op};

use super::page::show_cursors;
use super::table::{NO_ACTOR, new_table, show_reason};
use super::text::escape;
use super::timeline::{show_field, show_row, show_value};

/// An incident for people.
#[must_use]
pub fn show_incident(bundle: &IncidentBundle) -> String {
    let mut changes = new_table();
    changes.set_header(["change", "action", "op", "row", "field", "before", "after"]);
    for change in &bundle.changes {
        let action = bundle
            .actions
            .iter()
            .find(|action| Some(action.id) == change.action_id)
            .map_or_else(String::new, |action| escape(&action.name));
        add_change_rows(&mut changes, change, &action);
    }
    let facts = facts_table(&bundle.transaction, &bundle.actions);
    let cursors = show_cursors(bundle.next.as_ref(), bundle.previous.as_ref());
    let cursors = cursors.trim_end();
    let line_break = if cursors.is_empty() { "" } else { "\n" };
    format!("{facts}\n\n{changes}{line_break}{cursors}")
}

/// The transaction and its actions, one fact per row.
fn facts_table(transaction: &AuditTransaction, actions: &[AuditAction]) -> Table {
    let actor = |actor: &Option<RecordedActor>| actor.as_ref().map(ToString::to_string);
    let context = &transaction.context;
    let mut facts = new_table();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.add_row([name.to_owned(), escape(&value)]);
        }
    };
    fact("transaction", Some(transaction.id.to_string()));
    fact("occurred at", Some(transaction.occurred_at.to_string()));
    fact(
        "who",
        Some(actor(&transaction.actor).unwrap_or_else(|| NO_ACTOR.to_owned())),
    );
    fact("on behalf of", actor(&transaction.on_behalf_of));
    fact("request", transaction.request_id.clone());
    fact("correlation", transaction.correlation_id.clone());
    fact("job", transaction.job_id.clone());
    fact("source", context.source.clone());
    fact("remote address", context.remote_addr.clone());
    fact("meta", context.meta.as_ref().map(ToString::to_string));
    fact("malformed context", context.context_error.clone());
    fact(
        "database session",
        Some(format!(
            "{} {} (pid {})",
            transaction.db_user,
            transaction.application_name.as_deref().unwrap_or_default(),
            transaction.backend_pid
        )),
    );
    for action in actions {
        let by = actor(&action.actor).map_or_else(String::new, |actor| format!(" by {actor}"));
        let text = format!(
            "{}{by} ({}) {}",
            action.name,
            action.status,
            show_reason(action)
        );
        fact("action", Some(text.trim_end().to_owned()));
    }
    facts
}

/// Adds a row for each field that a change touched.
fn add_change_rows(table: &mut Table, change: &AuditChange, action: &str) {
    let image = match change.op {
        Op::Delete | Op::Update => &change.changed_from,
        _ => &change.data_after,
    };
    let mut fields = image.as_ref().map(StoredJson::fields).unwrap_or_default();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut head = [
        change.id.to_string(),
        action.to_owned(),
        change.op.to_string(),
        show_row(change),
    ];
    if fields.is_empty() {
        table.add_row(
            head.into_iter()
                .chain(std::iter::repeat_n(String::new(), 3)),
        );
        return;
    }
    for (name, value) in fields {
        let value = show_value(&value);
        let (before, after) = match change.op {
            Op::Delete => (value, String::new()),
            Op::Update => (value, show_field(change.data_after.as_ref(), &name)),
            _ => (String::new(), value),
        };
        let cells = std::mem::take(&mut head).into_iter();
        table.add_row(cells.chain([escape(&name), before, after]));
    }
}
