//! `actor`: the transactions of an actor.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use threadline_core::actor::ActorRef;
use threadline_diesel::change::AuditTransaction;
use threadline_diesel::transactions::actor_history;

use super::lists::{Asked, Output, load_page, print_page};
use crate::cli::{DatabaseArgs, ListOutputArgs, PageArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::instant::instant;
use crate::show::show_transactions;

#[derive(Debug, Args)]
pub(crate) struct ActorArgs {
    /// The actor: `user:42`.
    actor: ActorRef,
    /// Only transactions begun at this instant or later: `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// Only transactions begun at this instant or before.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A transaction as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct TransactionDocument<'a>(&'a AuditTransaction);

impl<'a> From<&'a AuditTransaction> for TransactionDocument<'a> {
    fn from(transaction: &'a AuditTransaction) -> Self {
        Self(transaction)
    }
}

pub(crate) async fn run(args: ActorArgs) -> Result<Answer, Failure> {
    let mut question = actor_history(args.actor);
    if let Some(from) = args.from {
        question = question.from(from);
    }
    if let Some(to) = args.to {
        question = question.to(to);
    }
    let output = Output::from(&args.output);
    let asked = Asked::new(&args.page, output)?;
    let mut conn = connect(&args.database).await?;
    let page = load_page(&mut conn, &question, &asked, show_transactions).await?;
    print_page::<_, TransactionDocument<'_>>(
        &page,
        output,
        "no transactions match",
        show_transactions,
    )?;
    Ok(Answer::Fine)
}
