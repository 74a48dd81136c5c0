//! Explains which filters made a list empty: an actor or action that is not recorded, a window without
//! changes, a value that a column never had.

use diesel_async::AsyncPgConnection;
use threadline_core::actor::ActorRef;
use threadline_core::row_key::RowKeyText;
use threadline_diesel::query::{ColumnName, Order};
use threadline_diesel::{Actions, FieldHistory, PageSize, Timeline, TimelineEntry, Transactions};

use super::empty_answer::similar_hint;
use crate::args::TimelineFilterArgs;
use crate::exit::Failure;
use crate::output::text::{print_note, show_instant};
use crate::output::timeline::show_value;

/// How many transactions or actions are searched for similar actors and names.
const RECENT: u32 = 1_000;

/// How many values of a column are shown.
const VALUES: usize = 5;

/// How many changes are searched for values of a column.
const VALUE_CHANGES: u32 = 50;

/// Explains the empty timeline of these filters on standard error.
pub(super) async fn explain_timeline(
    conn: &mut AsyncPgConnection,
    filters: &TimelineFilterArgs,
    row_key: Option<&RowKeyText>,
) -> Result<(), Failure> {
    if let Some(actor) = &filters.actor {
        explain_actor(conn, actor).await?;
    }
    if let Some(name) = &filters.action {
        explain_action(conn, name).await?;
    }
    if filters.from.is_some() || filters.to.is_some() {
        explain_window(conn, filters, row_key).await?;
    }
    Ok(())
}

/// Names similar actors if nothing by this actor is recorded.
pub(super) async fn explain_actor(
    conn: &mut AsyncPgConnection,
    actor: &ActorRef,
) -> Result<(), Failure> {
    let changes = Timeline::new().actor(actor.clone()).page_size(size(1));
    let actions = Actions::new().actor(actor.clone()).page_size(size(1));
    if !threadline_diesel::timeline(conn, &changes)
        .await?
        .entries
        .is_empty()
        || !threadline_diesel::actions(conn, &actions)
            .await?
            .entries
            .is_empty()
    {
        return Ok(());
    }
    let recent = Transactions::new().page_size(size(RECENT));
    let recent = threadline_diesel::transactions(conn, &recent).await?;
    let actors = recent
        .entries
        .into_iter()
        .filter_map(|transaction| transaction.actor);
    let actors = actors.map(|actor| actor.to_string()).collect();
    print_unknown("changes and actions by", &actor.to_string(), actors);
    Ok(())
}

/// Names similar actions if no action has this name.
pub(super) async fn explain_action(
    conn: &mut AsyncPgConnection,
    name: &str,
) -> Result<(), Failure> {
    let of_name = Actions::new().name(name).page_size(size(1));
    if !threadline_diesel::actions(conn, &of_name)
        .await?
        .entries
        .is_empty()
    {
        return Ok(());
    }
    let recent = Actions::new().page_size(size(RECENT));
    let recent = threadline_diesel::actions(conn, &recent).await?;
    let names = recent
        .entries
        .into_iter()
        .map(|action| action.name)
        .collect();
    print_unknown("actions named", name, names);
    Ok(())
}

/// Shows the values of a column, if no change set it to the given one.
pub(super) async fn explain_value(
    conn: &mut AsyncPgConnection,
    row: Timeline,
    column: &ColumnName,
) -> Result<(), Failure> {
    let history = FieldHistory::new(row, column.clone());
    let question = history.timeline().page_size(size(VALUE_CHANGES));
    let page = threadline_diesel::timeline(conn, &question).await?;
    let mut values = Vec::new();
    for entry in page.entries {
        let value = entry
            .change
            .data_after
            .and_then(|image| image.field(column.as_str()));
        let shown = value
            .filter(|value| !value.is_null())
            .map(|value| show_value(&value));
        values.extend(shown.filter(|shown| !values.contains(shown)));
    }
    if !values.is_empty() {
        values.truncate(VALUES);
        print_note(&format!(
            "column `{}` of this row was never set to this value; newest values: {}",
            column.as_str(),
            values.join(", ")
        ));
    }
    Ok(())
}

/// Shows the nearest changes before and after the window.
async fn explain_window(
    conn: &mut AsyncPgConnection,
    filters: &TimelineFilterArgs,
    row_key: Option<&RowKeyText>,
) -> Result<(), Failure> {
    let mut without_window = filters.clone();
    (without_window.from, without_window.to) = (None, None);
    let without_window = without_window.into_timeline(row_key);
    if let Some(from) = filters.from {
        let before = without_window.clone().to(from);
        if let Some(entry) = first_entry(conn, before).await? {
            print_note(&format!(
                "nearest change before the window: {}",
                show_entry(&entry)
            ));
        }
    }
    if let Some(to) = filters.to {
        let after = without_window.from(to).order(Order::OldestFirst);
        if let Some(entry) = first_entry(conn, after).await? {
            print_note(&format!(
                "nearest change after the window: {}",
                show_entry(&entry)
            ));
        }
    }
    Ok(())
}

async fn first_entry(
    conn: &mut AsyncPgConnection,
    question: Timeline,
) -> Result<Option<TimelineEntry>, Failure> {
    let page = threadline_diesel::timeline(conn, &question.page_size(size(1))).await?;
    Ok(page.entries.into_iter().next())
}

fn show_entry(entry: &TimelineEntry) -> String {
    let change = &entry.change;
    format!(
        "{} UTC, {} of {}.{}, change {}",
        show_instant(change.captured_at),
        change.op,
        change.table_schema,
        change.table_name,
        change.id
    )
}

fn print_unknown(what: &str, given: &str, mut known: Vec<String>) {
    known.sort_unstable();
    known.dedup();
    let known = known.into_iter().map(|name| (name.clone(), name));
    let hint = similar_hint(given, known);
    print_note(&format!("no {what} `{given}` are recorded{hint}"));
}

fn size(entries: u32) -> PageSize {
    PageSize::new(entries).unwrap_or_default()
}
