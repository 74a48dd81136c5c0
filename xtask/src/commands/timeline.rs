//! `timeline`: changes across tables.

use std::time::Duration;

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_diesel::documents::EntryDocument;
use threadline_diesel::follow::{BLIND_WINDOW, Follow};
use threadline_diesel::{Timeline, TimelineEntry};

use super::empty_answer::EmptyAnswer;
use super::page::{PageRequest, load_page};
use super::row_key::resolve_key;
use crate::args::{DatabaseArgs, ListOutputArgs, PageArgs, TimelineFilterArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::output::json::print_ndjson;
use crate::output::page::{ListFormat, print_page};
use crate::output::text::print_line;
use crate::output::timeline::{show_more_of_timeline, show_timeline};

/// The pause between two reads of `--follow`.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    filters: TimelineFilterArgs,
    /// Keep running and print changes as they are committed, oldest first, until interrupted.
    #[arg(long, conflicts_with_all = ["after", "before", "limit", "from", "to", "json"])]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: TimelineArgs) -> Result<Answer, Failure> {
    let target = EmptyAnswer::from_filters(&args.filters);
    let mut conn = connect(&args.database).await?;
    let question = filtered_timeline(&mut conn, args.filters).await?;
    let format = args.output.format();
    if args.follow {
        if let Some(target) = &target
            && target.explain(&mut conn).await? == Answer::Bad
        {
            return Ok(Answer::Bad);
        }
        return follow(&mut conn, question, format).await;
    }
    let request = PageRequest::new(&args.page, format)?;
    let page = load_page(&mut conn, &question, &request, show_timeline).await?;
    if page.entries.is_empty()
        && let Some(target) = &target
        && target.explain(&mut conn).await? == Answer::Bad
    {
        return Ok(Answer::Bad);
    }
    print_page::<_, EntryDocument<'_>>(&page, format, "no changes match", show_timeline)?;
    Ok(Answer::Fine)
}

/// The timeline with these filters.
pub(super) async fn filtered_timeline(
    conn: &mut AsyncPgConnection,
    filters: TimelineFilterArgs,
) -> Result<Timeline, Failure> {
    let row_key = match (&filters.table, &filters.key) {
        (Some(table), Some(key)) => Some(resolve_key(conn, table, key).await?),
        _ => None,
    };
    Ok(filters.into_timeline(row_key.as_ref()))
}

/// Prints changes as they are committed, until Ctrl-C.
async fn follow(
    conn: &mut AsyncPgConnection,
    question: Timeline,
    format: ListFormat,
) -> Result<Answer, Failure> {
    let mut follow = Follow::start(conn, question).await?;
    if !follow.sees_all_transactions() {
        eprintln!(
            "warning: this role cannot see when transactions of other roles started, so changes of \
             transactions that run longer than {} minutes can be missed; grant it pg_read_all_stats",
            BLIND_WINDOW.num_minutes()
        );
    }
    let mut show: fn(&[TimelineEntry]) -> String = show_timeline;
    loop {
        let entries = follow.read_new(conn).await?;
        if format == ListFormat::Ndjson {
            print_ndjson(entries.iter().map(EntryDocument::from))?;
        } else if !entries.is_empty() {
            print_line(&show(&entries))?;
            show = show_more_of_timeline;
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Answer::Fine),
        }
    }
}
