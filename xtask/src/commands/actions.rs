//! `actions`: recorded actions.

use clap::Args;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_diesel::query::MetaPattern;
use threadline_diesel::{Actions, AuditAction};

use super::empty_answer::explain_empty;
use super::page::{PageRequest, load_page};
use crate::args::{DatabaseArgs, ListOutputArgs, PageArgs, Window, WindowArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::page::print_page;
use crate::output::table::show_actions;

#[derive(Debug, Args)]
pub(crate) struct ActionsArgs {
    /// Only actions of this name.
    #[arg(long)]
    name: Option<String>,
    /// Only actions with this status: ok or error.
    #[arg(long, value_name = "STATUS")]
    status: Option<ActionStatus>,
    /// Only actions of this category.
    #[arg(long)]
    category: Option<String>,
    /// Only actions by this actor: `user:42`.
    #[arg(long)]
    actor: Option<ActorRef>,
    /// Only actions by actors of this type.
    #[arg(long, value_name = "TYPE")]
    actor_type: Option<ActorType>,
    /// Only actions on behalf of this actor.
    #[arg(long, value_name = "ACTOR")]
    on_behalf_of: Option<ActorRef>,
    /// Only actions of this correlation.
    #[arg(long, value_name = "ID")]
    correlation: Option<ContextId>,
    /// Only actions of this request.
    #[arg(long, value_name = "ID")]
    request: Option<ContextId>,
    /// Only actions of this job.
    #[arg(long, value_name = "ID")]
    job: Option<ContextId>,
    /// Only actions with these fields in meta: `{"tenant": 7}`.
    #[arg(long, value_name = "JSON")]
    meta: Option<MetaPattern>,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: ActionsArgs) -> Result<Answer, Failure> {
    let format = args.output.format();
    let request = PageRequest::new(&args.page, format)?;
    let database = args.database.clone();
    let window = args.window.resolve()?;
    let question = filtered_actions(args, &window);
    let page = read(&database, async |conn| {
        let page = load_page(conn, &question, &request, show_actions).await?;
        if page.entries.is_empty() {
            explain_empty(conn, &question).await?;
        }
        Ok(page)
    })
    .await?;
    print_page::<_, &AuditAction>(
        &page,
        format,
        "no actions match",
        &window.repeating_options(),
        show_actions,
    )?;
    Ok(Answer::Fine)
}

/// The actions with these filters.
fn filtered_actions(args: ActionsArgs, window: &Window) -> Actions {
    let mut question = Actions::new();
    if let Some(name) = args.name {
        question = question.name(name);
    }
    if let Some(status) = args.status {
        question = question.status(status);
    }
    if let Some(category) = args.category {
        question = question.category(category);
    }
    if let Some(actor) = args.actor {
        question = question.actor(actor);
    }
    if let Some(actor_type) = args.actor_type {
        question = question.actor_type(actor_type);
    }
    if let Some(on_behalf_of) = args.on_behalf_of {
        question = question.on_behalf_of(on_behalf_of);
    }
    if let Some(correlation) = args.correlation {
        question = question.correlation_id(correlation);
    }
    if let Some(request) = args.request {
        question = question.request_id(request);
    }
    if let Some(job) = args.job {
        question = question.job_id(job);
    }
    if let Some(meta) = args.meta {
        question = question.meta(meta);
    }
    if let Some(from) = window.from {
        question = question.from(from);
    }
    if let Some(to) = window.to {
        question = question.to(to);
    }
    question
}
