//! `correlation`: the transactions, actions and changes of a correlation.

use std::io::{self, Write, stdout};

use clap::Args;
use threadline_core::context::ContextId;
use threadline_diesel::documents::CorrelationDocument;
use threadline_diesel::query::{CorrelationBundle, DEFAULT_PAGE_SIZE};
use threadline_diesel::{Correlation, PageSize};

use super::empty_answer::explain_empty;
use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::table::{show_actions, show_transactions};
use crate::output::text::escape;
use crate::output::timeline::show_timeline;

#[derive(Debug, Args)]
pub(crate) struct CorrelationArgs {
    /// The id of the correlation.
    id: ContextId,
    /// Show at most this number of entries of each kind, up to 10000.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PAGE_SIZE)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: CorrelationArgs) -> Result<Answer, Failure> {
    let size = PageSize::new(args.limit).map_err(Failure::usage)?;
    let question = Correlation::new(args.id.clone()).page_size(size);
    let bundle = read(&args.database, async |conn| {
        let bundle = threadline_diesel::correlation(conn, &question).await?;
        if bundle.is_empty() {
            explain_empty(conn, &question).await?;
        }
        Ok(bundle)
    })
    .await?;
    if args.output.json {
        print_json(&CorrelationDocument::from(&bundle))?;
    } else {
        print(&args.id, &bundle)?;
    }
    Ok(Answer::Fine)
}

fn print(id: &ContextId, bundle: &CorrelationBundle) -> io::Result<()> {
    let mut out = stdout().lock();
    let id = escape(&id.to_string());
    if bundle.is_empty() {
        return writeln!(out, "nothing is recorded for correlation {id}");
    }
    let parts = [
        (
            "transactions",
            show_transactions(&bundle.transactions.entries),
            bundle.transactions.has_more(),
            "larger --limit".to_owned(),
        ),
        (
            "actions",
            show_actions(&bundle.actions.entries),
            bundle.actions.has_more(),
            format!("actions --correlation {id}"),
        ),
        (
            "changes",
            show_timeline(&bundle.changes.entries),
            bundle.changes.has_more(),
            format!("timeline --correlation {id}"),
        ),
    ];
    for (index, (name, shown, has_more, rest)) in parts.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{name}:\n{shown}")?;
        if *has_more {
            writeln!(out, "more: {rest}")?;
        }
    }
    Ok(())
}
