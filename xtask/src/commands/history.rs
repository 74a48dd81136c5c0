//! `history`: the changes of one row, or when a field of it came to a value.

use anyhow::Context;
use threadline_diesel::change::TimelineEntry;
use threadline_diesel::history::{HistoryNotes, row_timeline};
use threadline_diesel::moments::{HasMoments, row_moment};
use threadline_diesel::nonblocking;
use threadline_diesel::terms::FieldValue;

use super::lists::{Asked, Output, load_page, print_page};
use super::subject::{Subject, resolve_key};
use crate::cli::HistoryArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{EntryDocument, plain, show_history};

pub(crate) async fn run(args: HistoryArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let key = resolve_key(&mut conn, &args.table, &args.key).await?;
    let question = match args.field.clone() {
        None => row_timeline(args.table.clone(), &key),
        Some(field) => {
            let mut moment = row_moment(args.table.clone(), &key).field(field);
            if let Some(value) = &args.became {
                let value = FieldValue::typed(value);
                moment = moment.became(value.map_err(|wrong| Failure::usage(wrong.to_string()))?);
            }
            moment.timeline()
        }
    };
    let subject = Subject {
        table: args.table,
        key: Some(args.key),
        column: args.field,
        value: args.became,
    };
    let notes = nonblocking::history_notes(&mut conn, &subject.table, &key)
        .await
        .context("cannot read the trail")?;
    let output = Output::from(&args.output);
    let asked = Asked::new(&args.page, output)?;
    let show = |entries: &[TimelineEntry]| show_history(entries, &notes.moves);
    let page = load_page(&mut conn, &question, &asked, show).await?;
    if page.entries.is_empty() && subject.why_nothing(&mut conn).await? == Answer::Bad {
        return Ok(Answer::Bad);
    }
    print_page::<_, EntryDocument<'_>>(&page, output, "no changes match", show)?;
    print_notes(&notes);
    Ok(Answer::Fine)
}

/// Says on standard error what the changes do not say themselves.
fn print_notes(notes: &HistoryNotes) {
    const INSTANT: &str = "%Y-%m-%d %H:%M:%S UTC";
    for other in &notes.earlier_holders {
        eprintln!(
            "until {} this was the key of another row, which became `{}`",
            other.until.format(INSTANT),
            plain(&other.became)
        );
    }
    if let Some(truncated) = &notes.truncated {
        eprintln!(
            "the table was truncated at {}, and this row with it: `diff {}` says by whom",
            truncated.at.format(INSTANT),
            truncated.change_id
        );
    }
    if let Some(defined) = &notes.key_defined_at {
        eprintln!(
            "the key of the table was defined anew at {}: earlier changes have other keys and are not shown",
            defined.format(INSTANT)
        );
    }
}
