//! The SQL of a migration: a function for each table, with the policy that it deploys.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::expressions::RowExpressions;
use super::function::{body, function_name, qualified_function_name};
use super::template::fill;
use crate::identifier::{dollar_quote, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, TableName};

/// Counts up whenever the generated SQL changes meaning, so that functions deployed by an older
/// release are told apart from functions that were changed by hand.
pub const GENERATOR_VERSION: u32 = 1;

const ENABLE: &str = include_str!("../../sql/capture/enable.sql");
const LOCK: &str = include_str!("../../sql/capture/lock.sql");
const DISABLE: &str = include_str!("../../sql/capture/disable.sql");

/// Begins the line that says which table the following statements are for and which policy they deploy.
const MARKER: &str = "-- threadline:capture ";

/// What a deployed function carries as its comment, and a migration above each statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeneratedPolicy {
    /// [`GENERATOR_VERSION`] of the release that generated it.
    pub version: u32,
    /// SHA-256 of the declaration and the version, in hex.
    pub hash: String,
    /// The declaration.
    pub table: AuditedTable,
}

impl GeneratedPolicy {
    /// The policy this release generates from a declaration.
    #[must_use]
    pub fn new(table: &AuditedTable) -> Self {
        let mut digest = Sha256::new();
        digest.update(GENERATOR_VERSION.to_be_bytes());
        digest.update(json(table).as_bytes());
        Self {
            version: GENERATOR_VERSION,
            hash: hex::encode(digest.finalize()),
            table: table.clone(),
        }
    }
}

/// A line of a migration that says what a statement deploys: enough to compare, not the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    table: TableName,
    hash: String,
}

/// The tables whose capture a migration deploys, with the hashes of their policies, in order.
///
/// Read from the migration's own marks, never from its SQL.
#[must_use]
pub fn policies_in(up_sql: &str) -> Vec<(TableName, String)> {
    up_sql
        .lines()
        .filter_map(|line| line.strip_prefix(MARKER))
        .filter_map(|mark| serde_json::from_str::<Marker>(mark).ok())
        .map(|mark| (mark.table, mark.hash))
        .collect()
}

/// The capture SQL of one table.
#[derive(Debug, Clone)]
pub struct CaptureSql<'a> {
    table: &'a AuditedTable,
    policy: GeneratedPolicy,
}

impl<'a> CaptureSql<'a> {
    /// Prepares the SQL of a table.
    #[must_use]
    pub fn new(table: &'a AuditedTable) -> Self {
        Self {
            table,
            policy: GeneratedPolicy::new(table),
        }
    }

    /// The policy the SQL deploys.
    #[must_use]
    pub fn policy(&self) -> &GeneratedPolicy {
        &self.policy
    }

    /// The function that PostgreSQL holds after the policy is deployed.
    #[must_use]
    pub fn function(&self) -> DeployedFunction {
        DeployedFunction {
            name: function_name(self.table.name()),
            body: body(self.table),
            settings: self.settings(),
        }
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        RowExpressions::new(self.table, "NEW").settings()
    }

    /// The statements that put the table under capture with this policy, or replace the policy that it
    /// has. They belong into one transaction.
    #[must_use]
    pub fn enable(&self) -> String {
        let mark = Marker {
            table: self.table.name().clone(),
            hash: self.policy.hash.clone(),
        };
        let settings: Vec<_> = self
            .settings()
            .into_iter()
            .map(|(name, value)| format!("\nSET {name} = {}", quote_literal(value)))
            .collect();
        let enable = fill(
            ENABLE,
            &[
                ("threadline", STORAGE_SCHEMA),
                ("function", &qualified_function_name(self.table.name())),
                ("settings", &settings.concat()),
                ("body", &dollar_quote("capture", &body(self.table))),
                ("policy", &json_literal(&self.policy)),
                ("schema_literal", &quote_literal(self.table.name().schema())),
                ("name_literal", &quote_literal(self.table.name().name())),
                (
                    "function_literal",
                    &quote_literal(&function_name(self.table.name())),
                ),
            ],
        );
        format!("{MARKER}{}\n{enable}", json(&mark))
    }

    /// The statements that take the table out of capture. Its trail stays.
    #[must_use]
    pub fn disable(&self) -> String {
        fill(
            DISABLE,
            &[
                ("threadline", STORAGE_SCHEMA),
                ("schema_literal", &quote_literal(self.table.name().schema())),
                ("name_literal", &quote_literal(self.table.name().name())),
                ("function", &qualified_function_name(self.table.name())),
            ],
        )
    }
}

/// What a deployed capture function looks like in `pg_proc`, to tell one that was changed by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedFunction {
    /// `proname`.
    pub name: String,
    /// `prosrc`.
    pub body: String,
    /// `proconfig` besides `search_path = pg_catalog, pg_temp`, in order.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// A migration for some tables.
#[derive(Debug, Clone)]
pub struct CaptureMigration {
    up: String,
    down: String,
}

impl CaptureMigration {
    /// The migration that deploys the policies of these tables.
    ///
    /// `before` gives the statement that deployed a table's previous policy, if there was one: what
    /// `down.sql` goes back to.
    pub fn new<'a>(
        tables: impl IntoIterator<Item = &'a AuditedTable>,
        before: impl Fn(&TableName) -> Option<String>,
    ) -> Self {
        let mut up = String::from(
            "-- Audit capture, generated by Threadline from the code's declarations.\n\
             -- Do not edit: change the declarations and generate again.\n\
             -- Apply it in one transaction, as diesel does.\n",
        );
        let tables: Vec<_> = tables.into_iter().collect();
        let quoted: Vec<_> = tables
            .iter()
            .map(|table| quote_literal(&table.name().quoted()))
            .collect();
        up.push_str(&fill(
            LOCK,
            &[
                ("threadline", STORAGE_SCHEMA),
                ("tables", &quoted.join(", ")),
            ],
        ));
        let mut down =
            String::from("-- Back to the capture that was in force before this migration.\n");
        for table in tables {
            let sql = CaptureSql::new(table);
            up.push('\n');
            up.push_str(&sql.enable());
            down.push('\n');
            down.push_str(&before(table.name()).unwrap_or_else(|| sql.disable()));
        }
        Self { up, down }
    }

    /// `up.sql`.
    #[must_use]
    pub fn up(&self) -> &str {
        &self.up
    }

    /// `down.sql`.
    #[must_use]
    pub fn down(&self) -> &str {
        &self.down
    }

    /// The statement of a table in the `up.sql` of an earlier migration.
    #[must_use]
    pub fn statement_in(up_sql: &str, table: &TableName) -> Option<String> {
        let start = up_sql.match_indices(MARKER).find_map(|(at, _)| {
            let line = up_sql[at..].lines().next()?;
            let mark: Marker = serde_json::from_str(line.strip_prefix(MARKER)?).ok()?;
            (&mark.table == table).then_some(at)
        })?;
        let rest = &up_sql[start..];
        let end = rest[MARKER.len()..]
            .find(&format!("\n{MARKER}"))
            .map_or(rest.len(), |next| MARKER.len() + next + 1);
        Some(format!("{}\n", rest[..end].trim_end()))
    }
}

/// A value as JSON. The types serialized here have string keys only, so this cannot fail.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn json_literal<T: Serialize>(value: &T) -> String {
    quote_literal(&json(value))
}
