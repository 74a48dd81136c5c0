//! Deployed policies, from the comments of capture functions.

use serde_json::Value;
use threadline_core::capture::{CaptureSql, GENERATOR_VERSION};
use threadline_core::table::{AuditedTable, TableName};

use crate::coverage::queries::FunctionRow;

/// A deployed capture function and the policy in its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedPolicy {
    /// The table it captures.
    pub name: TableName,
    /// The version of the generator.
    pub version: u32,
    /// The hash in the comment.
    pub hash: Option<String>,
    /// The declaration in the comment, or why it cannot be read.
    pub declared: Result<AuditedTable, String>,
    /// The function's signature.
    pub function: String,
    /// The present columns of the table; none if it was dropped.
    pub present_columns: Vec<String>,
    /// Whether the body differs from what this release generates from the declaration. Only compared for policies of
    /// this release's generator.
    pub body_changed: bool,
    /// Whether the settings differ; compared like the body.
    pub settings_changed: bool,
    pub(crate) function_oid: u32,
    pub(crate) function_name: String,
}

impl DeployedPolicy {
    /// The policy in a capture function's comment, if that names a table.
    pub(crate) fn read(function: &FunctionRow) -> Option<Self> {
        let mut policy: Value = serde_json::from_str(function.comment.as_deref()?).ok()?;
        let name = &policy["table"]["name"];
        let name = TableName::new(name["schema"].as_str()?, name["name"].as_str()?);
        let version = policy["version"].as_u64();
        let hash = policy["hash"].as_str().map(str::to_owned);
        let declared: Result<AuditedTable, _> = serde_json::from_value(policy["table"].take());
        let mut read = Self {
            name,
            version: version
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or_default(),
            hash,
            declared: declared.map_err(|error| error.to_string()),
            function: function.signature.clone(),
            present_columns: Vec::new(),
            body_changed: false,
            settings_changed: false,
            function_oid: function.oid,
            function_name: function.name.clone(),
        };
        if let Ok(declared) = &read.declared
            && read.version == GENERATOR_VERSION
        {
            (read.body_changed, read.settings_changed) =
                compare_function(function, &CaptureSql::new(declared));
        }
        Some(read)
    }

    /// Whether the declaration does not match the hash, or the function is that of another table. Only compared for
    /// policies of this release's generator.
    #[must_use]
    pub fn is_forged(&self) -> bool {
        self.version == GENERATOR_VERSION
            && match &self.declared {
                Ok(declared) => {
                    let sql = CaptureSql::new(declared);
                    self.hash.as_ref() != Some(&sql.policy().hash)
                        || self.function_name != sql.function().name
                }
                Err(_) => true,
            }
    }

    /// Whether an older release generated it.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.version < GENERATOR_VERSION
    }

    /// Whether the function differs from the generated one.
    #[must_use]
    pub fn changed_by_hand(&self) -> bool {
        self.body_changed || self.settings_changed
    }
}

/// Whether the body or the settings of a function differ from what the generator writes.
fn compare_function(function: &FunctionRow, sql: &CaptureSql<'_>) -> (bool, bool) {
    let wanted = sql.function();
    let same = |found: &str, (name, value): (&str, &str)| {
        found
            .split_once('=')
            .is_some_and(|(other, stored)| other.eq_ignore_ascii_case(name) && stored == value)
    };
    let mut settings = vec![("search_path", "pg_catalog, pg_temp")];
    settings.extend(wanted.settings);
    let settings_are_same = settings.len() == function.settings.len()
        && settings
            .iter()
            .all(|wanted| function.settings.iter().any(|found| same(found, *wanted)));
    (wanted.body != function.body, !settings_are_same)
}
