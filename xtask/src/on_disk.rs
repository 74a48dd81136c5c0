//! What the migrations on disk deploy in the end.

use std::collections::BTreeMap;

use threadline_core::capture::{CaptureMigration, policies_in};
use threadline_core::table::{AuditedTable, TableName};

use crate::migrations_dir::MigrationsDir;

/// Begins the line of a migration that takes a table out of capture.
const RETIRED: &str = "-- threadline:retire ";

/// The mark of a table that a migration takes out of capture.
pub(crate) fn retired_mark(table: &TableName) -> String {
    format!(
        "{RETIRED}{}",
        serde_json::json!({"schema": table.schema(), "name": table.name()})
    )
}

/// The newest hash and statement of each table, without tables that were taken out since.
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
            for table in retired_in(&migration.up_sql) {
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

    pub(crate) fn hashes(&self) -> BTreeMap<TableName, String> {
        self.0
            .iter()
            .map(|(table, (hash, _))| (table.clone(), hash.clone()))
            .collect()
    }

    pub(crate) fn tables_not_in<'a>(
        &'a self,
        tables: &'a [AuditedTable],
    ) -> impl Iterator<Item = &'a TableName> {
        self.0
            .keys()
            .filter(move |deployed| !tables.iter().any(|table| table.name() == *deployed))
    }
}

fn retired_in(up_sql: &str) -> impl Iterator<Item = TableName> {
    up_sql
        .lines()
        .filter_map(|line| line.strip_prefix(RETIRED))
        .filter_map(|mark| serde_json::from_str(mark).ok())
}
