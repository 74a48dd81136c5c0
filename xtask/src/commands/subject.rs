//! What a question about a table is about, and why nothing may be known of it.

use diesel_async::AsyncPgConnection;
use threadline_core::row_key::{RowKeyText, TypedKey};
use threadline_core::table::{AuditedTable, ColumnRule, TableName};
use threadline_diesel::change::AuditChange;
use threadline_diesel::key_columns::KeyError;
use threadline_diesel::nonblocking;
use threadline_diesel::page::PageSize;
use threadline_diesel::standing::Standing;
use threadline_diesel::terms::ColumnName;
use threadline_diesel::timeline::Timeline;

use super::lists::unanswered;
use crate::exit::{Answer, Failure};

/// How many of the newest changes are looked at for one that names its row.
const LOOKED_AT: u32 = 20;

/// The key of the row that was named on the command line.
pub(crate) async fn resolve_key(
    conn: &mut AsyncPgConnection,
    table: &TableName,
    key: &TypedKey,
) -> Result<RowKeyText, Failure> {
    nonblocking::resolve_key(conn, table, key)
        .await
        .map_err(|error| match error {
            KeyError::Key(wrong) => Failure::usage(wrong.to_string()),
            KeyError::Read(error) => unanswered(error),
            other => Failure::CouldNotRun(other.into()),
        })
}

/// A table, and perhaps a row and a column of it, and a value that is looked for there.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) table: TableName,
    pub(crate) key: Option<TypedKey>,
    pub(crate) column: Option<ColumnName>,
    pub(crate) value: Option<String>,
}

impl Subject {
    /// Says why there is nothing of it. A misspelt table and a key of other columns than the table's
    /// are wrong usage; a table that is not under capture, and a column that it does not have (now, at
    /// least) or whose values are not stored, a bad answer; a quiet table, and a row that never was, no
    /// complaint.
    pub(crate) async fn why_nothing(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<Answer, Failure> {
        let table = &self.table;
        if self.check_table(conn).await? == Answer::Bad {
            return Ok(Answer::Bad);
        }
        if let Some(rules) = captured(conn, table).await
            && self.check_column(&rules) == Answer::Bad
        {
            return Ok(Answer::Bad);
        }
        if let Some(key) = &self.key {
            let key = resolve_key(conn, table, key).await?;
            let of_row = Timeline::new().row(table.clone(), &key);
            if changes(conn, of_row, 1).await?.is_empty() {
                self.show_another_row(conn).await?;
            }
        }
        Ok(Answer::Fine)
    }

    /// Says if the trail can know nothing of the table: wrong usage where there is none of the name, a
    /// bad answer where it is not under capture. Unlike the rest, this holds before anything was asked:
    /// a column that the table lost is in the trail still.
    pub(crate) async fn check_table(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<Answer, Failure> {
        let table = &self.table;
        match nonblocking::standing(conn, table)
            .await
            .map_err(unanswered)?
        {
            Standing::Unknown => Err(Failure::usage(format!(
                "there is no table {table}, and the trail knows none of that name{}",
                meant(table, &all_captured(conn).await)
            ))),
            Standing::NotCaptured => {
                eprintln!("table {table} is not captured: nothing is known of it");
                Ok(Answer::Bad)
            }
            _ => Ok(Answer::Fine),
        }
    }

    fn check_column(&self, rules: &AuditedTable) -> Answer {
        let Some(name) = self.column.as_ref().map(ColumnName::as_str) else {
            return Answer::Fine;
        };
        let table = &self.table;
        let columns = rules.columns();
        match columns.iter().find(|column| column.name == name) {
            None => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                eprintln!(
                    "no changes match: table {table} is captured with the columns {}, and without \
                     `{name}`",
                    names.join(", ")
                );
            }
            Some(column) if column.rule == ColumnRule::Exclude => {
                eprintln!("no changes match: column `{name}` of table {table} is never stored");
            }
            Some(column) if column.rule == ColumnRule::Mask && self.value.is_some() => {
                eprintln!(
                    "no changes match: column `{name}` of table {table} is masked, so its values are \
                     not known; without a value, its changes are shown"
                );
            }
            Some(_) => return Answer::Fine,
        }
        Answer::Bad
    }

    async fn show_another_row(&self, conn: &mut AsyncPgConnection) -> Result<(), Failure> {
        let of_table = Timeline::new().table(self.table.clone());
        let newest = changes(conn, of_table, LOOKED_AT).await?;
        let known = newest.iter().map(AuditChange::shown_key);
        if let Some(known) = known.into_iter().find(|known| !known.is_empty()) {
            eprintln!(
                "nothing is known of this row: it never was, or is older than capture and has not \
                 changed since, or is written otherwise; a row is named like `{known}`"
            );
        }
        Ok(())
    }
}

/// The newest changes.
async fn changes(
    conn: &mut AsyncPgConnection,
    question: Timeline,
    most: u32,
) -> Result<Vec<AuditChange>, Failure> {
    let size = PageSize::new(most).unwrap_or_default();
    let page = nonblocking::timeline(conn, &question.page_size(size))
        .await
        .map_err(unanswered)?;
    Ok(page.entries.into_iter().map(|entry| entry.change).collect())
}

/// What is captured; nothing where that cannot be read, since it only helps to explain.
async fn all_captured(conn: &mut AsyncPgConnection) -> Vec<AuditedTable> {
    nonblocking::deployed_tables(conn).await.unwrap_or_default()
}

async fn captured(conn: &mut AsyncPgConnection, table: &TableName) -> Option<AuditedTable> {
    let all = all_captured(conn).await;
    all.into_iter().find(|captured| captured.name() == table)
}

/// The captured tables that a misspelt name may mean: in another schema, in other letters, singular
/// for plural.
fn meant(table: &TableName, captured: &[AuditedTable]) -> String {
    let given = table.name().to_lowercase();
    let mut alike: Vec<_> = captured
        .iter()
        .map(AuditedTable::name)
        .filter(|name| {
            let name = name.name().to_lowercase();
            name.starts_with(&given) || given.starts_with(&name)
        })
        .collect();
    // The likeliest first.
    alike.sort_by_key(|name| name.name().len().abs_diff(given.len()));
    let alike: Vec<_> = alike.iter().take(3).map(ToString::to_string).collect();
    if alike.is_empty() {
        return String::new();
    }
    format!("; there is {}", alike.join(", "))
}
