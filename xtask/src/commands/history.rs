//! `history`: the changes of one row, or of one field of it.

use clap::{ArgAction, Args};
use diesel_async::AsyncPgConnection;
use threadline_diesel::documents::{EntryDocument, HistoryDocument};
use threadline_diesel::query::{ColumnName, HistoryNotes, HistoryWithChildren, RowQuery};
use threadline_diesel::{FieldHistory, Timeline, TimelineEntry};

use super::empty_answer::explain_empty;
use super::page::{PageRequest, load_page};
use super::row_key::{resolve_key, resolve_value};
use crate::args::{DatabaseArgs, ListOutputArgs, PageArgs, RowArgs, Window, WindowArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::page::{ListFormat, print_page};
use crate::output::text::{escape, print_note, show_instant};
use crate::output::timeline::show_history;

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    row: RowArgs,
    /// Only changes that set this column; other columns are not shown.
    #[arg(long, value_name = "COLUMN")]
    field: Option<ColumnName>,
    /// Only changes that set the column to this value, as SQL would write it, without quotes.
    #[arg(long, value_name = "VALUE", requires = "field", action = ArgAction::Set)]
    became: Option<String>,
    /// Also show the changes of rows whose foreign keys referred to the row.
    #[arg(long, conflicts_with_all = ["field", "since", "from", "to"])]
    with_children: bool,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: ListOutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: HistoryArgs) -> Result<Answer, Failure> {
    let database = args.database.clone();
    let window = args.window.resolve()?;
    read(&database, async |conn| {
        show_row_history(conn, args, &window).await
    })
    .await
}

async fn show_row_history(
    conn: &mut AsyncPgConnection,
    args: HistoryArgs,
    window: &Window,
) -> Result<Answer, Failure> {
    let RowArgs { table, key } = args.row;
    let row_key = resolve_key(conn, &table, &key).await?;
    let mut row = Timeline::new().row(table.clone(), &row_key);
    if let Some(from) = window.from {
        row = row.from(from);
    }
    if let Some(to) = window.to {
        row = row.to(to);
    }
    let query = match &args.field {
        None => row,
        Some(field) => {
            let mut changes = FieldHistory::new(row, field.clone());
            if let Some(value) = &args.became {
                changes = changes.set_to(resolve_value(conn, &table, field, value).await?);
            }
            changes.into()
        }
    };
    let notes = RowQuery::new(table.clone(), &row_key);
    let notes = threadline_diesel::history_notes(conn, &notes).await?;
    let format = args.output.format();
    let request = PageRequest::new(&args.page, format)?;
    let field = args.field.as_ref();
    let show = |entries: &[TimelineEntry]| show_history(entries, &notes.moves, field);
    let page = if args.with_children {
        let query = HistoryWithChildren::resolve(conn, &table, &row_key).await?;
        load_page(conn, &query, &request, show).await?
    } else {
        load_page(conn, &query, &request, show).await?
    };
    if page.entries.is_empty() && explain_empty(conn, &query).await? == Answer::Bad {
        return Ok(Answer::Bad);
    }
    if format == ListFormat::Json {
        print_json(&HistoryDocument::new(&page, &notes))?;
    } else {
        let options = window.repeating_options();
        print_page::<_, EntryDocument<'_>>(&page, format, "no changes match", &options, show)?;
    }
    print_notes(&notes);
    Ok(Answer::Fine)
}

/// The newest gaps are printed, at most this many.
const MAX_GAP_LINES: usize = 20;

/// Prints facts about the row that no single change states, on standard error.
fn print_notes(notes: &HistoryNotes) {
    for other in &notes.earlier_holders {
        print_note(&format!(
            "until {} UTC this was the key of another row, which became `{}`",
            show_instant(other.until),
            escape(&other.next_key)
        ));
    }
    if let Some(truncated) = &notes.truncated {
        print_note(&format!(
            "the table was truncated at {} UTC, which removed this row: see `diff {}`",
            show_instant(truncated.at),
            truncated.change_id
        ));
    }
    if let Some(defined) = &notes.key_defined_at {
        print_note(&format!(
            "the key of the table was redefined at {} UTC: earlier changes have other keys and are not shown",
            show_instant(*defined)
        ));
    }
    for changed in &notes.definition_changes {
        print_note(&format!(
            "values are shown as they were stored; defined otherwise now: {}",
            escape(&changed.to_string())
        ));
    }
    let older = notes.gaps.len().saturating_sub(MAX_GAP_LINES);
    for gap in &notes.gaps[older..] {
        print_note(&format!("changes may be missing: {gap}"));
    }
    if older > 0 {
        print_note(&format!(
            "changes may be missing: {older} earlier gaps, see --json"
        ));
    }
}
