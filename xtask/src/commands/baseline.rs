//! `baseline`: records the rows that are older than capture.

use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use threadline_core::action::Action;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_core::table::TableName;
use threadline_diesel::baseline::{
    BASELINE_ACTION, Baseline, BaselineOutcome, BaselineProgress, BatchSize, DEFAULT_BATCH_SIZE,
    RunState, Selection,
};
use threadline_diesel::capture_start::{CaptureStart, TableCaptureStart};
use threadline_diesel::nonblocking::{capture_start, record_baseline};

use super::continuity::{shown_baseline, shown_beginning};
use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::print_json;

/// How often the progress line changes.
const METER_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    /// The table.
    #[arg(long)]
    pub(crate) table: TableName,
    /// Record; without it, only say what would be recorded.
    #[arg(long, requires = "actor")]
    pub(crate) execute: bool,
    /// Who records it: `admin:rita`.
    #[arg(long)]
    pub(crate) actor: Option<ActorRef>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Record every row as it is, also those with history.
    #[arg(long)]
    pub(crate) all: bool,
    /// How many rows a transaction looks at, at most 10000.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH_SIZE)]
    pub(crate) batch_size: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// The answer as `--json` prints it. Stable: fields may be added.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum BaselineDocument<'a> {
    Planned {
        executed: bool,
        would_record: i64,
        continuity: &'a TableCaptureStart,
    },
    Done {
        executed: bool,
        #[serde(flatten)]
        outcome: &'a BaselineOutcome,
    },
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
    let size =
        BatchSize::new(args.batch_size).map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let mut conn = connect(&args.database).await?;
    match args.actor.clone().filter(|_| args.execute) {
        None => plan(&mut conn, &args).await,
        Some(actor) => record(&mut conn, &args, actor, size).await,
    }
}

/// Says what would be recorded.
async fn plan(conn: &mut AsyncPgConnection, args: &BaselineArgs) -> Result<Answer, Failure> {
    let question = CaptureStart::new().table(args.table.clone());
    let tables = capture_start(conn, &question)
        .await
        .context("cannot count rows")?;
    let Some((table, rows)) = tables
        .first()
        .and_then(|table| table.rows.map(|rows| (table, rows)))
    else {
        return Err(anyhow!(
            "table {} is not captured, or has no key: there is nothing a baseline could record",
            args.table
        )
        .into());
    };
    let would_record = match args.selection() {
        Selection::All => rows.row_count,
        _ => rows.unknown_count,
    };
    if args.output.json {
        let document = BaselineDocument::Planned {
            executed: false,
            would_record,
            continuity: table,
        };
        print_json(&document).context("cannot print")?;
        return Ok(Answer::Fine);
    }
    let mut out = stdout().lock();
    writeln!(
        out,
        "table {}: captured since {}, {} rows, {} of them without history, last baseline: {}\n\
         {would_record} rows would be recorded, {} a transaction; nothing was. Add --execute \
         --actor to do it.",
        table.table,
        shown_beginning(table),
        rows.row_count,
        rows.unknown_count,
        shown_baseline(table),
        args.batch_size,
    )
    .context("cannot print")?;
    Ok(Answer::Fine)
}

/// Records, until it is done or somebody presses Ctrl-C.
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
    let pressed = Arc::clone(&stop);
    let watcher = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            pressed.store(true, Ordering::Relaxed);
        }
    });
    let mut meter = Meter::default();
    let recorded = record_baseline(conn, &baseline, |progress| {
        meter.show(progress);
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await;
    watcher.abort();
    meter.clear();
    let outcome = recorded.context("cannot record a baseline")?;
    report(&outcome, args.output.json).context("cannot print")?;
    Ok(match outcome.state {
        RunState::Finished => Answer::Fine,
        _ => Answer::Bad,
    })
}

fn report(outcome: &BaselineOutcome, as_json: bool) -> io::Result<()> {
    if as_json {
        print_json(&BaselineDocument::Done {
            executed: true,
            outcome,
        })?;
    } else {
        writeln!(
            stdout(),
            "baseline run {} of table {}: {}, {} rows recorded of {} looked at",
            outcome.run,
            outcome.table,
            outcome.state.as_str(),
            outcome.rows_recorded,
            outcome.rows_seen
        )?;
    }
    match outcome.state {
        RunState::Finished => {}
        _ if outcome.rows_left > 0 => eprintln!(
            "{} rows were left out, because others had them locked; run it again to go on",
            outcome.rows_left
        ),
        _ => eprintln!("stopped; run it again to go on"),
    }
    Ok(())
}

/// A line on standard error that says how far it is, if somebody is there to read it.
#[derive(Debug, Default)]
struct Meter {
    shown: Option<Instant>,
}

impl Meter {
    fn show(&mut self, progress: &BaselineProgress) {
        let recent = |shown: Instant| shown.elapsed() < METER_INTERVAL;
        if !stderr().is_terminal() || self.shown.is_some_and(recent) {
            return;
        }
        // Whether anybody can read it must not decide about the baseline.
        let _ = write!(
            stderr(),
            "\r\x1b[K{} rows looked at, {} recorded, {} locked by others",
            progress.rows_seen,
            progress.rows_recorded,
            progress.rows_left
        );
        self.shown = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
