//! `actor`: the transactions of an actor.

use clap::Args;
use threadline_core::actor::ActorRef;
use threadline_diesel::AuditTransaction;
use threadline_diesel::query::actor_history;

use super::empty_answer::explain_empty;
use super::page::{PageRequest, load_page};
use crate::args::{DatabaseArgs, ListOutputArgs, PageArgs, WindowArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::page::print_page;
use crate::output::table::show_transactions;

#[derive(Debug, Args)]
pub(crate) struct ActorArgs {
    /// The actor: `user:42`.
    actor: ActorRef,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: ActorArgs) -> Result<Answer, Failure> {
    let mut question = actor_history(args.actor);
    let window = args.window.resolve()?;
    if let Some(from) = window.from {
        question = question.from(from);
    }
    if let Some(to) = window.to {
        question = question.to(to);
    }
    let format = args.output.format();
    let request = PageRequest::new(&args.page, format)?;
    let page = read(&args.database, async |conn| {
        let page = load_page(conn, &question, &request, show_transactions).await?;
        if page.entries.is_empty() {
            explain_empty(conn, &question).await?;
        }
        Ok(page)
    })
    .await?;
    print_page::<_, &AuditTransaction>(
        &page,
        format,
        "no transactions match",
        &window.repeating_options(),
        show_transactions,
    )?;
    Ok(Answer::Fine)
}
