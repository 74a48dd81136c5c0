//! What the trail knows of it.

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
use super::story::Cast;

/// As many changes as fit on a screen.
const SHOWN_CHANGES: u32 = 11;

/// When it began, by the database's clock.
pub(crate) type Begun = chrono::DateTime<chrono::Utc>;

/// What there is to look up afterwards.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) incident: AuditTransactionId,
    pub(crate) member: String,
}

/// The database's clock.
pub(crate) async fn database_time(conn: &mut AsyncPgConnection) -> anyhow::Result<Begun> {
    let now = diesel::select(diesel::dsl::now.into_sql::<Timestamptz>());
    Ok(now.get_result(conn).await?)
}

pub(crate) async fn print(
    conn: &mut AsyncPgConnection,
    cast: &Cast,
    begun: Begun,
    out: &mut impl Write,
) -> anyhow::Result<Report> {
    print_timeline(conn, begun, out).await?;
    let incident = print_incident(conn, begun, out).await?;
    print_unattributed(conn, begun, out).await?;
    print_redacted(conn, cast, out).await?;
    print_actions_without_changes(conn, begun, out).await?;
    Ok(Report {
        incident,
        member: cast.bob.clone(),
    })
}

async fn print_timeline(
    conn: &mut AsyncPgConnection,
    begun: Begun,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "The timeline",
        "Who changed what, and what it was before: the newest changes first. Every request, the\n\
         background job and Rita's work for Alice carry their actor and their action. Four changes\n\
         carry nothing.",
    )?;
    let question = Timeline::new()
        .from(begun)
        .page_size(PageSize::new(SHOWN_CHANGES)?);
    let page = threadline::timeline(conn, &question).await?;
    writeln!(out, "{}", show_timeline(&page.entries))?;
    Ok(())
}

async fn print_incident(
    conn: &mut AsyncPgConnection,
    begun: Begun,
    out: &mut impl Write,
) -> anyhow::Result<AuditTransactionId> {
    heading(
        out,
        "One incident",
        "Everything about the transaction in which the organization was closed. Each invoice was\n\
         voided in an action of its own, inside of the one that closed the organization.",
    )?;
    let closing = Timeline::new().from(begun).action("organization.close");
    let page = threadline::timeline(conn, &closing).await?;
    let [entry, ..] = page.entries.as_slice() else {
        bail!("nothing was closed");
    };
    let id = AuditTransactionId::from(entry.change.transaction_id);
    let bundle = threadline::incident(conn, id).await?;
    let bundle = bundle.context("the transaction is gone")?;
    writeln!(out, "{}", show_incident(&bundle))?;
    Ok(id)
}

async fn print_unattributed(
    conn: &mut AsyncPgConnection,
    begun: Begun,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "What nobody signed",
        "The bulk change went past the application. The database caught it all the same: every\n\
         row, with its old value and the session it came from.",
    )?;
    let unattributed = Timeline::new()
        .from(begun)
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
        bail!("everything was signed");
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
    cast: &Cast,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "What the trail does not know",
        "Bob changed his address and his password. `members.email` is masked: that it changed is\n\
         known, what to is not. `members.password_hash` is excluded: the trail has never seen one.",
    )?;
    let question = History::<Member>::new(cast.bob.as_str())?;
    let page = threadline::history(conn, &question).await?;
    writeln!(out, "{}", show_timeline(&page.entries))?;
    Ok(())
}

/// The host's own question, in Diesel, over the tables of the trail.
async fn print_actions_without_changes(
    conn: &mut AsyncPgConnection,
    begun: Begun,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    heading(
        out,
        "What changed nothing",
        "Actions are kept when they change no row: sign-ins, and what was tried and failed.",
    )?;
    let changes = audit_changes::table
        .filter(audit_changes::action_id.eq(audit_actions::id.nullable()))
        .select(audit_changes::id);
    let actions: Vec<AuditAction> = audit_actions::table
        .filter(audit_actions::recorded_at.ge(begun))
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
            actor.map_or_else(|| "— nobody —".to_owned(), ToString::to_string),
            action.name,
            action.status,
            action.request_id.as_deref().unwrap_or_default()
        )?;
    }
    Ok(())
}
