//! Pages of lists.

use std::io::{self, Write, stdout};

use serde::Serialize;
use threadline_diesel::documents::PageDocument;
use threadline_diesel::{Cursor, Page};

use super::json::{print_json, print_ndjson};

/// The format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListFormat {
    Table,
    Json,
    Ndjson,
}

/// Prints a page. `D` is the JSON document of an entry, `show` renders the list, and `no_entries` is
/// printed instead of an empty one. `options` are printed with the cursors of other pages.
pub(crate) fn print_page<'a, E, D>(
    page: &'a Page<E>,
    format: ListFormat,
    no_entries: &str,
    options: &str,
    show: impl Fn(&[E]) -> String,
) -> io::Result<()>
where
    D: From<&'a E> + Serialize,
{
    match format {
        ListFormat::Json => print_json(&PageDocument::<D>::new(page)),
        ListFormat::Ndjson => print_ndjson(page.entries.iter().map(D::from)),
        ListFormat::Table => print_list(page, no_entries, options, show),
    }
}

fn print_list<E>(
    page: &Page<E>,
    no_entries: &str,
    options: &str,
    show: impl Fn(&[E]) -> String,
) -> io::Result<()> {
    let mut out = stdout().lock();
    if page.entries.is_empty() {
        writeln!(out, "{no_entries}")?;
    } else {
        writeln!(out, "{}", show(&page.entries))?;
    }
    write!(
        out,
        "{}",
        show_cursors(page.next.as_ref(), page.previous.as_ref(), options)
    )
}

/// The options that show the next and the previous page, one per line, with more options that these pages
/// need.
pub(crate) fn show_cursors(
    next: Option<&Cursor>,
    previous: Option<&Cursor>,
    options: &str,
) -> String {
    [("more", "--after", next), ("before", "--before", previous)]
        .into_iter()
        .filter_map(|(word, option, cursor)| {
            Some(format!("{word}: {option} {}{options}\n", cursor?.as_str()))
        })
        .collect()
}
