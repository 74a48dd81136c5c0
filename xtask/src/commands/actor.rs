//! `actor`: the transactions of an actor.

use chrono::{DateTime, Utc};
use clap::Args;
use threadline_core::actor::ActorRef;
use threadline_diesel::AuditTransaction;
use threadline_diesel::query::actor_history;

use super::empty_filters::explain_actor;
use super::page::{PageRequest, load_page};
use crate::args::{DatabaseArgs, ListOutputArgs, PageArgs, parse_instant};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::page::print_page;
use crate::output::table::show_transactions;

#[derive(Debug, Args)]
pub(crate) struct ActorArgs {
    /// The actor: `user:42`.
    actor: ActorRef,
    /// Only transactions begun at this instant or later: `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    from: Option<DateTime<Utc>>,
    /// Only transactions begun at this instant or earlier.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    to: Option<DateTime<Utc>>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: ActorArgs) -> Result<Answer, Failure> {
    let mut question = actor_history(args.actor.clone());
    if let Some(from) = args.from {
        question = question.from(from);
    }
    if let Some(to) = args.to {
        question = question.to(to);
    }
    let format = args.output.format();
    let request = PageRequest::new(&args.page, format)?;
    let page = read(&args.database, async |conn| {
        let page = load_page(conn, &question, &request, show_transactions).await?;
        if page.entries.is_empty() {
            explain_actor(conn, &args.actor).await?;
        }
        Ok(page)
    })
    .await?;
    print_page::<_, &AuditTransaction>(&page, format, "no transactions match", show_transactions)?;
    Ok(Answer::Fine)
}
