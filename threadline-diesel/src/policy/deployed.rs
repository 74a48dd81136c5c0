//! The policies that deployed functions carry.

use serde_json::Value;
use threadline_core::capture::{CaptureSql, GENERATOR_VERSION};
use threadline_core::table::{AuditedTable, TableName};

use crate::coverage::functions::differs;
use crate::coverage::queries::FunctionRow;

/// A capture function that is deployed, with the policy it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeployedPolicy {
    /// The table it captures.
    pub name: TableName,
    /// The generator's version.
    pub version: u32,
    /// The hash it carries.
    pub hash: Option<String>,
    /// The declaration it carries, or why that cannot be read.
    pub declared: Result<AuditedTable, String>,
    /// The function, as SQL writes it.
    pub function: String,
    /// The columns that the table has now; none if it is gone.
    pub present_columns: Vec<String>,
    /// Whether its body is not the one that this release generates from the declaration. Known only of
    /// policies of this release's generator.
    pub body_changed: bool,
    /// The same of its settings.
    pub settings_changed: bool,
    pub(crate) function_oid: u32,
    pub(crate) function_name: String,
}

impl DeployedPolicy {
    /// The policy that a capture function carries as its comment, if that names a table.
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
                differs(function, &CaptureSql::new(declared));
        }
        Some(read)
    }

    /// Whether the declaration is not the one that the hash was made of, or the function is that of
    /// another table. Known only of policies of this release's generator.
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

    /// Whether the function is not the one that was generated.
    #[must_use]
    pub fn changed_by_hand(&self) -> bool {
        self.body_changed || self.settings_changed
    }
}
