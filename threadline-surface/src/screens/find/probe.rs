//! Looks a text up in the trail, in each of its meanings.

use chrono::TimeDelta;
use diesel::{ExpressionMethods, QueryDsl};
use diesel_async::RunQueryDsl;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::RowKeyInput;
use threadline_core::table::TableName;
use threadline_diesel::query::{ChangeById, KeyError};
use threadline_diesel::schema::{audit_actions, audit_transactions};
use threadline_diesel::{
    Actions, AuditAction, AuditTransaction, ReadError, Timeline, Transactions, change,
    recorded_tables, resolve_key,
};
use uuid::Uuid;

use super::Meanings;
use super::existence::{has_action, has_change, has_transaction};
use super::text::{table_and_key, trace_id};
use crate::access::Capability;
use crate::page_error::PageError;
use crate::question::{GivenInstant, instant_text};
use crate::request::{CONSOLE_CATEGORY, PageContext};

/// The time before and after an instant that its page shows.
const AROUND: TimeDelta = TimeDelta::minutes(5);

/// How many readings of a text as table and key are looked up.
const MAX_READINGS: usize = 8;

/// The meanings of a text that the trail has.
pub(super) async fn probe(
    context: &mut PageContext<'_>,
    text: &str,
) -> Result<Meanings, PageError> {
    let mut meanings = Meanings::default();
    change_id(context, text, &mut meanings).await?;
    uuid(context, text, &mut meanings).await?;
    actor(context, text, &mut meanings).await?;
    context_id(context, trace_id(text).unwrap_or(text), &mut meanings).await?;
    action_name(context, text, &mut meanings).await?;
    table(context, text, &mut meanings).await?;
    instant(context, text, &mut meanings);
    Ok(meanings)
}

async fn change_id(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    let request = context.request;
    let Ok(id) = text.trim_start_matches('#').parse::<i64>() else {
        return Ok(());
    };
    let query = request.scoped(ChangeById::new(id), ChangeById::scope);
    match change(context.conn, query).await? {
        Some(entry) => {
            let one = &entry.change;
            let table = TableName::new(&one.table_schema, &one.table_name);
            let detail = format!("{id}: {} of {table} {}", one.op, one.shown_key());
            meanings.add("Change", detail, request.href("/changes").with("id", id));
        }
        None => meanings.tried(format!("the id of a change: there is no change {id}")),
    }
    Ok(())
}

async fn uuid(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    let request = context.request;
    let Ok(id) = text.parse::<Uuid>() else {
        return Ok(());
    };
    let href = |id: Uuid| request.href("/transactions").with("id", id);
    let query = request.scoped(Transactions::new(), Transactions::scope);
    let statement = query.query().map_err(ReadError::from)?;
    let found: Vec<AuditTransaction> = statement
        .filter(audit_transactions::id.eq(id))
        .load(context.conn)
        .await?;
    match found.as_slice().first() {
        Some(_) => meanings.add("Transaction", id.to_string(), href(id)),
        None => meanings.tried(format!("a transaction: there is none with the id {id}")),
    }
    let query = request.scoped(Actions::new(), Actions::scope);
    let Ok(statement) = query.query() else {
        // The scope does not say which actions are visible.
        return Ok(());
    };
    let found: Vec<AuditAction> = statement
        .filter(audit_actions::id.eq(id))
        .load(context.conn)
        .await?;
    let is_visible = |action: &&AuditAction| {
        request.allows(Capability::Log) || action.category.as_deref() != Some(CONSOLE_CATEGORY)
    };
    match found.as_slice().first().filter(is_visible) {
        Some(action) => meanings.add(
            "Action",
            format!("{}, in transaction {}", action.name, action.transaction_id),
            href(action.transaction_id),
        ),
        None => meanings.tried(format!("an action: there is none with the id {id}")),
    }
    Ok(())
}

async fn actor(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    let Ok(actor) = text.parse::<ActorRef>() else {
        return actor_id(context, text, meanings).await;
    };
    let request = context.request;
    let is_seen = has_change(context, Timeline::new().actor(actor.clone())).await?
        || has_action(context, Actions::new().actor(actor.clone())).await?
        || has_change(context, Timeline::new().on_behalf_of(actor.clone())).await?;
    if is_seen {
        let href = request.href("/actors").with("actor", &actor);
        meanings.add("Actor", actor.to_string(), href);
    } else {
        meanings.tried(format!("an actor: there are no records of {actor}"));
    }
    Ok(())
}

/// An actor without its type: one of each type is looked up.
async fn actor_id(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    if text.contains(char::is_whitespace) {
        return Ok(());
    }
    let mut is_seen = false;
    for actor_type in ActorType::ALL {
        let Ok(actor) = ActorRef::new(actor_type, text) else {
            continue;
        };
        if has_change(context, Timeline::new().actor(actor.clone())).await?
            || has_action(context, Actions::new().actor(actor.clone())).await?
        {
            let href = context.request.href("/actors").with("actor", &actor);
            meanings.add("Actor", actor.to_string(), href);
            is_seen = true;
        }
    }
    if !is_seen {
        meanings.tried(format!(
            "an actor: there are no records of one with the id {text}"
        ));
    }
    Ok(())
}

async fn context_id(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    let request = context.request;
    let Ok(id) = text.parse::<ContextId>() else {
        return Ok(());
    };
    let correlation = (
        Transactions::new().correlation_id(id.clone()),
        Actions::new().correlation_id(id.clone()),
    );
    let of_request = (
        Transactions::new().request_id(id.clone()),
        Actions::new().request_id(id.clone()),
    );
    let job = (
        Transactions::new().job_id(id.clone()),
        Actions::new().job_id(id.clone()),
    );
    let before = meanings.found.len();
    if has_transaction(context, correlation.0).await? || has_action(context, correlation.1).await? {
        let href = request.href("/correlations").with("correlation", &id);
        meanings.add("Correlation", id.to_string(), href);
    }
    for (kind, name, (transactions, actions)) in
        [("Request", "request", of_request), ("Job", "job", job)]
    {
        if has_transaction(context, transactions).await? {
            let href = request.href("/timeline").with(name, &id);
            meanings.add(kind, format!("{id}: its changes"), href);
        } else if has_action(context, actions).await? {
            let href = request.href("/actions").with(name, &id);
            meanings.add(kind, format!("{id}: its actions"), href);
        }
    }
    if meanings.found.len() == before {
        meanings.tried(format!(
            "a correlation, a request or a job: none has the id {id}"
        ));
    }
    Ok(())
}

async fn action_name(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    if has_action(context, Actions::new().name(text)).await? {
        let href = context.request.href("/actions").with("name", text);
        meanings.add("Actions", format!("named {text}"), href);
    } else {
        meanings.tried("the name of an action: no such action is recorded");
    }
    Ok(())
}

async fn table(
    context: &mut PageContext<'_>,
    text: &str,
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    let request = context.request;
    let recorded = recorded_tables(context.conn, request.scope()).await?;
    // A name without a schema may be of any schema.
    let named = |table: &TableName| {
        let table = table.clone();
        let is_plain = table.schema() == "public";
        recorded
            .iter()
            .filter(move |one| **one == table || is_plain && one.name() == table.name())
    };
    if let Ok(table) = text.parse::<TableName>() {
        for table in named(&table) {
            let href = request.href("/timeline").with("table", table);
            meanings.add("Table", format!("{table}: its changes"), href);
        }
    }
    let readings = table_and_key(text);
    for (table, key) in readings.iter().take(MAX_READINGS) {
        for table in named(table) {
            row(context, table, key, meanings).await?;
        }
    }
    if !readings
        .iter()
        .any(|(table, _)| named(table).next().is_some())
    {
        meanings.tried("a table and a key, with a space between: no such table has changes");
    }
    Ok(())
}

async fn row(
    context: &mut PageContext<'_>,
    table: &TableName,
    key: &[String],
    meanings: &mut Meanings,
) -> Result<(), PageError> {
    let input = match key {
        [key] => key.parse(),
        pairs => RowKeyInput::from_pairs(pairs),
    };
    let resolved = match input {
        Ok(input) => resolve_key(context.conn, table, &input).await,
        Err(error) => Err(KeyError::Key(error)),
    };
    let shown = key.join(" ");
    let stored = match resolved {
        Ok(stored) => stored,
        Err(KeyError::Read(error)) => return Err(error.into()),
        Err(error) => {
            meanings.tried(format!("a row of {table} with the key {shown}: {error}"));
            return Ok(());
        }
    };
    if has_change(context, Timeline::new().row(table.clone(), &stored)).await? {
        let href = context.request.href("/rows").with("table", table);
        let href = key.iter().fold(href, |href, key| href.with("key", key));
        meanings.add("Row", format!("{table} {shown}"), href);
    } else {
        meanings.tried(format!(
            "a row of {table}: no change of the key {shown} is recorded"
        ));
    }
    Ok(())
}

/// An instant is never looked up: its page shows the nearest changes.
fn instant(context: &PageContext<'_>, text: &str, meanings: &mut Meanings) {
    let request = context.request;
    let Ok(given) = GivenInstant::parse(text, request.now, request.zone()) else {
        return meanings.tried("a time");
    };
    let ends = (
        given.instant.checked_sub_signed(AROUND),
        given.instant.checked_add_signed(AROUND),
    );
    let (Some(from), Some(to)) = ends else { return };
    let href = request
        .href("/timeline")
        .with("from", instant_text(from))
        .with("to", instant_text(to));
    meanings.add(
        "Time",
        format!("the changes around {}", instant_text(given.instant)),
        href,
    );
}
