//! `timeline`: changes across tables.

use anyhow::Context;
use threadline_diesel::error::ReadError;
use threadline_diesel::nonblocking;
use threadline_diesel::page::{Cursor, PageSize};
use threadline_diesel::timeline::Timeline;

use crate::cli::{OutputArgs, PageArgs, TimelineArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{print_json, print_timeline};

pub(crate) async fn run(args: TimelineArgs) -> Result<Answer, Failure> {
    let question = args.filters.question();
    let mut conn = connect(&args.database).await?;
    answer(&mut conn, question, &args.page, &args.output).await
}

/// Loads a page of a timeline and prints it.
pub(super) async fn answer(
    conn: &mut diesel_async::AsyncPgConnection,
    mut question: Timeline,
    page: &PageArgs,
    output: &OutputArgs,
) -> Result<Answer, Failure> {
    question = question
        .page_size(PageSize::new(page.limit).map_err(|wrong| Failure::usage(wrong.to_string()))?);
    if let Some(cursor) = &page.after {
        question = question.after(Cursor::from_text(cursor));
    }
    let page = nonblocking::timeline(conn, &question)
        .await
        .map_err(|error| match error {
            ReadError::Cursor(wrong) => Failure::usage(wrong.to_string()),
            other => {
                Failure::CouldNotRun(anyhow::Error::new(other).context("cannot read the trail"))
            }
        })?;
    if output.json {
        print_json(&crate::show::PageDocument::from(&page)).context("cannot print")?;
    } else {
        print_timeline(&page).context("cannot print")?;
    }
    Ok(Answer::Fine)
}
