//! `timeline`: changes across tables.

use std::time::Duration;

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_diesel::documents::EntryDocument;
use threadline_diesel::follow::{BLIND_WINDOW, Follow};
use threadline_diesel::query::TimelineFilters;
use threadline_diesel::{Page, Timeline, TimelineEntry};
use tokio::io::AsyncWriteExt;

use super::empty_answer::explain_empty;
use super::page::{PageRequest, load_page};
use super::row_key::resolve_key;
use crate::args::{DatabaseArgs, ListOutputArgs, PageArgs, TimelineFilterArgs};
use crate::connection::{connect, read, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::write_ndjson;
use crate::output::list::without_header;
use crate::output::page::{ListFormat, print_page};
use crate::output::text::print_note;
use crate::output::timeline::show_timeline;
use crate::settings::settings;

/// The pause between two reads of `--follow`.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    filters: TimelineFilterArgs,
    /// Keep running and print changes as they are committed, oldest first, until interrupted.
    #[arg(long, conflicts_with_all = ["after", "before", "limit", "since", "from", "to", "json"])]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: TimelineArgs) -> Result<Answer, Failure> {
    if args.follow {
        return tokio::select! {
            // Polled first, so that Ctrl-C is handled from here on.
            biased;
            _ = tokio::signal::ctrl_c() => Ok(Answer::Fine),
            outcome = follow(args) => outcome,
        };
    }
    let window = args.filters.resolve_window()?;
    let filters = args.filters.into_filters()?;
    let format = args.output.format();
    let request = PageRequest::new(&args.page, format)?;
    let page = read_page(&args.database, &filters, &request).await?;
    let Some(page) = page else {
        return Ok(Answer::Bad);
    };
    let options = window.repeating_options();
    print_page::<_, EntryDocument<'_>>(&page, format, "no changes match", &options, show_timeline)?;
    Ok(Answer::Fine)
}

/// A page of the timeline with these filters; none if the filters name what the trail does not have.
pub(super) async fn read_page(
    database: &DatabaseArgs,
    filters: &TimelineFilters,
    request: &PageRequest,
) -> Result<Option<Page<TimelineEntry>>, Failure> {
    read(database, async |conn| {
        let question = filtered_timeline(conn, filters).await?;
        let page = load_page(conn, &question, request, show_timeline).await?;
        if page.entries.is_empty() && explain_empty(conn, &question).await? == Answer::Bad {
            return Ok(None);
        }
        Ok(Some(page))
    })
    .await
}

/// The timeline with these filters.
pub(super) async fn filtered_timeline(
    conn: &mut AsyncPgConnection,
    filters: &TimelineFilters,
) -> Result<Timeline, Failure> {
    let row_key = match (&filters.table, &filters.key) {
        (Some(table), Some(key)) => Some(resolve_key(conn, table, key).await?),
        _ => None,
    };
    let settings = settings();
    let timeline = filters.timeline(row_key.as_ref(), settings.now, settings.zone, None);
    Ok(timeline?)
}

/// Prints changes as they are committed.
async fn follow(args: TimelineArgs) -> Result<Answer, Failure> {
    let filters = args.filters.into_filters()?;
    let format = args.output.format();
    let mut conn = connect(&args.database).await?;
    let started = transaction(&mut conn, async |conn| {
        let question = filtered_timeline(conn, &filters).await?;
        // Names that the trail does not have; that there are no changes yet is no reason to stop.
        if explain_empty(conn, &question).await? == Answer::Bad {
            return Ok::<_, Failure>(None);
        }
        Ok(Some(Follow::start(conn, question).await?))
    })
    .await?;
    let Some(mut follow) = started else {
        return Ok(Answer::Bad);
    };
    if !follow.sees_all_transactions() {
        print_note(&format!(
            "warning: this role cannot see when transactions of other roles started, so changes of \
             transactions that run longer than {} minutes can be missed; grant it pg_read_all_stats",
            BLIND_WINDOW.num_minutes()
        ));
    }
    let mut show: fn(&[TimelineEntry]) -> String = show_timeline;
    loop {
        let entries = transaction(&mut conn, async |conn| follow.read_new(conn).await).await?;
        let mut text = Vec::new();
        if format == ListFormat::Ndjson {
            write_ndjson(&mut text, entries.iter().map(EntryDocument::from))?;
        } else if !entries.is_empty() {
            text = format!("{}\n", show(&entries)).into_bytes();
            show = |entries| without_header(&show_timeline(entries));
        }
        // Asynchronous, so that Ctrl-C works while the pipe is full.
        let mut out = tokio::io::stdout();
        out.write_all(&text).await?;
        out.flush().await?;
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}
