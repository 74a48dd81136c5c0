//! Capture migrations: the capture function and the policy of each table.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::expressions::RowExpressions;
use super::function::{body, function_name, qualified_function_name};
use super::template::fill;
use crate::identifier::{dollar_quote, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{AuditedTable, TableName};

/// The version of the generator. It is incremented when the meaning of the generated SQL changes, to
/// distinguish functions of an older release from functions that were changed by hand.
pub const GENERATOR_VERSION: u32 = 1;

const ENABLE: &str = include_str!("../../sql/capture/enable.sql");
const LOCK: &str = include_str!("../../sql/capture/lock.sql");
const DISABLE: &str = include_str!("../../sql/capture/disable.sql");

/// The prefix of the line before the statements of a table; the line has the table and the policy hash.
const MARKER: &str = "-- threadline:capture ";

/// A policy with its generator version and hash: the comment of a capture function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeneratedPolicy {
    /// The [`GENERATOR_VERSION`] of the release that generated the function.
    pub version: u32,
    /// SHA-256 of the declaration and the version, in hex.
    pub hash: String,
    /// The declaration of the table.
    pub table: AuditedTable,
}

impl GeneratedPolicy {
    /// The policy that this release generates from a declaration.
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

/// The JSON of a marker line in a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    table: TableName,
    hash: String,
}

/// The tables whose capture a migration deploys, with the hashes of their policies, in order.
///
/// They are read from the marker lines of the migration, never from its SQL.
#[must_use]
pub fn policies_in(up_sql: &str) -> Vec<(TableName, String)> {
    up_sql
        .lines()
        .filter_map(|line| line.strip_prefix(MARKER))
        .filter_map(|marker| serde_json::from_str::<Marker>(marker).ok())
        .map(|marker| (marker.table, marker.hash))
        .collect()
}

/// The capture SQL of one table.
#[derive(Debug, Clone)]
pub struct CaptureSql<'a> {
    table: &'a AuditedTable,
    policy: GeneratedPolicy,
}

impl<'a> CaptureSql<'a> {
    /// The capture SQL of a table.
    #[must_use]
    pub fn new(table: &'a AuditedTable) -> Self {
        Self {
            table,
            policy: GeneratedPolicy::new(table),
        }
    }

    /// The policy that the SQL deploys.
    #[must_use]
    pub fn policy(&self) -> &GeneratedPolicy {
        &self.policy
    }

    /// The capture function as `pg_proc` has it after deployment.
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

    /// The statements that enable capture of the table with this policy, or replace its policy. Execute
    /// them in one transaction.
    #[must_use]
    pub fn enable(&self) -> String {
        let marker = Marker {
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
        format!("{MARKER}{}\n{enable}", json(&marker))
    }

    /// The statements that disable capture of the table. Its records are kept.
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

/// A capture function as `pg_proc` has it, to detect functions that were changed by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedFunction {
    /// Its name: `proname`.
    pub name: String,
    /// Its body: `prosrc`.
    pub body: String,
    /// Its settings, in order: `proconfig` without `search_path = pg_catalog, pg_temp`.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// A Diesel migration that deploys the capture of tables.
#[derive(Debug, Clone)]
pub struct CaptureMigration {
    up: String,
    down: String,
}

impl CaptureMigration {
    /// The migration that deploys the policies of these tables.
    ///
    /// `before` returns the statements that deployed the previous policy of a table, if it had one;
    /// `down.sql` executes them.
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

    /// The content of `up.sql`.
    #[must_use]
    pub fn up(&self) -> &str {
        &self.up
    }

    /// The content of `down.sql`.
    #[must_use]
    pub fn down(&self) -> &str {
        &self.down
    }

    /// The statements of a table in the `up.sql` of a migration; none if it does not deploy the table.
    #[must_use]
    pub fn statement_in(up_sql: &str, table: &TableName) -> Option<String> {
        let start = up_sql.match_indices(MARKER).find_map(|(at, _)| {
            let line = up_sql[at..].lines().next()?;
            let marker: Marker = serde_json::from_str(line.strip_prefix(MARKER)?).ok()?;
            (&marker.table == table).then_some(at)
        })?;
        let rest = &up_sql[start..];
        let end = rest[MARKER.len()..]
            .find(&format!("\n{MARKER}"))
            .map_or(rest.len(), |next| MARKER.len() + next + 1);
        Some(format!("{}\n", rest[..end].trim_end()))
    }
}

/// A value as JSON. Serializing these types cannot fail: their map keys are strings.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn json_literal<T: Serialize>(value: &T) -> String {
    quote_literal(&json(value))
}
