//! `baseline`: records the rows that existed before capture.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::action::Action;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_core::table::TableName;
use threadline_diesel::baseline::{
    BASELINE_ACTION, Baseline, BaselineOutcome, BatchSize, DEFAULT_BATCH_SIZE, RunState, Selection,
};
use threadline_diesel::capture_start::CaptureStart;
use threadline_diesel::documents::BaselineDocument;
use threadline_diesel::{capture_start, record_baseline};

use super::continuity::{show_baseline, show_capture_start};
use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::progress::Progress;
use crate::output::text::{escape, print_block, print_line, print_note};

#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    /// The table.
    #[arg(long)]
    table: TableName,
    /// Record the rows. Without this option, only show how many would be recorded.
    #[arg(long, requires = "actor")]
    execute: bool,
    /// The actor who records them: `admin:rita`.
    #[arg(long)]
    actor: Option<ActorRef>,
    /// The reason, stored with the action.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Record all rows, including those with history.
    #[arg(long)]
    all: bool,
    /// The number of rows per transaction, up to 10000.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH_SIZE)]
    batch_size: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl BaselineArgs {
    fn selection(&self) -> Selection {
        if self.all {
            Selection::All
        } else {
            Selection::Unknown
        }
    }
}

pub(crate) async fn run(args: BaselineArgs) -> Result<Answer, Failure> {
    let size = BatchSize::new(args.batch_size).map_err(Failure::usage)?;
    let mut conn = connect(&args.database).await?;
    match args.actor.clone().filter(|_| args.execute) {
        None => plan(&mut conn, &args).await,
        Some(actor) => record(&mut conn, &args, actor, size).await,
    }
}

/// Shows how many rows a baseline would record.
async fn plan(conn: &mut AsyncPgConnection, args: &BaselineArgs) -> Result<Answer, Failure> {
    let question = CaptureStart::new().table(args.table.clone());
    let tables = transaction(conn, async |conn| capture_start(conn, &question).await).await?;
    let Some((table, rows)) = tables
        .first()
        .and_then(|table| table.rows.map(|rows| (table, rows)))
    else {
        return Err(anyhow!(
            "table {} is not captured, or has no key: a baseline cannot record its rows",
            args.table
        )
        .into());
    };
    let would_record = match args.selection() {
        Selection::All => rows.row_count,
        _ => rows.unknown_count,
    };
    if args.output.json {
        print_json(&BaselineDocument::plan(would_record, table))?;
        return Ok(Answer::Fine);
    }
    print_block(&format!(
        "table {}: captured since {}, {} rows, {} of them without history, last baseline: {}\n\
         {would_record} rows would be recorded, {} per transaction; add --execute --actor to record \
         them",
        escape(&table.table.to_string()),
        show_capture_start(table),
        rows.row_count,
        rows.unknown_count,
        show_baseline(table),
        args.batch_size,
    ))?;
    Ok(Answer::Fine)
}

/// Records rows until all are recorded or Ctrl-C is pressed.
async fn record(
    conn: &mut AsyncPgConnection,
    args: &BaselineArgs,
    actor: ActorRef,
    size: BatchSize,
) -> Result<Answer, Failure> {
    let mut action = Action::new(BASELINE_ACTION).context("cannot name the action")?;
    if let Some(reason) = &args.reason {
        action = action.reason(reason.clone());
    }
    let baseline = Baseline::new(args.table.clone(), AuditContext::new(actor))
        .action(action)
        .selection(args.selection())
        .batch_size(size);
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = Arc::clone(&stop);
    let watcher = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    let line = Progress::message();
    let recorded = record_baseline(conn, &baseline, |progress| {
        line.set_message(&format!(
            "{} rows read, {} recorded, {} locked by other transactions",
            progress.rows_seen, progress.rows_recorded, progress.rows_left
        ));
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await;
    watcher.abort();
    drop(line);
    let outcome = recorded.context("cannot record a baseline")?;
    print_outcome(&outcome, args.output.json)?;
    Ok(Answer::fine_if(outcome.state == RunState::Finished))
}

fn print_outcome(outcome: &BaselineOutcome, as_json: bool) -> io::Result<()> {
    if as_json {
        print_json(&BaselineDocument::outcome(outcome))?;
    } else {
        print_line(&format!(
            "baseline run {} of table {}: {}, {} rows recorded of {} read",
            outcome.run,
            escape(&outcome.table.to_string()),
            outcome.state.as_str(),
            outcome.rows_recorded,
            outcome.rows_seen
        ))?;
    }
    match outcome.state {
        RunState::Finished => {}
        _ if outcome.rows_left > 0 => print_note(&format!(
            "{} rows were skipped because other transactions had locked them; run it again to continue",
            outcome.rows_left
        )),
        _ => print_note("stopped; run it again to continue"),
    }
    Ok(())
}
