//! `timeline`: changes across tables.

use anyhow::Context;
use threadline_diesel::error::ReadError;
use threadline_diesel::nonblocking;
use threadline_diesel::page::{Cursor, PageSize};
use threadline_diesel::timeline::{Attribution, Timeline};

use crate::cli::{OutputArgs, PageArgs, TimelineArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{print_json, print_timeline};

pub(crate) async fn run(args: TimelineArgs) -> Result<Answer, Failure> {
    let mut question = Timeline::new();
    match (args.table, &args.key) {
        (Some(table), Some(key)) => question = question.row(table, key),
        (Some(table), None) => question = question.table(table),
        (None, _) => {}
    }
    if let Some(op) = args.op {
        question = question.op(op);
    }
    if let Some(actor) = args.actor {
        question = question.actor(actor);
    }
    if args.unattributed {
        question = question.attribution(Attribution::Unattributed);
    }
    if let Some(id) = args.correlation {
        question = question.correlation_id(id);
    }
    if let Some(id) = args.request {
        question = question.request_id(id);
    }
    if let Some(name) = args.action {
        question = question.action(name);
    }
    if let Some(instant) = args.from {
        question = question.from(instant);
    }
    if let Some(instant) = args.to {
        question = question.to(instant);
    }
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
    question = question.page_size(PageSize::new(page.limit).map_err(Failure::usage)?);
    if let Some(cursor) = &page.after {
        question = question.after(Cursor::from_text(cursor));
    }
    let page = nonblocking::timeline(conn, &question)
        .await
        .map_err(|error| match error {
            ReadError::Cursor(wrong) => Failure::usage(wrong),
            other => Failure::CouldNotRun(anyhow::Error::new(other).context("cannot read the trail")),
        })?;
    if output.json {
        print_json(&crate::show::PageDocument::from(&page)).context("cannot print")?;
    } else {
        print_timeline(&page).context("cannot print")?;
    }
    Ok(Answer::Fine)
}
