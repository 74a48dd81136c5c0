//! `timeline`: changes across tables.

use diesel_async::AsyncPgConnection;
use threadline_diesel::timeline::Timeline;

use super::follow::follow;
use super::lists::{Asked, Output, load_page, print_page};
use super::subject::Subject;
use crate::cli::{ListOutputArgs, PageArgs, TimelineArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{EntryDocument, show_timeline};

pub(crate) async fn run(args: TimelineArgs) -> Result<Answer, Failure> {
    let subject = args.filters.subject();
    let mut conn = connect(&args.database).await?;
    let question = args.filters.question(&mut conn).await?;
    if args.follow {
        if let Some(subject) = &subject
            && subject.why_nothing(&mut conn).await? == Answer::Bad
        {
            return Ok(Answer::Bad);
        }
        return follow(&mut conn, question, Output::from(&args.output)).await;
    }
    answer(
        &mut conn,
        &question,
        subject.as_ref(),
        &args.page,
        &args.output,
    )
    .await
}

/// Loads a page of a timeline and prints it.
pub(super) async fn answer(
    conn: &mut AsyncPgConnection,
    question: &Timeline,
    subject: Option<&Subject>,
    page: &PageArgs,
    output: &ListOutputArgs,
) -> Result<Answer, Failure> {
    let output = Output::from(output);
    let asked = Asked::new(page, output)?;
    let page = load_page(conn, question, &asked, show_timeline).await?;
    if page.entries.is_empty()
        && let Some(subject) = subject
        && subject.why_nothing(conn).await? == Answer::Bad
    {
        return Ok(Answer::Bad);
    }
    print_page::<_, EntryDocument<'_>>(&page, output, "no changes match", show_timeline)?;
    Ok(Answer::Fine)
}
