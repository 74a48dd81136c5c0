//! `correlation`: everything that an id strings together.

use std::io::{Write, stdout};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use threadline_core::context::ContextId;
use threadline_diesel::correlation::{Correlation, CorrelationBundle};
use threadline_diesel::nonblocking;
use threadline_diesel::page::PageSize;

use super::actions::ActionDocument;
use super::actor::TransactionDocument;
use super::lists::{PageDocument, unanswered};
use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{EntryDocument, print_json, show_actions, show_timeline, show_transactions};

#[derive(Debug, Args)]
pub(crate) struct CorrelationArgs {
    /// The correlation's id.
    id: ContextId,
    /// How many entries of each kind to show, at most 10000.
    #[arg(long, value_name = "N", default_value_t = threadline_diesel::page::DEFAULT_PAGE_SIZE)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A bundle as `--json` prints it: three pages. Stable: fields may be added.
#[derive(Debug, Serialize)]
struct BundleDocument<'a> {
    transactions: PageDocument<'a, TransactionDocument<'a>>,
    actions: PageDocument<'a, ActionDocument<'a>>,
    changes: PageDocument<'a, EntryDocument<'a>>,
}

pub(crate) async fn run(args: CorrelationArgs) -> Result<Answer, Failure> {
    let size = PageSize::new(args.limit).map_err(|wrong| Failure::usage(wrong.to_string()))?;
    let question = Correlation::of(args.id.clone()).page_size(size);
    let mut conn = connect(&args.database).await?;
    let bundle = nonblocking::correlation_bundle(&mut conn, &question)
        .await
        .map_err(unanswered)?;
    if args.output.json {
        print_json(&BundleDocument {
            transactions: PageDocument::of(&bundle.transactions),
            actions: PageDocument::of(&bundle.actions),
            changes: PageDocument::of(&bundle.changes),
        })
        .context("cannot print")?;
    } else {
        print(&args.id, &bundle).context("cannot print")?;
    }
    Ok(Answer::Fine)
}

fn print(id: &ContextId, bundle: &CorrelationBundle) -> std::io::Result<()> {
    let mut out = stdout().lock();
    if bundle.is_empty() {
        return writeln!(out, "nothing is known of correlation {id}");
    }
    let parts = [
        (
            show_transactions(&bundle.transactions.entries),
            bundle.transactions.has_more(),
            "larger --limit".to_owned(),
        ),
        (
            show_actions(&bundle.actions.entries),
            bundle.actions.has_more(),
            format!("actions --correlation {id}"),
        ),
        (
            show_timeline(&bundle.changes.entries),
            bundle.changes.has_more(),
            format!("timeline --correlation {id}"),
        ),
    ];
    for (place, (shown, has_more, rest)) in parts.iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{shown}")?;
        if *has_more {
            writeln!(out, "more: {rest}")?;
        }
    }
    Ok(())
}
