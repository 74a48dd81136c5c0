//! The capture that the migrations on disk deploy.

use std::collections::BTreeMap;

use threadline_core::capture::{CaptureMigration, GeneratedPolicy, policies_in};
use threadline_core::identifier::quote_literal;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::{AuditedTable, TableName};

use crate::migrations_dir::MigrationsDir;

/// The beginning of a line that marks the end of the capture of a table.
const DISABLED: &str = "-- threadline:disable-capture ";

/// The line that marks the end of the capture of a table in a migration.
pub(crate) fn disabled_marker(table: &TableName) -> String {
    format!(
        "{DISABLED}{}",
        serde_json::json!({"schema": table.schema(), "name": table.name()})
    )
}

/// The statement that takes the locks of a capture migration.
pub(crate) fn lock_tables_sql(tables: &[TableName]) -> String {
    let quoted: Vec<_> = tables
        .iter()
        .map(|table| quote_literal(&table.quoted()))
        .collect();
    format!(
        "SELECT {STORAGE_SCHEMA}.lock_for_enrolment(VARIADIC ARRAY[{}]::text[]);\n",
        quoted.join(", ")
    )
}

/// The policy hash and statement of each captured table, from its newest migration.
#[derive(Debug, Default)]
pub(crate) struct OnDisk(BTreeMap<TableName, (String, String)>);

impl OnDisk {
    pub(crate) fn read(dir: &MigrationsDir) -> Self {
        let mut newest = BTreeMap::new();
        for migration in dir.migrations() {
            for (table, hash) in policies_in(&migration.up_sql) {
                if let Some(sql) = CaptureMigration::statement_in(&migration.up_sql, &table) {
                    newest.insert(table, (hash, sql));
                }
            }
            for table in disabled_in(&migration.up_sql) {
                newest.remove(&table);
            }
        }
        Self(newest)
    }

    pub(crate) fn hash(&self, table: &TableName) -> Option<&String> {
        self.0.get(table).map(|(hash, _)| hash)
    }

    pub(crate) fn sql(&self, table: &TableName) -> Option<String> {
        self.0.get(table).map(|(_, sql)| sql.clone())
    }

    /// The declaration of a captured table, from the comment of its function.
    pub(crate) fn declaration(&self, table: &TableName) -> Option<AuditedTable> {
        let (_, sql) = self.0.get(table)?;
        let (_, comment) = sql.split_once("\nCOMMENT ON FUNCTION ")?;
        let (_, literal) = comment.split_once(" IS\n    ")?;
        let literal = literal.lines().next()?.strip_suffix(';')?;
        let policy: GeneratedPolicy = serde_json::from_str(&unquote_literal(literal)?).ok()?;
        Some(policy.table)
    }

    pub(crate) fn hashes(&self) -> BTreeMap<TableName, String> {
        self.0
            .iter()
            .map(|(table, (hash, _))| (table.clone(), hash.clone()))
            .collect()
    }

    /// The captured tables that are not among these.
    pub(crate) fn tables_not_in<'a>(
        &'a self,
        tables: &'a [AuditedTable],
    ) -> impl Iterator<Item = &'a TableName> {
        self.0
            .keys()
            .filter(move |captured| !tables.iter().any(|table| table.name() == *captured))
    }
}

/// The text of a literal that `quote_literal` wrote.
fn unquote_literal(literal: &str) -> Option<String> {
    let (escaped, quoted) = match literal.strip_prefix('E') {
        Some(quoted) => (true, quoted),
        None => (false, literal),
    };
    let text = quoted
        .strip_prefix('\'')?
        .strip_suffix('\'')?
        .replace("''", "'");
    Some(if escaped {
        text.replace("\\\\", "\\")
    } else {
        text
    })
}

/// The tables whose capture a migration ends.
fn disabled_in(up_sql: &str) -> impl Iterator<Item = TableName> {
    up_sql
        .lines()
        .filter_map(|line| line.strip_prefix(DISABLED))
        .filter_map(|table| serde_json::from_str(table).ok())
}
