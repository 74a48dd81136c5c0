//! What the code declares, what the migrations on disk deploy, and what is deployed: compared as
//! data, table by table and column by column.
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
//! and `deployed` (null where there is none or it is not known), `differences` (objects with `what`
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

/// The three places where a policy stands. What is deployed is known; the others may not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySources {
    declared: Option<Vec<AuditedTable>>,
    on_disk: Option<BTreeMap<TableName, String>>,
    deployed: Vec<DeployedPolicy>,
}

impl PolicySources {
    /// What is deployed.
    #[must_use]
    pub fn deployed(policies: Vec<DeployedPolicy>) -> Self {
        Self {
            deployed: policies,
            ..Self::default()
        }
    }

    /// What the code declares: every table, or the comparison says that others are not declared.
    #[must_use]
    pub fn declared(mut self, tables: Vec<AuditedTable>) -> Self {
        self.declared = Some(tables);
        self
    }

    /// What the migrations on disk deploy in the end: the newest hash of each table.
    #[must_use]
    pub fn on_disk(mut self, hashes: BTreeMap<TableName, String>) -> Self {
        self.on_disk = Some(hashes);
        self
    }

    /// The comparison, sorted by table.
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
        self.compare_places(&mut compared);
        if let Some(policy) = deployed {
            compared.doubt(policy);
        }
        compared
    }

    /// Whether all that is known of the three places agrees.
    fn compare_places(&self, table: &mut TablePolicy) {
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
                .push("the migrations are not here, so they were not compared".to_owned()),
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

/// Whether a table's policy is the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolicyStatus {
    /// It is.
    Matches,
    /// It is not.
    Drift,
    /// What is deployed cannot be told.
    CannotTell,
}

impl PolicyStatus {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Drift => "drift",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// A column in what is declared and in what is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ColumnComparison {
    /// The column.
    pub name: String,
    /// Whether both say the same; [`PolicyStatus::CannotTell`] where only one side is known.
    pub status: PolicyStatus,
    /// What the code says.
    pub declared: Option<ColumnPolicy>,
    /// What is deployed.
    pub deployed: Option<ColumnPolicy>,
}

/// A table's policy in the three places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TablePolicy {
    /// The table.
    #[serde(flatten)]
    pub table: TableName,
    /// Whether it is the same everywhere.
    pub status: PolicyStatus,
    /// The hash of what the code declares.
    pub declared: Option<String>,
    /// The hash that the newest migration of the table names.
    pub on_disk: Option<String>,
    /// The hash that the deployed function carries.
    pub deployed: Option<String>,
    /// How what is declared differs from what is deployed.
    pub differences: Vec<PolicyDifference>,
    /// What else there is to say, for a person.
    pub notes: Vec<String>,
    /// Every column of either side, by name.
    pub columns: Vec<ColumnComparison>,
}

impl TablePolicy {
    /// What is deployed is what it says only if its function is the one that was generated.
    fn doubt(&mut self, policy: &DeployedPolicy) {
        let doubt = match &policy.declared {
            Err(error) => format!("carries a policy that cannot be read: {error}"),
            Ok(_) if policy.is_forged() => {
                "carries a policy that its hash was not made of".to_owned()
            }
            Ok(_) if policy.changed_by_hand() => "was changed by hand".to_owned(),
            Ok(_) => return,
        };
        self.status = PolicyStatus::CannotTell;
        self.notes.push(format!("{} {doubt}", policy.function));
    }
}

/// How many tables there are of each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PolicySummary {
    /// The same everywhere.
    pub matches: usize,
    /// Not the same.
    pub drift: usize,
    /// Not to be told.
    pub cannot_tell: usize,
}

/// Every table's policy in the three places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PolicyReport {
    /// Of this JSON.
    pub format_version: u32,
    /// Every table that any of the places knows.
    pub tables: Vec<TablePolicy>,
    /// The same in numbers.
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

    /// Whether every table's policy is the same everywhere.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        self.summary.drift == 0 && self.summary.cannot_tell == 0
    }
}
