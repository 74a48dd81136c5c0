//! `as-of`: one row as of an instant.

use anyhow::Context;
use clap::Args;
use threadline_core::instant::InstantInput;
use threadline_diesel::json::StoredJson;
use threadline_diesel::query::{CaptureGap, ChangeRef, KnownRow, RecordedState};
use threadline_diesel::{AsOf, DocumentAsOf, Timeline};

use super::empty_answer::explain_empty;
use super::row_key::resolve_key;
use crate::args::{DatabaseArgs, OutputArgs, RowArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::list::show_table;
use crate::output::text::{
    escape, print_block, show_exact_instant, show_instant, wrap_lines_for_terminal,
};
use crate::output::timeline::show_value;
use crate::settings::resolve_instant;

#[derive(Debug, Args)]
pub(crate) struct AsOfArgs {
    #[command(flatten)]
    row: RowArgs,
    /// The instant: `2026-01-31T12:00:00Z`, `2026-01-31 12:00`, `2026-01-31` (its start), `now`, `2h` (ago).
    #[arg(allow_hyphen_values = true)]
    instant: InstantInput,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: AsOfArgs) -> Result<Answer, Failure> {
    let RowArgs { table, key } = args.row;
    let instant = resolve_instant("INSTANT", &args.instant)?;
    let answer = read(&args.database, async |conn| {
        let row_key = resolve_key(conn, &table, &key).await?;
        let question = DocumentAsOf::new(table.clone(), &row_key, instant);
        let answer = threadline_diesel::document_as_of(conn, &question)
            .await
            .context("cannot read the trail")?;
        if matches!(&answer, AsOf::NotYetKnown(horizon) if horizon.first.is_none()) {
            explain_empty(conn, &Timeline::new().row(table, &row_key)).await?;
        }
        Ok(answer)
    })
    .await?;
    if args.output.json {
        print_json(&answer)?;
    } else {
        print_block(&wrap_lines_for_terminal(&show_answer(&answer), 4))?;
    }
    let is_certain = !matches!(answer, AsOf::NotYetKnown(_) | AsOf::Uncertain(_));
    Ok(Answer::fine_if(is_certain))
}

fn show_answer(answer: &AsOf<StoredJson>) -> String {
    match answer {
        AsOf::Row(known) => show_row(known),
        AsOf::Deleted(change) => format!("the row was deleted before: {}", show_change(change)),
        AsOf::NotYetKnown(horizon) => {
            let mut text = match &horizon.first {
                Some(first) => format!(
                    "the row is not known at this instant: its trail begins with {}",
                    show_change(first)
                ),
                None => "no changes are recorded for this row".to_owned(),
            };
            text.push_str(&show_gaps(&horizon.gaps));
            text
        }
        AsOf::Uncertain(uncertain) => format!(
            "the row is uncertain at this instant: it may have changed without a record{}\n\nrecorded:\n{}",
            show_gaps(&uncertain.gaps),
            match &uncertain.recorded {
                RecordedState::Row(known) => show_row(known),
                RecordedState::Deleted(change) => format!("deleted: {}", show_change(change)),
            }
        ),
        AsOf::Absent(absent) => format!(
            "the row did not exist: a baseline of all rows that ended at {} UTC did not find it; last record: {}{}",
            show_instant(absent.baselined_at),
            show_change(&absent.change),
            show_gaps(&absent.gaps)
        ),
        _ => "this release cannot show the answer; use --json".to_owned(),
    }
}

/// A line for each gap.
fn show_gaps(gaps: &[CaptureGap]) -> String {
    let lines = gaps
        .iter()
        .map(|gap| format!("\n{}", escape(&gap.to_string())));
    lines.collect()
}

fn show_row(known: &KnownRow<StoredJson>) -> String {
    let mut rows = Vec::new();
    for (name, value) in known.row.fields() {
        let shown = if value.is_null() {
            String::new()
        } else {
            show_value(&value)
        };
        rows.push([escape(&name), shown]);
    }
    let relation = if known.later {
        "not recorded yet; known from"
    } else {
        "since"
    };
    let mut text = format!(
        "{}\n\n{relation} {}",
        show_table(["column", "value"], &rows),
        show_change(&known.change)
    );
    if !known.unknown.is_empty() {
        let unknown: Vec<_> = known
            .unknown
            .iter()
            .map(|column| escape(&column.to_string()))
            .collect();
        text.push_str("\nnot known: ");
        text.push_str(&unknown.join(", "));
    }
    for changed in &known.definition_changes {
        text.push_str("\ndefined otherwise now: ");
        text.push_str(&escape(&changed.to_string()));
    }
    text
}

/// Operation, instant, actor and transaction of a change on one line.
fn show_change(change: &ChangeRef) -> String {
    let actor = change.actor.as_ref().map_or_else(
        || ", unattributed".to_owned(),
        |actor| format!(" by {}", escape(&actor.to_string())),
    );
    format!(
        "{} at {}{actor}, transaction {}",
        change.op,
        show_exact_instant(change.captured_at),
        change.transaction_id
    )
}
