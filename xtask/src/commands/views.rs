//! `views`: saved views.

use clap::{Args, Subcommand};
use threadline_core::actor::ActorRef;
use threadline_diesel::coverage::shell_quoted;
use threadline_diesel::documents::EntryDocument;
use threadline_diesel::query::TimelineFilters;
use threadline_diesel::saved_views::{self, SavedView, SavedViewError, Sharing, ViewName};

use super::page::PageRequest;
use super::timeline::read_page;
use crate::args::{DatabaseArgs, ListOutputArgs, OutputArgs, PageArgs, TimelineFilterArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::list::show_table;
use crate::output::page::{ListFormat, print_page};
use crate::output::text::{escape, print_block, print_line, print_note, show_instant};
use crate::output::timeline::show_timeline;
use crate::settings::settings;

#[derive(Debug, Subcommand)]
pub(crate) enum ViewsCommand {
    /// Show saved views: those of an owner, and shared ones.
    List(ListArgs),
    /// Show the changes that match a saved view, newest first. A relative window ends now.
    Run(RunArgs),
    /// Save filters under a name, or replace a view of this name.
    Save(Box<SaveArgs>),
    /// Remove a view.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Also show the private views of this actor.
    #[arg(long, value_name = "ACTOR")]
    owner: Option<ActorRef>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The name of the view, or its id.
    name: String,
    /// Also find private views of this actor, whose views precede shared ones of the same name.
    #[arg(long, value_name = "ACTOR")]
    owner: Option<ActorRef>,
    /// Show at most this number of entries, up to 10000. By default 50, or on a terminal as many as fit.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// The name of the view.
    name: ViewName,
    /// The actor that owns the view: `user:42`.
    #[arg(long, value_name = "ACTOR")]
    owner: ActorRef,
    /// Show the view to every actor. It shows its filters, so they must hold nothing confidential.
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    filters: TimelineFilterArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The name of the view, or its id.
    name: String,
    /// The actor that owns the view.
    #[arg(long, value_name = "ACTOR")]
    owner: ActorRef,
    /// Remove the view, instead of showing it.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(command: ViewsCommand) -> Result<Answer, Failure> {
    match command {
        ViewsCommand::List(args) => list(&args).await,
        ViewsCommand::Run(args) => run_view(&args).await,
        ViewsCommand::Save(args) => save(*args).await,
        ViewsCommand::Remove(args) => remove(&args).await,
    }
}

async fn list(args: &ListArgs) -> Result<Answer, Failure> {
    let views = read_views(&args.database, args.owner.as_ref()).await?;
    if args.output.json {
        print_json(&views)?;
    } else if views.is_empty() {
        print_line("there are no saved views")?;
    } else {
        print_block(&show_views(&views))?;
    }
    Ok(Answer::Fine)
}

async fn run_view(args: &RunArgs) -> Result<Answer, Failure> {
    let views = read_views(&args.database, args.owner.as_ref()).await?;
    let Some(view) = find(views, &args.name, args.owner.as_ref())? else {
        return Ok(Answer::Bad);
    };
    let settings = settings();
    let filters = view.filters.map_err(Failure::usage)?;
    let filters = filters.fixed(settings.now, settings.zone)?;
    let format = args.output.format();
    let page = PageArgs {
        limit: args.limit,
        after: None,
        before: None,
    };
    let request = PageRequest::new(&page, format)?;
    let Some(mut page) = read_page(&args.database, &filters, &request).await? else {
        return Ok(Answer::Bad);
    };
    // The cursor belongs to the filters with a fixed window, which this command does not have.
    if format == ListFormat::Table
        && let Some(next) = page.next.take()
    {
        let command = timeline_command(&filters);
        print_note(&format!("more: {command} --after {}", next.as_str()));
    }
    print_page::<_, EntryDocument<'_>>(&page, format, "no changes match", "", show_timeline)?;
    Ok(Answer::Fine)
}

async fn save(args: SaveArgs) -> Result<Answer, Failure> {
    args.filters.resolve_window()?;
    let filters = args.filters.into_filters()?;
    let filters = filters.without_local_times(settings().zone)?;
    let sharing = if args.shared {
        Sharing::Shared
    } else {
        Sharing::Private
    };
    let view = read(&args.database, async |conn| {
        saved_views::save(conn, &args.owner, &args.name, sharing, &filters)
            .await
            .map_err(failure)
    })
    .await?;
    print_block(&show_views(&[view]))?;
    Ok(Answer::Fine)
}

async fn remove(args: &RemoveArgs) -> Result<Answer, Failure> {
    let mut views = read_views(&args.database, Some(&args.owner)).await?;
    views.retain(|view| view.is_owned_by(&args.owner));
    let Some(view) = find(views, &args.name, Some(&args.owner))? else {
        return Ok(Answer::Bad);
    };
    if !args.execute {
        print_block(&show_views(&[view]))?;
        print_line("nothing was removed; --execute removes this view")?;
        return Ok(Answer::Fine);
    }
    let removed = read(&args.database, async |conn| {
        saved_views::remove(conn, &args.owner, view.id)
            .await
            .map_err(failure)
    })
    .await?;
    print_line(&format!("removed {}", view.name))?;
    Ok(Answer::fine_if(removed.is_some()))
}

async fn read_views(
    database: &DatabaseArgs,
    owner: Option<&ActorRef>,
) -> Result<Vec<SavedView>, Failure> {
    read(database, async |conn| {
        saved_views::list(conn, owner).await.map_err(failure)
    })
    .await
}

/// The view with a name or an id: that of the owner, or else the only shared one; an error message if there is
/// none.
fn find(
    views: Vec<SavedView>,
    name: &str,
    owner: Option<&ActorRef>,
) -> Result<Option<SavedView>, Failure> {
    let matches = |view: &SavedView| view.name == name.trim() || view.id.to_string() == name;
    let mut found: Vec<_> = views.into_iter().filter(matches).collect();
    let own = |view: &SavedView| owner.is_some_and(|owner| view.is_owned_by(owner));
    if let Some(index) = found.iter().position(own) {
        return Ok(Some(found.swap_remove(index)));
    }
    if found.len() > 1 {
        let ids: Vec<_> = found
            .iter()
            .map(|view| format!("{} of {}", view.id, view.owner))
            .collect();
        return Err(Failure::usage(format!(
            "several shared views are named `{name}`; give an id: {}",
            ids.join(", ")
        )));
    }
    if found.is_empty() {
        print_note(&format!(
            "no view is named `{name}`; `views list` shows shared ones, with --owner also private ones"
        ));
    }
    Ok(found.pop())
}

fn show_views(views: &[SavedView]) -> String {
    let rows: Vec<_> = views.iter().map(view_row).collect();
    show_table(
        ["name", "owner", "sharing", "saved", "id", "filters"],
        &rows,
    )
}

fn view_row(view: &SavedView) -> [String; 6] {
    [
        escape(&view.name),
        escape(&view.owner.to_string()),
        match view.sharing {
            Sharing::Shared => "shared",
            _ => "private",
        }
        .to_owned(),
        show_instant(view.updated_at),
        view.id.to_string(),
        match &view.filters {
            Ok(filters) => escape(&quoted(filters).join(" ")),
            Err(error) => escape(&error.to_string()),
        },
    ]
}

fn timeline_command(filters: &TimelineFilters) -> String {
    let mut words = vec!["threadline timeline".to_owned()];
    words.extend(quoted(filters));
    words.join(" ")
}

fn quoted(filters: &TimelineFilters) -> Vec<String> {
    let arguments = filters.command_arguments();
    arguments
        .iter()
        .map(|argument| shell_quoted(argument))
        .collect()
}

fn failure(error: SavedViewError) -> Failure {
    match error {
        SavedViewError::Database(error) => error.into(),
        SavedViewError::Filters(invalid) => invalid.into(),
        SavedViewError::AnonymousOwner | SavedViewError::TooManyViews(_) => Failure::usage(error),
        other => Failure::CouldNotRun(other.into()),
    }
}
