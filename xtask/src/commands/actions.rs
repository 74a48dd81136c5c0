//! `actions`: what the application says it did.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_diesel::actions::Actions;
use threadline_diesel::change::AuditAction;
use threadline_diesel::terms::MetaPattern;

use super::lists::{Asked, Output, load_page, print_page};
use crate::cli::{DatabaseArgs, ListOutputArgs, PageArgs, action_status};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::instant::instant;
use crate::show::show_actions;

#[derive(Debug, Args)]
pub(crate) struct ActionsArgs {
    /// Only actions of this name.
    #[arg(long)]
    name: Option<String>,
    /// Only actions that ended like this: ok or error.
    #[arg(long, value_name = "STATUS", value_parser = action_status)]
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
    /// Only actions with these facts in their meta: `{"tenant": 7}`.
    #[arg(long, value_name = "JSON")]
    meta: Option<MetaPattern>,
    /// Only actions recorded at this instant or later: `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    from: Option<DateTime<Utc>>,
    /// Only actions recorded at this instant or before.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    to: Option<DateTime<Utc>>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// An action as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct ActionDocument<'a>(&'a AuditAction);

impl<'a> From<&'a AuditAction> for ActionDocument<'a> {
    fn from(action: &'a AuditAction) -> Self {
        Self(action)
    }
}

pub(crate) async fn run(args: ActionsArgs) -> Result<Answer, Failure> {
    let output = Output::from(&args.output);
    let asked = Asked::new(&args.page, output)?;
    let mut conn = connect(&args.database).await?;
    let question = question(args);
    let page = load_page(&mut conn, &question, &asked, show_actions).await?;
    print_page::<_, ActionDocument<'_>>(&page, output, "no actions match", show_actions)?;
    Ok(Answer::Fine)
}

fn question(args: ActionsArgs) -> Actions {
    type Narrow<T> = fn(Actions, T) -> Actions;
    fn with<T>(question: Actions, given: Option<T>, narrow: Narrow<T>) -> Actions {
        match given {
            Some(value) => narrow(question, value),
            None => question,
        }
    }
    let question = Actions::new();
    let question = with(question, args.name, Actions::name);
    let question = with(question, args.status, Actions::status);
    let question = with(question, args.category, Actions::category);
    let question = with(question, args.actor, Actions::actor);
    let question = with(question, args.actor_type, Actions::actor_type);
    let question = with(question, args.on_behalf_of, Actions::on_behalf_of);
    let question = with(question, args.correlation, Actions::correlation_id);
    let question = with(question, args.request, Actions::request_id);
    let question = with(question, args.job, Actions::job_id);
    let question = with(question, args.meta, Actions::meta);
    let question = with(question, args.from, Actions::from);
    with(question, args.to, Actions::to)
}
