//! Retention on a terminal.

use std::io::{self, Write, stdout};

use chrono::{DateTime, Utc};
use threadline_diesel::retention::{Expired, Notice, PurgeOutcome, RetentionPlan, RetentionRun};

use crate::show::new_table;

pub(crate) fn print_plan(plan: &RetentionPlan) -> io::Result<()> {
    let mut out = stdout().lock();
    if plan.is_empty() {
        writeln!(out, "nothing is expired")?;
    } else {
        writeln!(out, "{}", shown_parts(plan))?;
        for (table, horizon) in plan.horizons() {
            writeln!(out, "{table} will be complete from {}", shown(horizon))?;
        }
    }
    for notice in &plan.notices {
        let said = match notice {
            Notice::Disabled => "the policy is not enabled: a purge is refused",
            Notice::FeedBehind => {
                "consumers of the feed have not acknowledged all of it: a purge is refused"
            }
            Notice::LosesReasons => "actions go before changes that they explain",
            Notice::KeepsLastImages => {
                "rows whose last record goes get a new baseline with their last image"
            }
            _ => continue,
        };
        writeln!(out, "{said}")?;
    }
    Ok(())
}

fn shown_parts(plan: &RetentionPlan) -> String {
    let mut table = new_table();
    table.set_header(["how", "partition", "table", "before (UTC)", "rows", "bytes"]);
    for part in &plan.parts {
        table.add_row([
            match part.what {
                Expired::PartitionOfChanges => "drop",
                Expired::Changes => "delete",
                Expired::Transactions => "transactions",
                Expired::Actions => "actions",
                _ => "?",
            }
            .to_owned(),
            part.partition.clone().unwrap_or_default(),
            part.table
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            part.before.map(shown).unwrap_or_default(),
            part.rows.to_string(),
            part.bytes
                .map(|bytes| bytes.to_string())
                .unwrap_or_default(),
        ]);
    }
    table.to_string()
}

pub(crate) fn print_outcome(outcome: &PurgeOutcome) -> io::Result<()> {
    let mut out = stdout().lock();
    let done = &outcome.maintenance;
    if done.created > 0 || done.moved > 0 {
        writeln!(
            out,
            "made {} partitions, moved {} rows out of default partitions",
            done.created, done.moved
        )?;
    }
    if done.unfinished {
        writeln!(
            out,
            "a default partition still has rows: it was in use, or has too many for one short lock; \
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
        writeln!(out, "kept the last images of {} rows", run.baselines)?;
    }
    for partition in &run.postponed {
        writeln!(
            out,
            "{partition} was in use all the time; the next purge tries again"
        )?;
    }
    Ok(())
}

pub(crate) fn print_runs(runs: &[RetentionRun]) -> io::Result<()> {
    let mut out = stdout().lock();
    if runs.is_empty() {
        return writeln!(out, "nothing was ever purged");
    }
    let mut table = new_table();
    table.set_header([
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
    ]);
    for run in runs {
        table.add_row([
            run.id.to_string(),
            run.state.as_str().to_owned(),
            shown(run.started_at),
            run.started_by.clone(),
            run.changes.to_string(),
            run.transactions.to_string(),
            run.actions.to_string(),
            run.baselines.to_string(),
            run.partitions.to_string(),
            run.failure.clone().unwrap_or_default(),
        ]);
    }
    writeln!(out, "{table}")
}

fn shown(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S").to_string()
}
