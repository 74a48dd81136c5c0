//! Lists and tables. A list on a narrow terminal is stacked: a header line for each entry, its fields below.

use comfy_table::{
    Cell, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
    Width,
};
use crossterm::style::Stylize;

use super::text::{text_width, wrap};
use crate::settings::settings;

/// The narrowest terminal on which a list is a table.
const MIN_LIST_WIDTH: usize = 110;

/// The width of tables if the output is not for a terminal, and the space beyond the longest words of all
/// columns that makes a table wider.
const PIPED_WIDTH: usize = 120;
const PIPED_SPACE: usize = 40;

/// The least width of the last column of a table, whose content is the longest.
const MIN_LAST_WIDTH: usize = 18;

/// The spaces around the content of a cell.
const PADDING: usize = 2;

/// A line below the header, and none between rows.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// A colour of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    Green,
    Blue,
    Red,
    Yellow,
}

/// Escaped text with a colour.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    text: String,
    color: Option<Color>,
}

impl Text {
    pub(crate) fn colored(text: impl Into<String>, color: Color) -> Self {
        Self {
            text: text.into(),
            color: Some(color),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The text on one line.
    pub(crate) fn on_one_line(mut self) -> Self {
        self.text = self.text.replace('\n', " ");
        self
    }

    fn to_cell(&self) -> Cell {
        let cell = Cell::new(&self.text);
        match self.color {
            None => cell,
            Some(Color::Green) => cell.fg(comfy_table::Color::Green),
            Some(Color::Blue) => cell.fg(comfy_table::Color::Blue),
            Some(Color::Red) => cell.fg(comfy_table::Color::Red),
            Some(Color::Yellow) => cell.fg(comfy_table::Color::Yellow),
        }
    }

    fn paint(&self) -> String {
        let text = self.text.as_str();
        match self.color.filter(|_| settings().colors) {
            None => text.to_owned(),
            Some(Color::Green) => text.green().to_string(),
            Some(Color::Blue) => text.blue().to_string(),
            Some(Color::Red) => text.red().to_string(),
            Some(Color::Yellow) => text.yellow().to_string(),
        }
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            color: None,
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    name: String,
    /// Whether cells are wrapped between words.
    is_wrapped: bool,
}

impl Column {
    /// A column whose cells are never wrapped.
    pub(crate) fn whole(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_wrapped: false,
        }
    }

    /// A column whose cells are wrapped between words.
    pub(crate) fn wrapped(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_wrapped: true,
        }
    }
}

/// An entry of a list, for both layouts.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListEntry {
    /// The rows of the table.
    pub(crate) rows: Vec<Vec<Text>>,
    /// The parts of the header line; empty ones are omitted.
    pub(crate) head: Vec<Text>,
    /// The lines below the header line.
    pub(crate) details: Vec<String>,
}

/// A list: a table, or stacked entries if the terminal is narrow, or too narrow for the words of the table.
pub(crate) fn show_list(columns: &[Column], entries: &[ListEntry]) -> String {
    if entries.is_empty() {
        return "none".to_owned();
    }
    lay_out(columns, entries, MIN_LIST_WIDTH, settings().width)
}

/// A table; if the terminal is too narrow for its words, each row is a line with its first cell, and the other
/// cells below, with their headers.
pub(crate) fn show_table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let columns = header.map(Column::wrapped);
    let entries: Vec<_> = rows
        .iter()
        .map(|row| ListEntry {
            rows: vec![row.iter().cloned().map(Text::from).collect()],
            head: row.first().cloned().map(Text::from).into_iter().collect(),
            details: header
                .iter()
                .zip(row)
                .skip(1)
                .flat_map(|(name, cell)| cell.lines().map(move |line| format!("{name}: {line}")))
                .collect(),
        })
        .collect();
    lay_out(&columns, &entries, 0, settings().width)
}

/// The rows of a list without its header.
pub(crate) fn without_header(list: &str) -> String {
    let lines: Vec<_> = list.lines().collect();
    let header_end = lines.iter().position(|line| line.starts_with('─'));
    lines[header_end.map_or(0, |line| line + 1)..].join("\n")
}

/// A table if the width is at least `min_table_width` and no word has to be broken, else stacked entries.
/// Without a width, a table that is wide enough.
fn lay_out(
    columns: &[Column],
    entries: &[ListEntry],
    min_table_width: usize,
    width: Option<usize>,
) -> String {
    let limits: Vec<_> = (0..columns.len())
        .map(|index| WidthLimits::new(columns, index, entries))
        .collect();
    // One space separates columns.
    let separators = columns.len().saturating_sub(1);
    let needed = separators + limits.iter().map(|column| column.least).sum::<usize>();
    match width {
        Some(width) if width < needed.max(min_table_width) => stack(entries, width),
        width => {
            let width = width.unwrap_or(PIPED_WIDTH.max(needed + PIPED_SPACE));
            draw_table(columns, entries, &column_widths(&limits, width - needed))
        }
    }
}

/// The least and the most width of a column, with padding.
#[derive(Debug, Clone, Copy)]
struct WidthLimits {
    /// The width of its longest word, or of its longest line if cells are not wrapped.
    least: usize,
    /// The width of its longest line.
    most: usize,
}

impl WidthLimits {
    fn new(columns: &[Column], index: usize, entries: &[ListEntry]) -> Self {
        let column = &columns[index];
        let cells = entries.iter().flat_map(|entry| &entry.rows);
        let cells = cells.filter_map(|row| Some(row.get(index)?.text.as_str()));
        let texts = std::iter::once(column.name.as_str()).chain(cells);
        let (mut longest_line, mut longest_word) = (0, 0);
        for line in texts.flat_map(str::lines) {
            longest_line = longest_line.max(text_width(line));
            for word in line.split(' ') {
                longest_word = longest_word.max(text_width(word));
            }
        }
        let is_last = index + 1 == columns.len();
        let least = if !column.is_wrapped {
            longest_line
        } else if is_last {
            longest_word.max(longest_line.min(MIN_LAST_WIDTH))
        } else {
            longest_word
        };
        Self {
            least: least + PADDING,
            most: longest_line + PADDING,
        }
    }
}

/// The widths of columns: the least ones, with the remaining space, from which columns that need little of it
/// get it first.
fn column_widths(limits: &[WidthLimits], mut space: usize) -> Vec<usize> {
    let mut widths: Vec<_> = limits.iter().map(|column| column.least).collect();
    let wanted = |index: usize| limits[index].most - limits[index].least;
    let mut order: Vec<_> = (0..limits.len()).collect();
    order.sort_by_key(|index| wanted(*index));
    for (done, index) in order.iter().enumerate() {
        let share = (space / (order.len() - done)).min(wanted(*index));
        widths[*index] += share;
        space -= share;
    }
    widths
}

fn draw_table(columns: &[Column], entries: &[ListEntry], widths: &[usize]) -> String {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::MAX)
        .set_header(columns.iter().map(|column| &column.name));
    if settings().colors {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for row in entries.iter().flat_map(|entry| &entry.rows) {
        table.add_row(row.iter().map(Text::to_cell));
    }
    for (column, width) in table.column_iter_mut().zip(widths) {
        let width = u16::try_from(*width).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.trim_fmt()
}

fn stack(entries: &[ListEntry], width: usize) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| stack_entry(entry, width))
        .collect();
    entries.join("\n")
}

/// A header line, wrapped between its parts if possible, and the details below.
fn stack_entry(entry: &ListEntry, width: usize) -> String {
    let mut shown = String::new();
    let mut column = 0;
    for part in entry.head.iter().filter(|part| !part.text.is_empty()) {
        if column > 0 {
            let is_full = column + PADDING + text_width(&part.text) > width;
            shown.push_str(if is_full { "\n  " } else { "  " });
            column = if is_full { PADDING } else { column + PADDING };
        }
        let indented = format!("{}{}", " ".repeat(column), part.text);
        let wrapped = wrap(&indented, width, PADDING);
        column = wrapped.lines().last().map_or(column, text_width);
        let part = Text {
            text: wrapped.trim_start().to_owned(),
            color: part.color,
        };
        shown.push_str(&part.paint());
    }
    for detail in &entry.details {
        shown.push('\n');
        shown.push_str(&wrap(&format!("    {detail}"), width, 6));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a0000-0000-7000-8000-000000000001";

    fn entry(who: &str, row: &str, what: &[&str]) -> ListEntry {
        let what: Vec<_> = what.iter().map(|line| (*line).to_owned()).collect();
        ListEntry {
            rows: vec![vec![who.into(), row.into(), what.join("\n").into()]],
            head: vec![who.into(), row.into()],
            details: what,
        }
    }

    #[test]
    fn no_width_breaks_a_word_or_is_exceeded_by_more_than_one_word() {
        let columns = [
            Column::whole("who"),
            Column::wrapped("row"),
            Column::wrapped("what"),
        ];
        let entries = [
            entry("user:42", &format!("orders {ID}"), &["status: open → paid"]),
            entry(
                "admin:rita",
                "größe 量量量",
                &["note: a long text of many words", "n: 1"],
            ),
            entry("system:cron", "orders 7", &[]),
        ];
        let words = |text: &str| -> Vec<String> {
            let words = text.split_whitespace();
            words.map(str::to_owned).collect()
        };
        for min_table_width in [0, MIN_LIST_WIDTH] {
            for width in 1..250 {
                let shown = lay_out(&columns, &entries, min_table_width, Some(width));
                let shown_words = words(&shown);
                for entry in &entries {
                    for text in entry.rows.iter().flatten() {
                        for word in words(text.as_str()) {
                            assert!(shown_words.contains(&word), "{width}: {word}\n{shown}");
                        }
                    }
                }
                for line in shown.lines().filter(|line| text_width(line) > width) {
                    assert_eq!(words(line).len(), 1, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn a_list_on_a_pipe_is_a_table_as_wide_as_its_words_need() {
        let columns = ["one", "two", "three"].map(Column::whole);
        let long = "x".repeat(100);
        let shown = lay_out(
            &columns,
            &[entry(&long, &long, &[&long])],
            MIN_LIST_WIDTH,
            None,
        );
        assert_eq!(shown.matches(&long).count(), 3, "{shown}");
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert_eq!(without_header(&shown).lines().count(), 1);
    }
}
