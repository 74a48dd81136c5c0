//! Compares policies by table and column: declared in code, deployed by the migrations on disk, and deployed in the
//! database.
//!
//! ```
//! use threadline_diesel::policy::{PolicySources, PolicyStatus};
//! # use threadline_core::column_type::ColumnType;
//! # use threadline_core::table::{AuditedTable, Column, TableName};
//! # let orders = AuditedTable::builder(TableName::new("public", "orders"))
//! #     .column(Column::new("id", ColumnType::builtin("int8"))).key(["id"]).build().unwrap();
//! let report = PolicySources::deployed(vec![]).declared(vec![orders]).compare();
//! assert_eq!(report.tables[0].status, PolicyStatus::Drift);
//! ```
//!
//! # The JSON
//!
//! A [`PolicyReport`] is an object with `format_version` (1), `tables` and `summary`. A table has
//! `schema`, `name`, `status` (`matches`, `drift`, `cannot_tell`), the hashes `declared`, `on_disk`
//! and `deployed` (null if there is none or it is not known), `differences` (objects with `what`
//! and what it needs), `notes` (texts) and `columns` (`name`, `status`, and the policies `declared`
//! and `deployed`, each with `rule` and `column_type`, or null).

mod deployed;
mod difference;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use threadline_core::capture::GeneratedPolicy;
use threadline_core::table::{AuditedTable, TableName};

pub use self::deployed::DeployedPolicy;
pub use self::difference::{ColumnPolicy, PolicyDifference, differences};

/// The three sources of policies. The deployed ones are known; the others may not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySources {
    declared: Option<Vec<AuditedTable>>,
    on_disk: Option<BTreeMap<TableName, String>>,
    deployed: Vec<DeployedPolicy>,
}

impl PolicySources {
    /// The deployed policies.
    #[must_use]
    pub fn deployed(policies: Vec<DeployedPolicy>) -> Self {
        Self {
            deployed: policies,
            ..Self::default()
        }
    }

    /// Adds the declarations of the code. They must be complete: other tables are reported as not declared.
    #[must_use]
    pub fn declared(mut self, tables: Vec<AuditedTable>) -> Self {
        self.declared = Some(tables);
        self
    }

    /// Adds the newest hash of each table in the migrations on disk.
    #[must_use]
    pub fn on_disk(mut self, hashes: BTreeMap<TableName, String>) -> Self {
        self.on_disk = Some(hashes);
        self
    }

    /// Compares the sources; tables are sorted by name.
    #[must_use]
    pub fn compare(&self) -> PolicyReport {
        let names: BTreeSet<&TableName> = self
            .deployed
            .iter()
            .map(|policy| &policy.name)
            .chain(self.declared.iter().flatten().map(AuditedTable::name))
            .chain(self.on_disk.iter().flatten().map(|(name, _)| name))
            .collect();
        PolicyReport::new(names.into_iter().map(|name| self.compare_table(name)))
    }

    fn compare_table(&self, name: &TableName) -> TablePolicy {
        let deployed = self.deployed.iter().find(|policy| &policy.name == name);
        let declared = self
            .declared
            .as_ref()
            .and_then(|tables| tables.iter().find(|table| table.name() == name));
        let deployed_table = deployed.and_then(|policy| policy.declared.as_ref().ok());
        let hash = declared.map(|table| GeneratedPolicy::new(table).hash);
        let mut compared = TablePolicy {
            table: name.clone(),
            status: PolicyStatus::Matches,
            differences: Vec::new(),
            notes: Vec::new(),
            columns: difference::columns(declared, deployed_table),
            on_disk: self
                .on_disk
                .as_ref()
                .and_then(|hashes| hashes.get(name))
                .cloned(),
            deployed: deployed.and_then(|policy| policy.hash.clone()),
            declared: hash,
        };
        if let (Some(declared), Some(deployed)) = (declared, deployed_table) {
            compared.differences = differences(declared, deployed);
        }
        self.compare_sources(&mut compared);
        if let Some(policy) = deployed {
            compared.doubt(policy);
        }
        compared
    }

    /// Whether the known sources agree.
    fn compare_sources(&self, table: &mut TablePolicy) {
        let mut places: Vec<(&str, &Option<String>)> = Vec::new();
        match &self.declared {
            Some(_) => places.push(("the code", &table.declared)),
            None => table
                .notes
                .push("the code declares no tables here, so it was not compared".to_owned()),
        }
        match &self.on_disk {
            Some(_) => places.push(("the migrations", &table.on_disk)),
            None => table
                .notes
                .push("the migrations were not found, so they were not compared".to_owned()),
        }
        places.push(("the database", &table.deployed));
        let having: Vec<_> = places.iter().filter(|(_, hash)| hash.is_some()).collect();
        let mut notes = Vec::new();
        if let (Some((first, _)), true) = (having.first(), having.len() < places.len()) {
            for (missing, _) in places.iter().filter(|(_, hash)| hash.is_none()) {
                notes.push(format!("it is in {first}, but not in {missing}"));
            }
        }
        for pair in having.windows(2) {
            if pair[0].1 != pair[1].1 {
                notes.push(format!(
                    "{} and {} have different policies",
                    pair[0].0, pair[1].0
                ));
            }
        }
        if !notes.is_empty() || !table.differences.is_empty() {
            table.status = PolicyStatus::Drift;
        }
        table.notes.extend(notes);
    }
}

/// Whether the sources of a table's policy agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolicyStatus {
    /// The sources agree.
    Matches,
    /// The sources differ.
    Drift,
    /// The deployed policy is not known.
    CannotTell,
}

impl PolicyStatus {
    /// The status for display.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Drift => "drift",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// A column as it is declared and as it is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ColumnComparison {
    /// The column.
    pub name: String,
    /// Whether both agree; [`PolicyStatus::CannotTell`] if only one is known.
    pub status: PolicyStatus,
    /// The declared policy.
    pub declared: Option<ColumnPolicy>,
    /// The deployed policy.
    pub deployed: Option<ColumnPolicy>,
}

/// A table's policy in the three sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TablePolicy {
    /// The table.
    #[serde(flatten)]
    pub table: TableName,
    /// Whether the sources agree.
    pub status: PolicyStatus,
    /// The hash of the declaration.
    pub declared: Option<String>,
    /// The hash in the newest migration of the table.
    pub on_disk: Option<String>,
    /// The hash in the comment of the deployed function.
    pub deployed: Option<String>,
    /// The differences between declared and deployed.
    pub differences: Vec<PolicyDifference>,
    /// Notes for display.
    pub notes: Vec<String>,
    /// The columns of both, by name.
    pub columns: Vec<ColumnComparison>,
}

impl TablePolicy {
    /// Whether the deployed policy can be trusted: its function must be the generated one.
    fn doubt(&mut self, policy: &DeployedPolicy) {
        let doubt = match &policy.declared {
            Err(error) => format!("has a policy that cannot be read: {error}"),
            Ok(_) if policy.is_forged() => "has a policy that does not match its hash".to_owned(),
            Ok(_) if policy.changed_by_hand() => "was changed by hand".to_owned(),
            Ok(_) => return,
        };
        self.status = PolicyStatus::CannotTell;
        self.notes.push(format!("{} {doubt}", policy.function));
    }
}

/// The number of tables by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PolicySummary {
    /// Tables whose sources agree.
    pub matches: usize,
    /// Tables whose sources differ.
    pub drift: usize,
    /// Tables whose deployed policy is not known.
    pub cannot_tell: usize,
}

/// The policies of all tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PolicyReport {
    /// The version of this JSON format.
    pub format_version: u32,
    /// All tables of any source.
    pub tables: Vec<TablePolicy>,
    /// The number of tables by status.
    pub summary: PolicySummary,
}

impl PolicyReport {
    fn new(tables: impl Iterator<Item = TablePolicy>) -> Self {
        let tables: Vec<_> = tables.collect();
        let count = |status| tables.iter().filter(|table| table.status == status).count();
        Self {
            format_version: 1,
            summary: PolicySummary {
                matches: count(PolicyStatus::Matches),
                drift: count(PolicyStatus::Drift),
                cannot_tell: count(PolicyStatus::CannotTell),
            },
            tables,
        }
    }

    /// Whether the sources agree for every table.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.summary.drift == 0 && self.summary.cannot_tell == 0
    }
}
