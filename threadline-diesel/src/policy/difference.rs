//! Differences between two declarations of a table.

use std::fmt;

use serde::Serialize;
use threadline_core::column_type::ColumnType;
use threadline_core::table::{ActorPolicy, AuditedTable, Column, ColumnRule};

use super::{ColumnComparison, PolicyStatus};

/// A column of a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ColumnPolicy {
    /// Its rule.
    pub rule: ColumnRule,
    /// Its type.
    pub column_type: ColumnType,
}

impl From<&Column> for ColumnPolicy {
    fn from(column: &Column) -> Self {
        Self {
            rule: column.rule,
            column_type: column.column_type.clone(),
        }
    }
}

/// One difference between what the code declares and what is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolicyDifference {
    /// A column is declared and not deployed.
    ColumnOnlyDeclared {
        /// The column.
        column: String,
    },
    /// A column is deployed and not declared.
    ColumnOnlyDeployed {
        /// The column.
        column: String,
    },
    /// A column has another rule.
    Rule {
        /// The column.
        column: String,
        /// The declared value.
        declared: ColumnRule,
        /// The deployed value.
        deployed: ColumnRule,
    },
    /// A column has another type.
    Type {
        /// The column.
        column: String,
        /// The declared value.
        declared: ColumnType,
        /// The deployed value.
        deployed: ColumnType,
    },
    /// The columns have another order, which does not change what is stored.
    ColumnOrder,
    /// The key has other columns.
    Key {
        /// The declared value.
        declared: Vec<String>,
        /// The deployed value.
        deployed: Vec<String>,
    },
    /// Masked values have another placeholder.
    MaskWith {
        /// The declared value.
        declared: String,
        /// The deployed value.
        deployed: String,
    },
    /// Whether writes without an actor are rejected.
    Actor {
        /// The declared value.
        declared: ActorPolicy,
        /// The deployed value.
        deployed: ActorPolicy,
    },
}

impl fmt::Display for PolicyDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ColumnOnlyDeclared { column } => {
                write!(f, "column {column}: declared, not deployed")
            }
            Self::ColumnOnlyDeployed { column } => {
                write!(f, "column {column}: deployed, not declared")
            }
            Self::Rule {
                column,
                declared,
                deployed,
            } => write!(
                f,
                "column {column}: declared {}, deployed {}",
                shown(declared),
                shown(deployed)
            ),
            Self::Type {
                column,
                declared,
                deployed,
            } => write!(
                f,
                "column {column}: declared as {}, deployed as {}",
                shown(declared),
                shown(deployed)
            ),
            Self::ColumnOrder => f.write_str("columns are in another order"),
            Self::Key { declared, deployed } => write!(
                f,
                "key: declared ({}), deployed ({})",
                declared.join(", "),
                deployed.join(", ")
            ),
            Self::MaskWith { declared, deployed } => write!(
                f,
                "placeholder: declared {declared:?}, deployed {deployed:?}"
            ),
            Self::Actor { declared, deployed } => write!(
                f,
                "actor: declared {}, deployed {}",
                shown(declared),
                shown(deployed)
            ),
        }
    }
}

/// A value as JSON, a string without its quotes.
fn shown<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Object(fields)) => fields
            .into_iter()
            .map(|(kind, name)| format!("{kind} {}", name.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", "),
        _ => String::new(),
    }
}

/// The differences between deployed and declared; empty if both are equal.
#[must_use]
pub fn differences(declared: &AuditedTable, deployed: &AuditedTable) -> Vec<PolicyDifference> {
    use PolicyDifference as Difference;
    let mut found = column_differences(declared, deployed);
    if declared.key().columns() != deployed.key().columns() {
        found.push(Difference::Key {
            declared: declared.key().columns().to_vec(),
            deployed: deployed.key().columns().to_vec(),
        });
    }
    if declared.mask_with() != deployed.mask_with() {
        found.push(Difference::MaskWith {
            declared: declared.mask_with().to_owned(),
            deployed: deployed.mask_with().to_owned(),
        });
    }
    if declared.actor() != deployed.actor() {
        found.push(Difference::Actor {
            declared: declared.actor(),
            deployed: deployed.actor(),
        });
    }
    found
}

fn column_differences(declared: &AuditedTable, deployed: &AuditedTable) -> Vec<PolicyDifference> {
    use PolicyDifference as Difference;
    let mut found = Vec::new();
    for column in declared.columns() {
        let name = column.name.clone();
        let Some(other) = deployed.columns().iter().find(|other| other.name == name) else {
            found.push(Difference::ColumnOnlyDeclared { column: name });
            continue;
        };
        if column.rule != other.rule {
            found.push(Difference::Rule {
                column: name.clone(),
                declared: column.rule,
                deployed: other.rule,
            });
        }
        if column.column_type != other.column_type {
            found.push(Difference::Type {
                column: name,
                declared: column.column_type.clone(),
                deployed: other.column_type.clone(),
            });
        }
    }
    let known = |column: &&Column| {
        !declared
            .columns()
            .iter()
            .any(|other| other.name == column.name)
    };
    found.extend(deployed.columns().iter().filter(known).map(|column| {
        Difference::ColumnOnlyDeployed {
            column: column.name.clone(),
        }
    }));
    if found.is_empty() && declared.columns() != deployed.columns() {
        found.push(Difference::ColumnOrder);
    }
    found
}

/// The columns of both declarations.
pub(super) fn columns(
    declared: Option<&AuditedTable>,
    deployed: Option<&AuditedTable>,
) -> Vec<ColumnComparison> {
    let policy = |table: Option<&AuditedTable>, name: &str| {
        table
            .and_then(|table| table.columns().iter().find(|column| column.name == name))
            .map(ColumnPolicy::from)
    };
    let mut names: Vec<&str> = [declared, deployed]
        .into_iter()
        .flatten()
        .flat_map(AuditedTable::columns)
        .map(|column| column.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let (left, right) = (policy(declared, name), policy(deployed, name));
            let status = if declared.is_none() || deployed.is_none() {
                PolicyStatus::CannotTell
            } else if left == right {
                PolicyStatus::Matches
            } else {
                PolicyStatus::Drift
            };
            ColumnComparison {
                name: name.to_owned(),
                status,
                declared: left,
                deployed: right,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use threadline_core::table::{AuditedTableBuilder, TableName};

    use super::*;

    fn table(change: impl Fn(AuditedTableBuilder) -> AuditedTableBuilder) -> AuditedTable {
        let column = |name: &str| Column::new(name, ColumnType::builtin("int4"));
        change(
            AuditedTable::builder(TableName::new("public", "t"))
                .columns(["id", "a"].map(column))
                .key(["id"]),
        )
        .build()
        .unwrap()
    }

    #[test]
    fn every_part_of_a_declaration_that_differs_is_named() {
        let plain = table(|builder| builder);
        assert_eq!(differences(&plain, &plain), []);
        let text = Column::new("b", ColumnType::builtin("text"));
        for (other, expected) in [
            (
                table(|builder| builder.mask(["a"])),
                "column a: declared clear, deployed mask",
            ),
            (
                table(|builder| builder.mask_keep_null(["a"])),
                "column a: declared clear, deployed mask_keep_null",
            ),
            (
                table(|builder| builder.column(text.clone())),
                "column b: deployed, not declared",
            ),
            (
                table(|builder| builder.key(["id", "a"])),
                "key: declared (id), deployed (id, a)",
            ),
            (
                table(|builder| builder.mask_with("***")),
                "placeholder: declared \"[REDACTED]\", deployed \"***\"",
            ),
            (
                table(|builder| builder.actor(ActorPolicy::Required)),
                "actor: declared optional, deployed required",
            ),
        ] {
            let found: Vec<_> = differences(&plain, &other)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, [expected]);
            assert_eq!(differences(&other, &plain).len(), 1);
        }
    }
}
