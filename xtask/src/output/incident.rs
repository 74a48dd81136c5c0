//! Incidents on a terminal.

use threadline_diesel::json::StoredJson;
use threadline_diesel::models::RecordedActor;
use threadline_diesel::query::IncidentBundle;
use threadline_diesel::{AuditAction, AuditChange, AuditTransaction, Op};

use super::list::{Column, ListEntry, Text, show_list};
use super::page::show_cursors;
use super::table::{NO_ACTOR, show_reason};
use super::text::{escape, show_exact_instant, wrap_for_terminal};
use super::timeline::{op_text, show_field, show_row, show_value};

/// The width of the names of facts.
const FACT_NAME_WIDTH: usize = 18;

/// An incident for people.
#[must_use]
pub fn show_incident(bundle: &IncidentBundle) -> String {
    let columns = [
        Column::whole("change"),
        Column::wrapped("action"),
        Column::whole("op"),
        Column::wrapped("row"),
        Column::wrapped("field"),
        Column::wrapped("before"),
        Column::wrapped("after"),
    ];
    let entries: Vec<_> = bundle
        .changes
        .iter()
        .map(|change| {
            let action = bundle
                .actions
                .iter()
                .find(|action| Some(action.id) == change.action_id)
                .map_or_else(String::new, |action| escape(&action.name));
            list_entry(change, action)
        })
        .collect();
    let facts = show_facts(&bundle.transaction, &bundle.actions);
    let changes = show_list(&columns, &entries);
    let cursors = show_cursors(bundle.next.as_ref(), bundle.previous.as_ref(), "");
    let cursors = cursors.trim_end();
    let line_break = if cursors.is_empty() { "" } else { "\n" };
    format!("{facts}\n{changes}{line_break}{cursors}")
}

/// The transaction and its actions, one fact per line.
fn show_facts(transaction: &AuditTransaction, actions: &[AuditAction]) -> String {
    let actor = |actor: &Option<RecordedActor>| actor.as_ref().map(ToString::to_string);
    let context = &transaction.context;
    let mut facts = String::new();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let line = format!("{name:FACT_NAME_WIDTH$}{}", escape(&value));
            facts.push_str(&wrap_for_terminal(&line, FACT_NAME_WIDTH));
            facts.push('\n');
        }
    };
    fact("transaction", Some(transaction.id.to_string()));
    fact(
        "occurred at",
        Some(show_exact_instant(transaction.occurred_at)),
    );
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

/// A change with a row, or a line, for each field that it touched.
fn list_entry(change: &AuditChange, action: String) -> ListEntry {
    let image = match change.op {
        Op::Delete | Op::Update => &change.changed_from,
        _ => &change.data_after,
    };
    let mut fields = image.as_ref().map(StoredJson::fields).unwrap_or_default();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut cells: Vec<Text> = vec![
        change.id.to_string().into(),
        action.as_str().into(),
        op_text(change.op),
        show_row(change).into(),
    ];
    let mut entry = ListEntry {
        head: vec![
            format!("change {}", change.id).into(),
            action.into(),
            op_text(change.op),
            show_row(change).into(),
        ],
        ..ListEntry::default()
    };
    if fields.is_empty() {
        cells.extend(std::iter::repeat_n(Text::default(), 3));
        entry.rows.push(cells);
        return entry;
    }
    for (name, value) in fields {
        let value = show_value(&value);
        let (before, after) = match change.op {
            Op::Delete => (value, String::new()),
            Op::Update => (value, show_field(change.data_after.as_ref(), &name)),
            _ => (String::new(), value),
        };
        let name = escape(&name);
        let values = [before.as_str(), after.as_str()];
        let values: Vec<_> = values.into_iter().filter(|text| !text.is_empty()).collect();
        entry
            .details
            .push(format!("{name}: {}", values.join(" → ")));
        cells.extend([name.into(), before.into(), after.into()]);
        // The other rows of the change repeat nothing.
        let row = std::mem::replace(&mut cells, vec![Text::default(); 4]);
        entry.rows.push(row);
    }
    entry
}
