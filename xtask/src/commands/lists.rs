//! Lists on a terminal, and as JSON: what all commands that show one have in common.

use std::io::{self, IsTerminal, Write, stdout};

use anyhow::Context;
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use threadline_diesel::actions::Actions;
use threadline_diesel::change::{AuditAction, AuditTransaction, TimelineEntry};
use threadline_diesel::error::ReadError;
use threadline_diesel::nonblocking;
use threadline_diesel::page::{Cursor, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page, PageSize};
use threadline_diesel::timeline::Timeline;
use threadline_diesel::transactions::Transactions;

use crate::cli::{ListOutputArgs, PageArgs};
use crate::exit::Failure;
use crate::show::{print_json, print_ndjson, show_neighbours};

/// Lines of a terminal that are no entries: the header and its line, the cursors, the prompt.
const FRAME_LINES: u16 = 5;

/// Which page is asked for, checked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) size: PageSize,
    pub(super) after: Option<Cursor>,
    pub(super) before: Option<Cursor>,
    /// The lines there are for entries, where the page has to fit a terminal.
    fits: Option<usize>,
}

impl Asked {
    pub(super) fn new(page: &PageArgs, output: Output) -> Result<Self, Failure> {
        let fits = lines_for_entries().filter(|_| page.limit.is_none() && output == Output::Table);
        let size = match (page.limit, fits) {
            (Some(limit), _) => {
                PageSize::new(limit).map_err(|wrong| Failure::usage(wrong.to_string()))?
            }
            (None, Some(lines)) => at_most(lines),
            (None, None) => PageSize::default(),
        };
        Ok(Self {
            size,
            after: page.after.as_ref().map(Cursor::from_text),
            before: page.before.as_ref().map(Cursor::from_text),
            fits,
        })
    }

    /// The same page, of fewer entries, if these take more lines than there are.
    fn smaller<T>(&self, entries: &[T], show: impl Fn(&[T]) -> String) -> Option<Self> {
        let lines = self.fits?;
        let fit = |count: &usize| show(&entries[..*count]).lines().count() <= lines + 2;
        if entries.is_empty() || fit(&entries.len()) {
            return None;
        }
        let count = (1..entries.len()).rev().find(fit).unwrap_or(1);
        Some(Self {
            size: at_most(count),
            fits: None,
            ..self.clone()
        })
    }
}

fn at_most(entries: usize) -> PageSize {
    let entries = u32::try_from(entries).unwrap_or(DEFAULT_PAGE_SIZE);
    PageSize::new(entries.clamp(1, MAX_PAGE_SIZE)).unwrap_or_default()
}

/// How many lines a terminal has for entries; none where nobody looks.
fn lines_for_entries() -> Option<usize> {
    if !stdout().is_terminal() {
        return None;
    }
    let (_, rows) = crossterm::terminal::size().ok()?;
    Some(usize::from(rows.saturating_sub(FRAME_LINES).max(1)))
}

/// In which form a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Table,
    Json,
    Ndjson,
}

impl From<&ListOutputArgs> for Output {
    fn from(args: &ListOutputArgs) -> Self {
        match args {
            ListOutputArgs { json: true, .. } => Self::Json,
            ListOutputArgs { ndjson: true, .. } => Self::Ndjson,
            _ => Self::Table,
        }
    }
}

/// A page as `--json` prints it. Stable: fields may be added.
#[derive(Debug, Serialize)]
pub(super) struct PageDocument<'a, T> {
    entries: Vec<T>,
    has_more: bool,
    next: Option<&'a Cursor>,
    has_previous: bool,
    previous: Option<&'a Cursor>,
}

impl<'a, T> PageDocument<'a, T> {
    pub(super) fn of<E>(page: &'a Page<E>) -> Self
    where
        T: From<&'a E>,
    {
        Self {
            entries: page.entries.iter().map(T::from).collect(),
            has_more: page.has_more(),
            next: page.next.as_ref(),
            has_previous: page.has_previous(),
            previous: page.previous.as_ref(),
        }
    }
}

/// A question that is answered by pages.
pub(super) trait Paged: Clone {
    type Entry;

    /// Loads the page that is asked for.
    async fn load(
        &self,
        conn: &mut AsyncPgConnection,
        asked: &Asked,
    ) -> Result<Page<Self::Entry>, Failure>;
}

macro_rules! paged {
    ($question:ty, $entry:ty, $load:path) => {
        impl Paged for $question {
            type Entry = $entry;

            async fn load(
                &self,
                conn: &mut AsyncPgConnection,
                asked: &Asked,
            ) -> Result<Page<$entry>, Failure> {
                let mut question = self.clone().page_size(asked.size);
                if let Some(cursor) = &asked.after {
                    question = question.after(cursor.clone());
                }
                if let Some(cursor) = &asked.before {
                    question = question.before(cursor.clone());
                }
                $load(conn, &question).await.map_err(unanswered)
            }
        }
    };
}
paged!(Actions, AuditAction, nonblocking::actions);
paged!(Transactions, AuditTransaction, nonblocking::transactions);
paged!(Timeline, TimelineEntry, nonblocking::timeline);

/// Loads the page that is asked for: where it has to fit a terminal, so many entries as do.
pub(super) async fn load_page<Q: Paged>(
    conn: &mut AsyncPgConnection,
    question: &Q,
    asked: &Asked,
    show: impl Fn(&[Q::Entry]) -> String,
) -> Result<Page<Q::Entry>, Failure> {
    let page = question.load(conn, asked).await?;
    match asked.smaller(&page.entries, show) {
        Some(smaller) => question.load(conn, &smaller).await,
        None => Ok(page),
    }
}

/// Prints a page in the form that was asked for.
pub(super) fn print_page<'a, E, T>(
    page: &'a Page<E>,
    output: Output,
    nothing: &str,
    show: impl Fn(&[E]) -> String,
) -> Result<(), Failure>
where
    T: From<&'a E> + Serialize,
{
    match output {
        Output::Json => print_json(&PageDocument::<T>::of(page)),
        Output::Ndjson => print_ndjson(page.entries.iter().map(T::from)),
        Output::Table => print_table(page, nothing, show),
    }
    .context("cannot print")?;
    Ok(())
}

fn print_table<E>(page: &Page<E>, nothing: &str, show: impl Fn(&[E]) -> String) -> io::Result<()> {
    let mut out = stdout().lock();
    if page.entries.is_empty() {
        writeln!(out, "{nothing}")?;
    } else {
        writeln!(out, "{}", show(&page.entries))?;
    }
    write!(
        out,
        "{}",
        show_neighbours(page.next.as_ref(), page.previous.as_ref())
    )
}

/// How a question fails on the command line: what was asked wrongly is wrong usage.
pub(super) fn unanswered(error: ReadError) -> Failure {
    match error {
        ReadError::Cursor(wrong) => Failure::usage(wrong.to_string()),
        ReadError::Question(wrong) => Failure::usage(wrong.to_string()),
        other => {
            let remedy = remedy(&other);
            let error = anyhow::Error::new(other).context("cannot read the trail");
            Failure::CouldNotRun(match remedy {
                Some(remedy) => error.context(remedy),
                None => error,
            })
        }
    }
}

/// What to do where there is no trail, or none for this role.
fn remedy(error: &ReadError) -> Option<&'static str> {
    let ReadError::Database(diesel::result::Error::DatabaseError(_, facts)) = error else {
        return None;
    };
    let message = facts.message();
    // Diesel does not tell the SQLSTATE of these.
    if message.starts_with("permission denied") {
        Some("this role lacks a right; the guide Roles and trust says which a reader needs")
    } else if message.contains("does not exist") {
        Some("there is no trail in this database, or one of another release: is the URL right?")
    } else {
        None
    }
}
