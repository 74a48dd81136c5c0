//! The trail on a terminal, and as JSON.

use std::io::{self, IsTerminal, Write, stdout};

use comfy_table::{
    Cell, Color, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table,
    TableStyle,
};
use serde::Serialize;
use threadline_diesel::change::{
    AuditAction, AuditChange, AuditTransaction, Op, RecordedActor, TimelineEntry,
};
use threadline_diesel::history::RowMove;
use threadline_diesel::incident::IncidentBundle;
use threadline_diesel::json::StoredJson;
use threadline_diesel::page::Cursor;

/// The width of tables where no terminal says how wide it is.
const PIPED_WIDTH: u16 = 120;

/// A line below the header, and nothing between rows.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// In the place of an actor.
const NOBODY: &str = "— nobody —";

/// Longer values are cut in tables; JSON has them whole.
const SHOWN_CHARS: usize = 40;

/// A change as `--json` and `--ndjson` print it. Stable: fields may be added.
#[derive(Debug, Serialize)]
pub(crate) struct EntryDocument<'a> {
    actor_ref: Option<&'a RecordedActor>,
    changed_fields: Vec<String>,
    change: &'a AuditChange,
    transaction: Option<&'a AuditTransaction>,
    action: Option<&'a AuditAction>,
}

impl<'a> From<&'a TimelineEntry> for EntryDocument<'a> {
    fn from(entry: &'a TimelineEntry) -> Self {
        Self {
            actor_ref: entry.actor(),
            changed_fields: entry.change.changed_fields(),
            change: &entry.change,
            transaction: entry.transaction.as_ref(),
            action: entry.action.as_ref(),
        }
    }
}

pub(crate) fn print_json<T: Serialize>(document: &T) -> io::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)
}

/// One document a line, each as soon as it is known.
pub(crate) fn print_ndjson<T: Serialize>(documents: impl IntoIterator<Item = T>) -> io::Result<()> {
    let mut out = stdout().lock();
    for document in documents {
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
    }
    out.flush()
}

/// A timeline as a table for people.
#[must_use]
pub fn show_timeline(entries: &[TimelineEntry]) -> String {
    show_history(entries, &[])
}

/// The history of a row as a table for people, with its moves between partitions, which are stored as a
/// delete and an insert, in one line each.
pub(crate) fn show_history(entries: &[TimelineEntry], moves: &[RowMove]) -> String {
    let mut table = new_table();
    table.set_header(["when (UTC)", "change", "who", "action", "op", "row", "what"]);
    for entry in entries {
        let id = entry.change.id;
        if moves.iter().any(|one| one.left_id == id) {
            continue;
        }
        let (op, what) = match moves.iter().find(|one| one.arrived_id == id) {
            Some(one) => (
                coloured(Cell::new("moved"), Color::Blue),
                shown_fields(&one.changed_from, entry.change.data_after.as_ref()),
            ),
            None => (op_cell(entry.change.op), shown_change(&entry.change)),
        };
        table.add_row([
            Cell::new(shown_instant(entry.change.captured_at)),
            Cell::new(entry.change.id),
            actor_cell(shown_actor(entry)),
            Cell::new(
                entry
                    .action
                    .as_ref()
                    .map_or_else(String::new, |action| plain(&action.name)),
            ),
            op,
            Cell::new(shown_row(&entry.change)),
            Cell::new(what),
        ]);
    }
    // Only what was done may be wrapped; the rest is made of words.
    for column in table.column_iter_mut().take(5) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.to_string()
}

/// More of a timeline, whose header was shown: it still says how wide columns are at least.
pub(crate) fn show_more_of_timeline(entries: &[TimelineEntry]) -> String {
    let shown = show_timeline(entries);
    let below_the_header = shown
        .lines()
        .skip_while(|line| !line.starts_with('─'))
        .skip(1);
    below_the_header.collect::<Vec<_>>().join("\n")
}

/// Who made a change and why, on one line.
pub(crate) fn show_attribution(entry: &TimelineEntry) -> String {
    let mut text = format!("by {}", shown_actor(entry).replace('\n', " "));
    if let Some(action) = &entry.action {
        text.push_str(" under ");
        text.push_str(&plain(&action.name));
        for why in [&action.reason, &action.comment].into_iter().flatten() {
            text.push_str(": ");
            text.push_str(&plain(why));
        }
    }
    let context = entry.transaction.as_ref().map(shown_context);
    for id in context.iter().flat_map(|context| context.lines()) {
        text.push_str(", ");
        text.push_str(id);
    }
    text
}

pub(crate) fn print_incident(bundle: &IncidentBundle) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{}", show_incident(bundle))
}

/// An incident for people.
#[must_use]
pub fn show_incident(bundle: &IncidentBundle) -> String {
    let transaction = &bundle.transaction;
    let actor = |actor: &Option<RecordedActor>| actor.as_ref().map(ToString::to_string);
    let context = &transaction.context;
    let mut facts = new_table();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.add_row([name.to_owned(), plain(&value)]);
        }
    };
    fact("transaction", Some(transaction.id.to_string()));
    fact("occurred at", Some(transaction.occurred_at.to_string()));
    fact(
        "who",
        Some(actor(&transaction.actor).unwrap_or_else(|| NOBODY.to_owned())),
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
    for action in &bundle.actions {
        let why = [&action.reason, &action.comment]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(": ");
        let by = actor(&action.actor).map_or_else(String::new, |actor| format!(" by {actor}"));
        fact(
            "action",
            Some(
                format!("{}{by} ({}) {why}", action.name, action.status)
                    .trim_end()
                    .to_owned(),
            ),
        );
    }
    let mut changes = new_table();
    changes.set_header(["change", "action", "op", "row", "field", "before", "after"]);
    for change in &bundle.changes {
        let action = bundle
            .actions
            .iter()
            .find(|action| Some(action.id) == change.action_id)
            .map_or_else(String::new, |action| plain(&action.name));
        add_change_rows(&mut changes, change, &action);
    }
    let neighbours = show_neighbours(bundle.next.as_ref(), bundle.previous.as_ref());
    let neighbours = neighbours.trim_end();
    let break_line = if neighbours.is_empty() { "" } else { "\n" };
    format!("{facts}\n\n{changes}{break_line}{neighbours}")
}

/// Transactions as a table for people.
#[must_use]
pub fn show_transactions(transactions: &[AuditTransaction]) -> String {
    let mut table = new_table();
    table.set_header(["begun (UTC)", "who", "context", "transaction"]);
    for transaction in transactions {
        table.add_row([
            Cell::new(shown_instant(transaction.occurred_at)),
            actor_cell(shown_pair(
                transaction.actor.as_ref(),
                transaction.on_behalf_of.as_ref(),
            )),
            Cell::new(shown_context(transaction)),
            Cell::new(transaction.id),
        ]);
    }
    keep_whole(&mut table, &[0, 1, 3]);
    table.to_string()
}

/// The ids of a transaction's context, one a line.
fn shown_context(transaction: &AuditTransaction) -> String {
    [
        ("request", &transaction.request_id),
        ("correlation", &transaction.correlation_id),
        ("job", &transaction.job_id),
    ]
    .into_iter()
    .filter_map(|(name, id)| Some(format!("{name} {}", plain(id.as_deref()?))))
    .collect::<Vec<_>>()
    .join("\n")
}

/// Actions as a table for people.
#[must_use]
pub fn show_actions(actions: &[AuditAction]) -> String {
    let mut table = new_table();
    table.set_header(["when (UTC)", "who", "action", "status", "why"]);
    for action in actions {
        let why = [&action.reason, &action.comment]
            .into_iter()
            .flatten()
            .map(|text| plain(text))
            .collect::<Vec<_>>()
            .join(": ");
        table.add_row([
            Cell::new(shown_instant(action.recorded_at)),
            actor_cell(shown_pair(
                action.actor.as_ref(),
                action.on_behalf_of.as_ref(),
            )),
            Cell::new(plain(&action.name)),
            match action.status.as_str() {
                "error" => coloured(Cell::new("error"), Color::Red),
                other => Cell::new(plain(other)),
            },
            Cell::new(why),
        ]);
    }
    keep_whole(&mut table, &[0, 1, 2, 3]);
    table.to_string()
}

/// Columns that must not be wrapped.
fn keep_whole(table: &mut Table, columns: &[usize]) {
    for (place, column) in table.column_iter_mut().enumerate() {
        if columns.contains(&place) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn shown_instant(instant: chrono::DateTime<chrono::Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn shown_pair(actor: Option<&RecordedActor>, represented: Option<&RecordedActor>) -> String {
    let Some(actor) = actor else {
        return NOBODY.to_owned();
    };
    let actor = plain(&actor.to_string());
    match represented {
        Some(represented) => format!("{actor}\nfor {}", plain(&represented.to_string())),
        None => actor,
    }
}

fn actor_cell(shown: String) -> Cell {
    if shown == NOBODY {
        coloured(Cell::new(shown), Color::Yellow)
    } else {
        Cell::new(shown)
    }
}

fn op_cell(op: Op) -> Cell {
    let color = match op {
        Op::Insert => Color::Green,
        Op::Update => Color::Blue,
        Op::Delete | Op::Truncate => Color::Red,
        _ => return Cell::new(op),
    };
    coloured(Cell::new(op), color)
}

/// A cell in colour, which the table uses on a terminal alone; never where <https://no-color.org>
/// says so.
fn coloured(cell: Cell, color: Color) -> Cell {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if refused { cell } else { cell.fg(color) }
}

/// What follows a list: how to ask for its neighbours.
pub(crate) fn show_neighbours(next: Option<&Cursor>, previous: Option<&Cursor>) -> String {
    [("more", "--after", next), ("before", "--before", previous)]
        .into_iter()
        .filter_map(|(word, flag, cursor)| Some(format!("{word}: {flag} {}\n", cursor?.as_str())))
        .collect()
}

/// A row of the table for each field that a change touched.
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
        shown_row(change),
    ];
    if fields.is_empty() {
        table.add_row(
            head.into_iter()
                .chain(std::iter::repeat_n(String::new(), 3)),
        );
        return;
    }
    for (name, value) in fields {
        let value = shown_value(&value);
        let (before, after) = match change.op {
            Op::Delete => (value, String::new()),
            Op::Update => (value, shown_field(change.data_after.as_ref(), &name)),
            _ => (String::new(), value),
        };
        let cells = std::mem::take(&mut head).into_iter();
        table.add_row(cells.chain([plain(&name), before, after]));
    }
}

/// An empty table in this program's style.
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

fn shown_row(change: &AuditChange) -> String {
    let table = if change.table_schema == "public" {
        change.table_name.clone()
    } else {
        format!("{}.{}", change.table_schema, change.table_name)
    };
    match change.shown_key() {
        key if key.is_empty() => plain(&table),
        key => plain(&format!("{table} {key}")),
    }
}

/// Who made a change, and for whom.
fn shown_actor(entry: &TimelineEntry) -> String {
    shown_pair(entry.actor(), entry.on_behalf_of())
}

/// A text without what a terminal would act on.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '␣' } else { c })
        .collect()
}

/// What a change did, in a cell.
fn shown_change(change: &AuditChange) -> String {
    match change.op {
        Op::Update => change
            .changed_from
            .as_ref()
            .map_or_else(String::new, |from| {
                shown_fields(from, change.data_after.as_ref())
            }),
        Op::Truncate => "all rows".to_owned(),
        Op::Delete => shown_image(change, change.changed_from.as_ref()),
        _ => shown_image(change, change.data_after.as_ref()),
    }
}

/// What changed, a field a line.
fn shown_fields(from: &StoredJson, after: Option<&StoredJson>) -> String {
    let mut fields = from.fields();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
        .iter()
        .map(|(name, before)| {
            format!(
                "{}: {} → {}",
                plain(name),
                shown_value(before),
                shown_field(after, name)
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The fields of an image that hold something, but for the key, which is shown by itself.
fn shown_image(change: &AuditChange, image: Option<&StoredJson>) -> String {
    let key = change.table_pk.as_ref();
    let is_key = |name: &str| key.is_some_and(|key| key.field(name).is_some());
    image
        .map(StoredJson::fields)
        .unwrap_or_default()
        .iter()
        .filter(|(name, value)| !value.is_null() && !is_key(name))
        .map(|(name, value)| format!("{}={}", plain(name), shown_value(value)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn shown_field(image: Option<&StoredJson>, name: &str) -> String {
    image
        .and_then(|image| image.field(name))
        .map_or_else(|| "?".to_owned(), |value| shown_value(&value))
}

/// A value on one line, without what a terminal would act on.
pub(crate) fn shown_value(value: &StoredJson) -> String {
    let text = plain(&value.to_text());
    if text.chars().count() > SHOWN_CHARS {
        let cut: String = text.chars().take(SHOWN_CHARS - 1).collect();
        format!("{cut}…")
    } else {
        text
    }
}
