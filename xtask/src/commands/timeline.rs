//! `timeline`: changes across tables.

use diesel_async::AsyncPgConnection;
use threadline_core::table::TableName;
use threadline_diesel::timeline::Timeline;

use super::follow::follow;
use super::lists::{Asked, Output, load_page, print_page, why_nothing};
use crate::cli::{ListOutputArgs, PageArgs, TimelineArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{EntryDocument, show_timeline};

pub(crate) async fn run(args: TimelineArgs) -> Result<Answer, Failure> {
    let table = args.filters.table().cloned();
    let question = args.filters.question();
    let mut conn = connect(&args.database).await?;
    if args.follow {
        if let Some(table) = &table
            && why_nothing(&mut conn, table).await? == Answer::Bad
        {
            return Ok(Answer::Bad);
        }
        return follow(&mut conn, question, Output::from(&args.output)).await;
    }
    answer(
        &mut conn,
        &question,
        table.as_ref(),
        &args.page,
        &args.output,
    )
    .await
}

/// Loads a page of a timeline and prints it.
pub(super) async fn answer(
    conn: &mut AsyncPgConnection,
    question: &Timeline,
    table: Option<&TableName>,
    page: &PageArgs,
    output: &ListOutputArgs,
) -> Result<Answer, Failure> {
    let output = Output::from(output);
    let asked = Asked::new(page, output)?;
    let page = load_page(conn, question, &asked, show_timeline).await?;
    if page.entries.is_empty()
        && let Some(table) = table
        && why_nothing(conn, table).await? == Answer::Bad
    {
        return Ok(Answer::Bad);
    }
    print_page::<_, EntryDocument<'_>>(&page, output, "no changes match", show_timeline)?;
    Ok(Answer::Fine)
}
