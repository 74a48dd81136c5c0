//! Pages of lists: from the options to the loaded page.

use std::io::{IsTerminal, stdout};

use diesel::result::Error as DieselError;
use diesel_async::AsyncPgConnection;
use threadline_diesel::evidence::{Evidence, EvidenceError, EvidenceHistory};
use threadline_diesel::query::{DEFAULT_PAGE_SIZE, HistoryWithChildren, MAX_PAGE_SIZE};
use threadline_diesel::{
    Actions, AuditAction, AuditTransaction, Cursor, Page, PageSize, ReadError, Timeline,
    TimelineEntry, Transactions,
};

use crate::args::PageArgs;
use crate::exit::Failure;
use crate::output::page::ListFormat;

/// The lines of a terminal without entries: the header, its line, the cursors and the prompt.
const FRAME_LINES: u16 = 5;

/// The requested page.
#[derive(Debug, Clone)]
pub(super) struct PageRequest {
    size: PageSize,
    after: Option<Cursor>,
    before: Option<Cursor>,
    /// The lines of the terminal for entries, if the page must fit.
    lines: Option<usize>,
}

impl PageRequest {
    /// The page of these options. Without `--limit`, a table on a terminal has as many entries as fit.
    pub(super) fn new(page: &PageArgs, format: ListFormat) -> Result<Self, Failure> {
        let lines =
            lines_for_entries().filter(|_| page.limit.is_none() && format == ListFormat::Table);
        let size = match (page.limit, lines) {
            (Some(limit), _) => PageSize::new(limit).map_err(Failure::usage)?,
            (None, Some(lines)) => clamp_size(lines),
            (None, None) => PageSize::default(),
        };
        Ok(Self {
            size,
            after: page.after.as_ref().map(Cursor::from_text),
            before: page.before.as_ref().map(Cursor::from_text),
            lines,
        })
    }

    /// The same page with fewer entries, if these do not fit the terminal.
    fn shrink<T>(&self, entries: &[T], show: impl Fn(&[T]) -> String) -> Option<Self> {
        let lines = self.lines?;
        let fits = |count: &usize| show(&entries[..*count]).lines().count() <= lines + 2;
        if entries.is_empty() || fits(&entries.len()) {
            return None;
        }
        let count = (1..entries.len()).rev().find(fits).unwrap_or(1);
        Some(Self {
            size: clamp_size(count),
            lines: None,
            ..self.clone()
        })
    }
}

fn clamp_size(entries: usize) -> PageSize {
    let entries = u32::try_from(entries).unwrap_or(DEFAULT_PAGE_SIZE);
    PageSize::new(entries.clamp(1, MAX_PAGE_SIZE)).unwrap_or_default()
}

/// The lines of the terminal for entries; none if standard output is not a terminal.
fn lines_for_entries() -> Option<usize> {
    if !stdout().is_terminal() {
        return None;
    }
    let (_, rows) = crossterm::terminal::size().ok()?;
    Some(usize::from(rows.saturating_sub(FRAME_LINES).max(1)))
}

/// A question whose answer is a page.
pub(super) trait Paged: Clone {
    type Entry;

    fn page_size(self, size: PageSize) -> Self;
    fn after(self, cursor: Cursor) -> Self;
    fn before(self, cursor: Cursor) -> Self;
    async fn load(&self, conn: &mut AsyncPgConnection) -> Result<Page<Self::Entry>, ReadError>;
}

/// Implements [`Paged`] by the question's methods and the function that reads a page.
macro_rules! paged {
    ($question:ty, $entry:ty, $load:path) => {
        impl Paged for $question {
            type Entry = $entry;

            fn page_size(self, size: PageSize) -> Self {
                self.page_size(size)
            }

            fn after(self, cursor: Cursor) -> Self {
                self.after(cursor)
            }

            fn before(self, cursor: Cursor) -> Self {
                self.before(cursor)
            }

            async fn load(&self, conn: &mut AsyncPgConnection) -> Result<Page<$entry>, ReadError> {
                $load(conn, self).await
            }
        }
    };
}

paged!(Timeline, TimelineEntry, threadline_diesel::timeline);
paged!(
    HistoryWithChildren,
    TimelineEntry,
    threadline_diesel::history_with_children
);
paged!(Actions, AuditAction, threadline_diesel::actions);
paged!(
    Transactions,
    AuditTransaction,
    threadline_diesel::transactions
);
paged!(EvidenceHistory, Evidence, load_evidence);

async fn load_evidence(
    conn: &mut AsyncPgConnection,
    query: &EvidenceHistory,
) -> Result<Page<Evidence>, ReadError> {
    let page = threadline_diesel::evidence::history(conn, query).await;
    page.map_err(|error| match error {
        EvidenceError::Read(error) => error,
        other => DieselError::QueryBuilderError(Box::new(other)).into(),
    })
}

/// Loads the requested page; if it must fit the terminal and does not, loads fewer entries.
pub(super) async fn load_page<Q: Paged>(
    conn: &mut AsyncPgConnection,
    question: &Q,
    request: &PageRequest,
    show: impl Fn(&[Q::Entry]) -> String,
) -> Result<Page<Q::Entry>, Failure> {
    let page = apply(question, request).load(conn).await?;
    match request.shrink(&page.entries, show) {
        Some(smaller) => Ok(apply(question, &smaller).load(conn).await?),
        None => Ok(page),
    }
}

fn apply<Q: Paged>(question: &Q, request: &PageRequest) -> Q {
    let mut question = question.clone().page_size(request.size);
    if let Some(cursor) = &request.after {
        question = question.after(cursor.clone());
    }
    if let Some(cursor) = &request.before {
        question = question.before(cursor.clone());
    }
    question
}
