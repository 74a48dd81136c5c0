//! A table under capture: its identity, columns, key and redaction rules.

mod builder;

use serde::{Deserialize, Serialize};

pub use self::builder::{AuditedTableBuilder, InvalidTable, TableProblem};
use crate::column_type::ColumnType;
pub use crate::table_name::{InvalidTableName, TableName};

/// What stands in for a masked value when a table names nothing else.
pub const DEFAULT_MASK: &str = "[REDACTED]";

/// The longest text that may stand in for a masked value, in characters.
pub const MAX_MASK_CHARS: usize = 200;

/// What happens to a column's values in every stored copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnRule {
    /// Stored as it is.
    Clear,
    /// Stored as the table's placeholder; that it changed is still known.
    Mask,
    /// Never stored; an update that changes nothing else is not recorded.
    Exclude,
    /// Stored, but an update that changes nothing else is not recorded.
    Ignore,
}

/// A column of an audited table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Column {
    /// The name as PostgreSQL stores it.
    pub name: String,
    /// The type, as far as it is known without a database.
    pub column_type: ColumnType,
    /// What is stored of it.
    pub rule: ColumnRule,
}

impl Column {
    /// A column stored in clear.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            name: name.into(),
            column_type,
            rule: ColumnRule::Clear,
        }
    }
}

/// How rows of a table are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowKey {
    /// By these columns, in this order.
    Columns(Vec<String>),
    /// Not at all: the table has no key, and its changes are captured without identity.
    None,
}

impl RowKey {
    /// The key's columns, none for a table without a key.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Columns(columns) => columns,
            Self::None => &[],
        }
    }
}

/// Whether a write without an actor is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ActorPolicy {
    /// An unattributed write is recorded as such.
    #[default]
    Optional,
    /// An unattributed write fails with an error that says how to attribute it.
    Required,
}

/// A table under capture.
///
/// Made by `#[derive(Audited)]`, by hand, or by introspection of a database; all three give the
/// same value, and one generator turns it into SQL.
///
/// ```
/// use threadline_core::column_type::ColumnType;
/// use threadline_core::table::{AuditedTable, Column, TableName};
///
/// let members = AuditedTable::builder(TableName::new("public", "members"))
///     .column(Column::new("id", ColumnType::builtin("int8")))
///     .column(Column::new("email", ColumnType::builtin("text")))
///     .key(["id"])
///     .mask(["email"])
///     .build()
///     .unwrap();
/// assert_eq!(members.key().columns(), ["id"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedTable {
    name: TableName,
    columns: Vec<Column>,
    key: RowKey,
    mask_with: String,
    actor: ActorPolicy,
}

impl AuditedTable {
    /// Starts a declaration; nothing is checked until [`AuditedTableBuilder::build`].
    #[must_use]
    pub fn builder(name: TableName) -> AuditedTableBuilder {
        AuditedTableBuilder {
            table: Self {
                name,
                columns: Vec::new(),
                key: RowKey::None,
                mask_with: DEFAULT_MASK.to_owned(),
                actor: ActorPolicy::default(),
            },
            excluded: Vec::new(),
            masked: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// Every column, in the order it was declared.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns that reach the trail: all but the excluded ones.
    pub fn stored_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns
            .iter()
            .filter(|column| column.rule != ColumnRule::Exclude)
    }

    /// How rows are told apart.
    #[must_use]
    pub fn key(&self) -> &RowKey {
        &self.key
    }

    /// The key's columns with their types, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key
            .columns()
            .iter()
            .filter_map(|name| self.columns.iter().find(|column| &column.name == name))
    }

    /// What stands in for a masked value.
    #[must_use]
    pub fn mask_with(&self) -> &str {
        &self.mask_with
    }

    /// Whether unattributed writes are refused.
    #[must_use]
    pub fn actor(&self) -> ActorPolicy {
        self.actor
    }

    /// The same table with more redaction.
    ///
    /// # Errors
    /// As [`AuditedTableBuilder::build`].
    pub fn redact<S: Into<String>>(
        self,
        exclude: impl IntoIterator<Item = S>,
        mask: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidTable> {
        AuditedTableBuilder {
            table: self,
            excluded: Vec::new(),
            masked: Vec::new(),
            ignored: Vec::new(),
        }
        .exclude(exclude)
        .mask(mask)
        .build()
    }

    /// The same table with more ignored columns: stored, but a change of nothing else is no change.
    ///
    /// # Errors
    /// As [`AuditedTableBuilder::build`].
    pub fn ignoring<S: Into<String>>(
        self,
        ignore: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidTable> {
        AuditedTableBuilder {
            table: self,
            excluded: Vec::new(),
            masked: Vec::new(),
            ignored: Vec::new(),
        }
        .ignore(ignore)
        .build()
    }
}
