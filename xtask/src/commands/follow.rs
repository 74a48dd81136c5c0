//! `timeline --follow`: changes as they are committed.
//!
//! A change that commits late has a place among those that were printed already, so following by a
//! cursor would lose it. Instead every look reads again from the instant at which the oldest
//! transaction that was running during the look before began, and prints what it has not printed
//! yet. A change that was not visible then was made by a transaction that was running, whose start
//! bounds it, or by one that began to write afterwards.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_diesel::change::TimelineEntry;
use threadline_diesel::nonblocking;
use threadline_diesel::page::{Order, PageSize};
use threadline_diesel::timeline::Timeline;

use super::lists::{Output, unanswered};
use crate::exit::{Answer, Failure};
use crate::show::{EntryDocument, print_ndjson, show_more_of_timeline, show_timeline};

/// How often there is a look.
const INTERVAL: Duration = Duration::from_secs(1);

/// How far each look reaches back where a role may not see when other transactions began.
const BLIND_REACH: TimeDelta = TimeDelta::minutes(10);

/// When the oldest running transaction that has written began, in this database; now, if there is
/// none. Sessions of other roles hide it from those who are not of `pg_read_all_stats`.
const OLDEST_RUNNING: &str = "
    SELECT LEAST(pg_catalog.clock_timestamp(), min(xact_start)) AS oldest,
        pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
    FROM pg_catalog.pg_stat_activity
    WHERE backend_xid IS NOT NULL AND datname = pg_catalog.current_database()
        AND pid <> pg_catalog.pg_backend_pid()";

#[derive(Debug, diesel::QueryableByName)]
struct Running {
    #[diesel(sql_type = Timestamptz)]
    oldest: DateTime<Utc>,
    #[diesel(sql_type = Bool)]
    sees_all: bool,
}

pub(super) async fn follow(
    conn: &mut AsyncPgConnection,
    question: Timeline,
    output: Output,
) -> Result<Answer, Failure> {
    let mut from = oldest_running(conn, Warn::Once).await?;
    // What is there already is not news.
    let mut printed = BTreeMap::new();
    let known = look(conn, &question, from, &printed).await?;
    note(&mut printed, &known);
    let mut show: fn(&[TimelineEntry]) -> String = show_timeline;
    loop {
        // In this order: what the look does not see yet is bounded by what was running before it.
        let next = oldest_running(conn, Warn::Never).await?;
        let fresh = look(conn, &question, from, &printed).await?;
        if !fresh.is_empty() {
            print(&fresh, output, show).context("cannot print")?;
            show = show_more_of_timeline;
        }
        note(&mut printed, &fresh);
        from = next;
        printed.retain(|_, captured_at| *captured_at >= from);
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Answer::Fine),
        }
    }
}

fn note(printed: &mut BTreeMap<i64, DateTime<Utc>>, entries: &[TimelineEntry]) {
    let places = entries
        .iter()
        .map(|entry| (entry.change.id, entry.change.captured_at));
    printed.extend(places);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warn {
    Once,
    Never,
}

async fn oldest_running(
    conn: &mut AsyncPgConnection,
    warn: Warn,
) -> Result<DateTime<Utc>, Failure> {
    let running: Running = diesel::sql_query(OLDEST_RUNNING)
        .get_result(conn)
        .await
        .context("cannot ask what is running")?;
    if running.sees_all {
        return Ok(running.oldest);
    }
    if warn == Warn::Once {
        eprintln!(
            "warning: this role may not see when other sessions' transactions began, so changes of \
             transactions that run for more than {} minutes can be missed; grant it pg_read_all_stats",
            BLIND_REACH.num_minutes()
        );
    }
    Ok(running.oldest - BLIND_REACH)
}

/// What has been committed since an instant and was not printed yet, oldest first.
async fn look(
    conn: &mut AsyncPgConnection,
    question: &Timeline,
    from: DateTime<Utc>,
    printed: &BTreeMap<i64, DateTime<Utc>>,
) -> Result<Vec<TimelineEntry>, Failure> {
    let mut question = question
        .clone()
        .order(Order::OldestFirst)
        .from(from)
        .page_size(PageSize::MAX);
    let mut fresh = Vec::new();
    loop {
        let page = nonblocking::timeline(conn, &question)
            .await
            .map_err(unanswered)?;
        let unseen = |entry: &TimelineEntry| !printed.contains_key(&entry.change.id);
        fresh.extend(page.entries.into_iter().filter(unseen));
        match page.next {
            Some(next) => question = question.after(next),
            None => return Ok(fresh),
        }
    }
}

fn print(
    fresh: &[TimelineEntry],
    output: Output,
    show: fn(&[TimelineEntry]) -> String,
) -> std::io::Result<()> {
    if output == Output::Ndjson {
        return print_ndjson(fresh.iter().map(EntryDocument::from));
    }
    let mut out = stdout().lock();
    writeln!(out, "{}", show(fresh))?;
    out.flush()
}
