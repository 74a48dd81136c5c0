//! Retention on a terminal.

use std::io::{self, Write, stdout};

use threadline_diesel::retention::{Expired, Notice, PurgeOutcome, RetentionPlan, RetentionRun};

use super::list::show_table;
use super::text::{escape, show_instant};

pub(crate) fn print_plan(plan: &RetentionPlan) -> io::Result<()> {
    let mut out = stdout().lock();
    if plan.is_empty() {
        writeln!(out, "nothing is expired")?;
    } else {
        writeln!(out, "{}", show_parts(plan))?;
        for (table, horizon) in plan.horizons() {
            writeln!(
                out,
                "{} will be complete from {}",
                escape(&table.to_string()),
                show_instant(horizon)
            )?;
        }
    }
    for notice in &plan.notices {
        let text = match notice {
            Notice::Disabled => "the policy is not enabled: a purge is refused",
            Notice::FeedBehind => {
                "consumers of the feed have not acknowledged all expired changes: a purge is refused"
            }
            Notice::LosesReasons => "some actions expire before the changes that refer to them",
            Notice::KeepsLastImages => {
                "a row whose last record is removed gets a baseline with its last image"
            }
            Notice::KeepsRestored => {
                "a span is restored from an archive: a purge removes neither it nor anything before it"
            }
            _ => continue,
        };
        writeln!(out, "{text}")?;
    }
    Ok(())
}

fn show_parts(plan: &RetentionPlan) -> String {
    let mut rows = Vec::new();
    for part in &plan.parts {
        rows.push([
            match part.what {
                Expired::PartitionOfChanges => "drop",
                Expired::Changes => "delete",
                Expired::Transactions => "transactions",
                Expired::Actions => "actions",
                _ => "?",
            }
            .to_owned(),
            escape(part.partition.as_deref().unwrap_or_default()),
            part.table
                .as_ref()
                .map(|table| escape(&table.to_string()))
                .unwrap_or_default(),
            part.before.map(show_instant).unwrap_or_default(),
            part.rows.to_string(),
            part.bytes
                .map(|bytes| bytes.to_string())
                .unwrap_or_default(),
        ]);
    }
    show_table(
        ["how", "partition", "table", "before (UTC)", "rows", "bytes"],
        &rows,
    )
}

pub(crate) fn print_outcome(outcome: &PurgeOutcome) -> io::Result<()> {
    let mut out = stdout().lock();
    let done = &outcome.maintenance;
    if done.created > 0 || done.moved > 0 {
        writeln!(
            out,
            "created {} partitions, moved {} rows out of default partitions",
            done.created, done.moved
        )?;
    }
    if done.unfinished {
        writeln!(
            out,
            "a default partition still has rows: it was in use, or has too many rows for one short lock; \
             see SELECT * FROM threadline.maintain()"
        )?;
    }
    let run = &outcome.run;
    writeln!(
        out,
        "run {} {}: removed {} changes, {} transactions, {} actions; dropped {} partitions",
        run.id,
        run.state.as_str(),
        run.changes,
        run.transactions,
        run.actions,
        run.partitions
    )?;
    if run.baselines > 0 {
        writeln!(out, "kept the last image of {} rows", run.baselines)?;
    }
    for partition in &run.postponed {
        writeln!(
            out,
            "{} stayed in use; the next purge tries again",
            escape(partition)
        )?;
    }
    Ok(())
}

pub(crate) fn print_runs(runs: &[RetentionRun]) -> io::Result<()> {
    let mut out = stdout().lock();
    if runs.is_empty() {
        return writeln!(out, "no purge has run");
    }
    let mut rows = Vec::new();
    for run in runs {
        rows.push([
            run.id.to_string(),
            run.state.as_str().to_owned(),
            show_instant(run.started_at),
            escape(&run.started_by),
            run.changes.to_string(),
            run.transactions.to_string(),
            run.actions.to_string(),
            run.baselines.to_string(),
            run.partitions.to_string(),
            escape(run.failure.as_deref().unwrap_or_default()),
        ]);
    }
    let header = [
        "run",
        "state",
        "started (UTC)",
        "by",
        "changes",
        "transactions",
        "actions",
        "baselines",
        "partitions",
        "failure",
    ];
    writeln!(out, "{}", show_table(header, &rows))
}
