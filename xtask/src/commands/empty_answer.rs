//! Explains why an answer about a table is empty.

use diesel_async::AsyncPgConnection;
use threadline_core::row_key::RowKeyInput;
use threadline_core::table::{AuditedTable, ColumnRule, TableName};
use threadline_diesel::query::ColumnName;
use threadline_diesel::{AuditChange, CaptureStatus, PageSize, Timeline};

use super::row_key::resolve_key;
use crate::args::TimelineFilterArgs;
use crate::exit::{Answer, Failure};
use crate::output::text::{escape, print_note};

/// How many of the newest changes are searched for an example of a key.
const EXAMPLE_CHANGES: u32 = 20;

/// How many similar names are suggested.
const SUGGESTIONS: usize = 3;

/// The least similarity of a suggested name, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.5;

/// What an empty answer was about.
#[derive(Debug, Clone)]
pub(super) struct EmptyAnswer {
    pub(super) table: TableName,
    pub(super) key: Option<RowKeyInput>,
    pub(super) column: Option<ColumnName>,
    pub(super) value: Option<String>,
}

impl EmptyAnswer {
    /// The empty answer of a timeline with these filters, if they name a table.
    pub(super) fn from_filters(filters: &TimelineFilterArgs) -> Option<Self> {
        Some(Self {
            table: filters.table.clone()?,
            key: filters.key().ok()?,
            column: filters.changed.clone(),
            value: None,
        })
    }

    /// Explains the empty answer on standard error. A table that does not exist, a column
    /// that it does not have, and a key that does not fit it are wrong usage. A table that is not captured, and a column that is
    /// not stored, make the
    /// answer bad. A table without matching changes and a row without changes do not.
    pub(super) async fn explain(&self, conn: &mut AsyncPgConnection) -> Result<Answer, Failure> {
        if check_table(conn, &self.table).await? == Answer::Bad {
            return Ok(Answer::Bad);
        }
        let captured = captured_tables(conn).await;
        let rules = captured.iter().find(|table| table.name() == &self.table);
        if let (Some(rules), Some(column)) = (rules, &self.column) {
            self.check_column(rules, column)?;
            if let Some(problem) = self.column_problem(rules, column) {
                print_note(&format!("no changes match: {problem}"));
                return Ok(Answer::Bad);
            }
        }
        if let Some(key) = &self.key {
            let key = resolve_key(conn, &self.table, key).await?;
            let of_row = Timeline::new().row(self.table.clone(), &key);
            if newest_changes(conn, of_row, 1).await?.is_empty() {
                self.show_example_key(conn).await?;
            }
        }
        Ok(Answer::Fine)
    }

    /// Checks that the column is one of the table. Another name is wrong usage.
    fn check_column(&self, rules: &AuditedTable, column: &ColumnName) -> Result<(), Failure> {
        let columns = rules.columns();
        if columns.iter().any(|known| known.name == column.as_str()) {
            return Ok(());
        }
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        Err(Failure::usage(format!(
            "table {} is captured with the columns {}, and without `{}`",
            self.table,
            names.join(", "),
            column.as_str()
        )))
    }

    /// Why no change of the column, or to the value, can be found.
    fn column_problem(&self, rules: &AuditedTable, column: &ColumnName) -> Option<String> {
        let table = escape(&self.table.to_string());
        let shown = escape(column.as_str());
        let declared = rules
            .columns()
            .iter()
            .find(|known| known.name == column.as_str())?;
        match declared.rule {
            ColumnRule::Exclude => {
                Some(format!("column `{shown}` of table {table} is never stored"))
            }
            ColumnRule::Mask if self.value.is_some() => Some(format!(
                "column `{shown}` of table {table} is masked, so its values are not known; omit the value \
                 to see its changes"
            )),
            _ => None,
        }
    }

    /// Shows the key of a row that has changes.
    async fn show_example_key(&self, conn: &mut AsyncPgConnection) -> Result<(), Failure> {
        let of_table = Timeline::new().table(self.table.clone());
        let newest = newest_changes(conn, of_table, EXAMPLE_CHANGES).await?;
        let mut keys = newest.iter().map(AuditChange::shown_key);
        if let Some(key) = keys.find(|key| !key.is_empty()) {
            print_note(&format!(
                "no changes are recorded for this row: it did not exist, or has not changed since capture \
                 began, or its key is spelled differently; keys look like `{}`",
                escape(&key)
            ));
        }
        Ok(())
    }
}

/// Checks that the table is captured, or was. A table that neither exists nor is in the trail is wrong usage.
pub(super) async fn check_table(
    conn: &mut AsyncPgConnection,
    table: &TableName,
) -> Result<Answer, Failure> {
    let shown = escape(&table.to_string());
    match threadline_diesel::capture_status(conn, table).await? {
        CaptureStatus::Unknown => {
            let captured = captured_tables(conn).await;
            let names = captured.iter().map(|table| {
                let table = table.name();
                (table.name().to_owned(), table.to_string())
            });
            let hint = similar_hint(table.name(), names);
            Err(Failure::usage(format!(
                "there is no table {shown}, and no changes are recorded for one{hint}"
            )))
        }
        CaptureStatus::NotCaptured => {
            print_note(&format!(
                "table {shown} is not captured, and no changes are recorded for it"
            ));
            Ok(Answer::Bad)
        }
        _ => Ok(Answer::Fine),
    }
}

async fn newest_changes(
    conn: &mut AsyncPgConnection,
    question: Timeline,
    limit: u32,
) -> Result<Vec<AuditChange>, Failure> {
    let size = PageSize::new(limit).unwrap_or_default();
    let page = threadline_diesel::timeline(conn, &question.page_size(size)).await?;
    Ok(page.entries.into_iter().map(|entry| entry.change).collect())
}

/// The captured tables; none if they cannot be read, because they only explain.
async fn captured_tables(conn: &mut AsyncPgConnection) -> Vec<AuditedTable> {
    threadline_diesel::deployed_tables(conn)
        .await
        .unwrap_or_default()
}

/// Names that are similar to a given one, the most similar first, as the end of a message; empty if there
/// are none. Each name is compared by its first text and shown as its second.
pub(super) fn similar_hint(
    given: &str,
    names: impl IntoIterator<Item = (String, String)>,
) -> String {
    let given = given.to_lowercase();
    let mut similar: Vec<_> = names
        .into_iter()
        .map(|(name, shown)| {
            let name = name.to_lowercase();
            (strsim::normalized_damerau_levenshtein(&given, &name), shown)
        })
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .collect();
    similar.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    if similar.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = similar
        .iter()
        .take(SUGGESTIONS)
        .map(|(_, name)| escape(name))
        .collect();
    format!("; similar: {}", shown.join(", "))
}
