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

/// How many similar table names are suggested.
const SUGGESTIONS: usize = 3;

/// The least similarity of a suggested table name, from 0 to 1.
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
            key: filters.key.clone(),
            column: filters.changed.clone(),
            value: None,
        })
    }

    /// Explains the empty answer on standard error. A table that does not exist and a key that does not fit
    /// the table are wrong usage. A table that is not captured, and a column that is not stored, make the
    /// answer bad. A table without matching changes and a row without changes do not.
    pub(super) async fn explain(&self, conn: &mut AsyncPgConnection) -> Result<Answer, Failure> {
        if check_table(conn, &self.table).await? == Answer::Bad {
            return Ok(Answer::Bad);
        }
        let captured = captured_tables(conn).await;
        let rules = captured.iter().find(|table| table.name() == &self.table);
        if let Some(problem) = rules.and_then(|rules| self.column_problem(rules)) {
            print_note(&format!("no changes match: {problem}"));
            return Ok(Answer::Bad);
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

    /// Why no change of the column, or to the value, can be found.
    fn column_problem(&self, rules: &AuditedTable) -> Option<String> {
        let name = self.column.as_ref().map(ColumnName::as_str)?;
        let columns = rules.columns();
        let table = escape(&self.table.to_string());
        let shown = escape(name);
        match columns.iter().find(|column| column.name == name) {
            None => {
                let names: Vec<_> = columns.iter().map(|column| escape(&column.name)).collect();
                Some(format!(
                    "table {table} is captured with the columns {}, and without `{shown}`",
                    names.join(", ")
                ))
            }
            Some(column) if column.rule == ColumnRule::Exclude => {
                Some(format!("column `{shown}` of table {table} is never stored"))
            }
            Some(column) if column.rule == ColumnRule::Mask && self.value.is_some() => {
                Some(format!(
                    "column `{shown}` of table {table} is masked, so its values are not known; omit the \
                     value to see its changes"
                ))
            }
            Some(_) => None,
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
            let similar = similar_names(table, &captured_tables(conn).await);
            let hint = if similar.is_empty() {
                String::new()
            } else {
                format!("; similar: {}", similar.join(", "))
            };
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

/// The captured tables with a similar name, in any schema, the most similar first.
fn similar_names(table: &TableName, captured: &[AuditedTable]) -> Vec<String> {
    let given = table.name().to_lowercase();
    let mut similar: Vec<_> = captured
        .iter()
        .map(|table| {
            let name = table.name().name().to_lowercase();
            (
                strsim::normalized_damerau_levenshtein(&given, &name),
                table.name(),
            )
        })
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .collect();
    similar.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    similar
        .into_iter()
        .take(SUGGESTIONS)
        .map(|(_, name)| escape(&name.to_string()))
        .collect()
}
