//! The capture that the migrations on disk deploy.

use std::collections::BTreeMap;

use threadline_core::capture::{CaptureMigration, GeneratedPolicy, policies_in};
use threadline_core::identifier::quote_literal;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::{AuditedTable, TableName};

use crate::migrations_dir::MigrationsDir;

/// The prefix of a line that marks the end of the capture of a table.
const DISABLED: &str = "-- threadline:disable-capture ";

/// The prefix of a line that marks a table that is captured as the database defines it, not as the code declares it.
const INTROSPECTED: &str = "-- threadline:introspected ";

/// The line that marks the end of the capture of a table in a migration.
pub(crate) fn disabled_marker(table: &TableName) -> String {
    marker(DISABLED, table)
}

/// The line that marks a table without a declaration in the code.
pub(crate) fn introspected_marker(table: &TableName) -> String {
    marker(INTROSPECTED, table)
}

fn marker(prefix: &str, table: &TableName) -> String {
    format!(
        "{prefix}{}",
        serde_json::json!({"schema": table.schema(), "name": table.name()})
    )
}

/// The tables in the lines with this prefix.
fn marked_in<'a>(up_sql: &'a str, prefix: &'a str) -> impl Iterator<Item = TableName> + 'a {
    up_sql
        .lines()
        .filter_map(move |line| line.strip_prefix(prefix))
        .filter_map(|table| serde_json::from_str(table).ok())
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

/// The newest capture of a table in the migrations.
#[derive(Debug)]
struct CapturedTable {
    hash: String,
    sql: String,
    introspected: bool,
}

/// The tables that the migrations capture.
#[derive(Debug, Default)]
pub(crate) struct OnDisk(BTreeMap<TableName, CapturedTable>);

impl OnDisk {
    pub(crate) fn read(dir: &MigrationsDir) -> Self {
        let mut newest = BTreeMap::new();
        for migration in dir.migrations() {
            let introspected: Vec<_> = marked_in(&migration.up_sql, INTROSPECTED).collect();
            for (table, hash) in policies_in(&migration.up_sql) {
                if let Some(sql) = CaptureMigration::statement_in(&migration.up_sql, &table) {
                    let captured = CapturedTable {
                        hash,
                        sql,
                        introspected: introspected.contains(&table),
                    };
                    newest.insert(table, captured);
                }
            }
            for table in marked_in(&migration.up_sql, DISABLED) {
                newest.remove(&table);
            }
        }
        Self(newest)
    }

    /// The tables that the migrations must capture: those that the code declares, and those that were
    /// introspected, with the rules that they have in the migrations.
    pub(crate) fn expected_tables(&self, declared: Vec<AuditedTable>) -> Vec<AuditedTable> {
        let introspected: Vec<_> = self
            .0
            .keys()
            .filter(|name| self.is_introspected(name))
            .filter(|name| !declared.iter().any(|table| table.name() == *name))
            .filter_map(|name| self.declaration(name))
            .collect();
        let mut tables = declared;
        tables.extend(introspected);
        tables.sort_by(|a, b| a.name().cmp(b.name()));
        tables
    }

    /// Whether the newest migration of a table marks it as introspected.
    pub(crate) fn is_introspected(&self, table: &TableName) -> bool {
        self.0.get(table).is_some_and(|table| table.introspected)
    }

    /// Whether the newest migration of a table was generated from a declaration in code.
    pub(crate) fn is_from_code(&self, table: &TableName) -> bool {
        self.0.get(table).is_some_and(|table| !table.introspected)
    }

    /// Whether the migrations capture a table with this policy.
    pub(crate) fn captures(&self, table: &AuditedTable) -> bool {
        self.hash(table.name()) == Some(&GeneratedPolicy::new(table).hash)
    }

    pub(crate) fn hash(&self, table: &TableName) -> Option<&String> {
        self.0.get(table).map(|table| &table.hash)
    }

    pub(crate) fn sql(&self, table: &TableName) -> Option<String> {
        self.0.get(table).map(|table| table.sql.clone())
    }

    /// The declaration of a captured table, from the comment of its function.
    pub(crate) fn declaration(&self, table: &TableName) -> Option<AuditedTable> {
        let (_, comment) = self
            .0
            .get(table)?
            .sql
            .split_once("\nCOMMENT ON FUNCTION ")?;
        let (_, literal) = comment.split_once(" IS\n    ")?;
        let literal = literal.lines().next()?.strip_suffix(';')?;
        let policy: GeneratedPolicy = serde_json::from_str(&unquote_literal(literal)?).ok()?;
        Some(policy.table)
    }

    pub(crate) fn hashes(&self) -> BTreeMap<TableName, String> {
        self.0
            .iter()
            .map(|(name, table)| (name.clone(), table.hash.clone()))
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
