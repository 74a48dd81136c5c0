//! The queries that the demonstration runs on its trail.

use std::io::Write;

use anyhow::{Context, bail};
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use saas::models::Member;
use threadline::models::RecordedActor;
use threadline::query::Attribution;
use threadline::schema::{audit_actions, audit_changes};
use threadline::{AuditAction, AuditTransactionId, History, PageSize, Timeline, TimelineEntry};
use threadline_xtask::{show_incident, show_timeline};

use super::heading;
use super::story::Names;

/// The number of changes in the timeline that the demonstration prints.
const SHOWN_CHANGES: u32 = 11;

/// The start of the demonstration by the clock of the database.
pub(crate) type StartTime = chrono::DateTime<chrono::Utc>;

/// Arguments for the commands that the demonstration suggests.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) incident: AuditTransactionId,
    pub(crate) member: String,
}

/// Reads the clock of the database.
pub(crate) async fn database_time(conn: &mut AsyncPgConnection) -> anyhow::Result<StartTime> {
    let now = diesel::select(diesel::dsl::now.into_sql::<Timestamptz>());
    Ok(now.get_result(conn).await?)
}

pub(crate) async fn print(
    conn: &mut AsyncPgConnection,
    names: &Names,
    start: StartTime,
    out: &mut impl Write,
) -> anyhow::Result<Report> {
    print_timeline(conn, start, out).await?;
    let incident = print_incident(conn, start, out).await?;
    print_unattributed(conn, start, out).await?;
    print_redacted(conn, names, out).await?;
    print_actions_without_changes(conn, start, out).await?;
    Ok(Report {
        incident,
        member: names.bob.clone(),
    })
}

async fn print_timeline(
    conn: &mut AsyncPgConnection,
    start: StartTime,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "The timeline",
        "The newest changes first, with actor, action and old values. The requests, the background job\n\
         and Rita's request for Alice have an actor and an action. Four changes have neither.",
    )?;
    let query = Timeline::new()
        .from(start)
        .page_size(PageSize::new(SHOWN_CHANGES)?);
    let page = threadline::timeline(conn, &query).await?;
    writeln!(out, "{}", show_timeline(&page.entries))?;
    Ok(())
}

async fn print_incident(
    conn: &mut AsyncPgConnection,
    start: StartTime,
    out: &mut impl Write,
) -> anyhow::Result<AuditTransactionId> {
    heading(
        out,
        "One incident",
        "The transaction that closed the organization. Each invoice was voided in its own action, nested\n\
         in the action that closed the organization.",
    )?;
    let closing = Timeline::new().from(start).action("organization.close");
    let page = threadline::timeline(conn, &closing).await?;
    let [entry, ..] = page.entries.as_slice() else {
        bail!("the trail has no action organization.close");
    };
    let id = AuditTransactionId::from(entry.change.transaction_id);
    let bundle = threadline::incident(conn, id).await?;
    let bundle = bundle.context("the trail does not have the transaction")?;
    writeln!(out, "{}", show_incident(&bundle))?;
    Ok(id)
}

async fn print_unattributed(
    conn: &mut AsyncPgConnection,
    start: StartTime,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "Unattributed changes",
        "The bulk update did not run in the application, so it has no actor. The triggers recorded every\n\
         row, its old value and the database session.",
    )?;
    let unattributed = Timeline::new()
        .from(start)
        .attribution(Attribution::Unattributed);
    let page = threadline::timeline(conn, &unattributed).await?;
    writeln!(out, "{}", show_timeline(&page.entries))?;
    let [
        TimelineEntry {
            transaction: Some(transaction),
            ..
        },
        ..,
    ] = page.entries.as_slice()
    else {
        bail!("the trail has no unattributed changes");
    };
    writeln!(
        out,
        "database session: user {}, application {}, server process {}",
        transaction.db_user,
        transaction.application_name.as_deref().unwrap_or("unnamed"),
        transaction.backend_pid
    )?;
    Ok(())
}

async fn print_redacted(
    conn: &mut AsyncPgConnection,
    names: &Names,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "Redacted columns",
        "Bob changed his address and his password. `members.email` is masked: the change is recorded\n\
         without the values. `members.password_hash` is excluded: it is never stored.",
    )?;
    let query = History::<Member>::new(names.bob.as_str())?;
    let page = threadline::history(conn, &query).await?;
    writeln!(out, "{}", show_timeline(&page.entries))?;
    Ok(())
}

/// Prints actions without changes. This is a Diesel query of the host on the tables of the trail.
async fn print_actions_without_changes(
    conn: &mut AsyncPgConnection,
    start: StartTime,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "Actions without changes",
        "Actions that changed no row are recorded too: sign-ins and failed attempts.",
    )?;
    let changes = audit_changes::table
        .filter(audit_changes::action_id.eq(audit_actions::id.nullable()))
        .select(audit_changes::id);
    let actions: Vec<AuditAction> = audit_actions::table
        .filter(audit_actions::recorded_at.ge(start))
        .filter(diesel::dsl::not(diesel::dsl::exists(changes)))
        .order(audit_actions::id.desc())
        .select(AuditAction::as_select())
        .load(conn)
        .await?;
    for action in actions {
        let actor = action.actor.as_ref().and_then(RecordedActor::known);
        writeln!(
            out,
            "  {}   {:<20} {:<18} {:<8} {}",
            action.recorded_at.format("%m-%d %H:%M:%S"),
            actor.map_or_else(|| "—".to_owned(), ToString::to_string),
            action.name,
            action.status,
            action.request_id.as_deref().unwrap_or_default()
        )?;
    }
    Ok(())
}
