//! Tables on a terminal: transactions, actions, and the cells they share with other tables.

use std::io::{IsTerminal, stdout};

use comfy_table::{
    Cell, Color, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table,
    TableStyle,
};
use threadline_diesel::models::RecordedActor;
use threadline_diesel::{AuditAction, AuditTransaction};

use super::text::{escape, show_instant};

/// The width of tables if standard output is not a terminal.
const PIPED_WIDTH: u16 = 120;

/// A line below the header, and none between rows.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// Shown instead of an actor if there is none.
pub(crate) const NO_ACTOR: &str = "— nobody —";

/// An empty table.
pub(crate) fn new_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !stdout().is_terminal() {
        table.set_width(PIPED_WIDTH);
    }
    table
}

/// Prevents line breaks in columns, given by index.
pub(crate) fn keep_whole(table: &mut Table, columns: &[usize]) {
    for (index, column) in table.column_iter_mut().enumerate() {
        if columns.contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// A coloured cell. The table omits colours if standard output is not a terminal; this function omits them
/// if `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn coloured(cell: Cell, color: Color) -> Cell {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if refused { cell } else { cell.fg(color) }
}

/// An actor, and on a second line the actor it represents.
pub(crate) fn show_actors(
    actor: Option<&RecordedActor>,
    on_behalf_of: Option<&RecordedActor>,
) -> String {
    let Some(actor) = actor else {
        return NO_ACTOR.to_owned();
    };
    let actor = escape(&actor.to_string());
    match on_behalf_of {
        Some(represented) => format!("{actor}\nfor {}", escape(&represented.to_string())),
        None => actor,
    }
}

/// The cell of [`show_actors`].
pub(crate) fn actor_cell(shown: String) -> Cell {
    if shown == NO_ACTOR {
        coloured(Cell::new(shown), Color::Yellow)
    } else {
        Cell::new(shown)
    }
}

/// The reason and comment of an action, unescaped.
pub(crate) fn show_reason(action: &AuditAction) -> String {
    [&action.reason, &action.comment]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Transactions as a table for people.
#[must_use]
pub fn show_transactions(transactions: &[AuditTransaction]) -> String {
    let mut table = new_table();
    table.set_header(["begun (UTC)", "who", "context", "transaction"]);
    for transaction in transactions {
        table.add_row([
            Cell::new(show_instant(transaction.occurred_at)),
            actor_cell(show_actors(
                transaction.actor.as_ref(),
                transaction.on_behalf_of.as_ref(),
            )),
            Cell::new(show_context(transaction)),
            Cell::new(transaction.id),
        ]);
    }
    keep_whole(&mut table, &[0, 1, 3]);
    table.to_string()
}

/// The ids in the context of a transaction, one per line.
pub(crate) fn show_context(transaction: &AuditTransaction) -> String {
    [
        ("request", &transaction.request_id),
        ("correlation", &transaction.correlation_id),
        ("job", &transaction.job_id),
    ]
    .into_iter()
    .filter_map(|(name, id)| Some(format!("{name} {}", escape(id.as_deref()?))))
    .collect::<Vec<_>>()
    .join("\n")
}

/// Actions as a table for people.
#[must_use]
pub fn show_actions(actions: &[AuditAction]) -> String {
    let mut table = new_table();
    table.set_header(["when (UTC)", "who", "action", "status", "why"]);
    for action in actions {
        table.add_row([
            Cell::new(show_instant(action.recorded_at)),
            actor_cell(show_actors(
                action.actor.as_ref(),
                action.on_behalf_of.as_ref(),
            )),
            Cell::new(escape(&action.name)),
            match action.status.as_str() {
                "error" => coloured(Cell::new("error"), Color::Red),
                other => Cell::new(escape(other)),
            },
            Cell::new(escape(&show_reason(action))),
        ]);
    }
    keep_whole(&mut table, &[0, 1, 2, 3]);
    table.to_string()
}
