//! Transactions and actions on a terminal, and the cells they share with other lists.

use chrono::{DateTime, Utc};
use threadline_core::instant::Tz;
use threadline_diesel::models::RecordedActor;
use threadline_diesel::{AuditAction, AuditTransaction};

use super::list::{Color, Column, ListEntry, Text, show_list};
use super::text::{escape, show_instant, show_local};
use crate::settings::settings;

/// Shown instead of an actor if there is none.
pub(crate) const NO_ACTOR: &str = "—";

/// The columns of an instant: in the time zone, if that is not UTC, and in UTC.
pub(crate) fn instant_columns(name: &str) -> Vec<Column> {
    let local = match settings().zone {
        Tz::UTC => None,
        zone => Some(Column::whole(format!("{name} ({zone})"))),
    };
    let utc = Column::whole(format!("{name} (UTC)"));
    local.into_iter().chain([utc]).collect()
}

/// The cells of [`instant_columns`].
pub(crate) fn instant_cells(instant: DateTime<Utc>) -> Vec<Text> {
    let local = match settings().zone {
        Tz::UTC => None,
        zone => Some(show_local(instant, zone)),
    };
    let cells = local.into_iter().chain([show_instant(instant)]);
    cells.map(Text::from).collect()
}

/// An instant in the header line of an entry: in the time zone, if that is not UTC, and in UTC.
pub(crate) fn instant_head(instant: DateTime<Utc>) -> Text {
    let utc = show_instant(instant);
    Text::from(match settings().zone {
        Tz::UTC => format!("{utc} UTC"),
        zone => {
            let local = instant.with_timezone(&zone);
            let is_same_day = local.date_naive() == instant.date_naive();
            let utc = if is_same_day {
                instant.format("%H:%M:%S").to_string()
            } else {
                utc
            };
            format!("{} ({utc} UTC)", local.format("%Y-%m-%d %H:%M:%S %:z"))
        }
    })
}

/// An actor, and on a second line the actor it represents. Without an actor, the database user and the
/// application name of the transaction.
pub(crate) fn actor_cell(
    actor: Option<&RecordedActor>,
    on_behalf_of: Option<&RecordedActor>,
    transaction: Option<&AuditTransaction>,
) -> Text {
    let Some(actor) = actor else {
        return Text::colored(show_session(transaction), Color::Yellow);
    };
    let actor = escape(&actor.to_string());
    Text::from(match on_behalf_of {
        Some(represented) => format!("{actor}\nfor {}", escape(&represented.to_string())),
        None => actor,
    })
}

/// The database user and the application name of an unattributed transaction.
fn show_session(transaction: Option<&AuditTransaction>) -> String {
    let Some(transaction) = transaction else {
        return NO_ACTOR.to_owned();
    };
    let application = transaction.application_name.as_deref().unwrap_or_default();
    let separator = if application.is_empty() { "" } else { ", " };
    format!(
        "{NO_ACTOR} (db user {}{separator}{})",
        escape(&transaction.db_user),
        escape(application)
    )
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

/// Transactions as a list for people: a table, or stacked on a narrow terminal.
#[must_use]
pub fn show_transactions(transactions: &[AuditTransaction]) -> String {
    let columns = [
        instant_columns("begun"),
        vec![
            Column::wrapped("who"),
            Column::wrapped("context"),
            Column::whole("transaction"),
        ],
    ];
    let entries: Vec<_> = transactions.iter().map(transaction_entry).collect();
    show_list(&columns.concat(), &entries)
}

fn transaction_entry(transaction: &AuditTransaction) -> ListEntry {
    let who = actor_cell(
        transaction.actor.as_ref(),
        transaction.on_behalf_of.as_ref(),
        Some(transaction),
    );
    let context = show_context(transaction);
    let id = Text::from(transaction.id.to_string());
    let mut row = instant_cells(transaction.occurred_at);
    row.extend([who.clone(), context.as_str().into(), id.clone()]);
    ListEntry {
        rows: vec![row],
        head: vec![instant_head(transaction.occurred_at), who.on_one_line(), id],
        details: context.lines().map(str::to_owned).collect(),
    }
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

/// Actions as a list for people: a table, or stacked on a narrow terminal.
#[must_use]
pub fn show_actions(actions: &[AuditAction]) -> String {
    let columns = [
        instant_columns("when"),
        vec![
            Column::wrapped("who"),
            Column::wrapped("action"),
            Column::whole("status"),
            Column::wrapped("why"),
        ],
    ];
    let entries: Vec<_> = actions.iter().map(action_entry).collect();
    show_list(&columns.concat(), &entries)
}

fn action_entry(action: &AuditAction) -> ListEntry {
    let who = actor_cell(action.actor.as_ref(), action.on_behalf_of.as_ref(), None);
    let name = Text::from(escape(&action.name));
    let status = match action.status.as_str() {
        "error" => Text::colored("error", Color::Red),
        other => Text::from(escape(other)),
    };
    let why = escape(&show_reason(action));
    let mut row = instant_cells(action.recorded_at);
    row.extend([
        who.clone(),
        name.clone(),
        status.clone(),
        why.as_str().into(),
    ]);
    ListEntry {
        rows: vec![row],
        head: vec![
            instant_head(action.recorded_at),
            who.on_one_line(),
            name,
            status,
        ],
        details: Some(why)
            .filter(|why| !why.is_empty())
            .into_iter()
            .collect(),
    }
}
