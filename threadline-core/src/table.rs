//! Audited tables: name, columns, key and redaction rules.

mod builder;

use serde::{Deserialize, Serialize};

pub use self::builder::{AuditedTableBuilder, InvalidTable, TableProblem};
use crate::column_type::ColumnType;
pub use crate::table_name::{InvalidTableName, TableName};

/// The default placeholder for masked values.
pub const DEFAULT_MASK: &str = "[REDACTED]";

/// The maximum length of a placeholder in characters.
pub const MAX_MASK_CHARS: usize = 200;

/// What the trail stores of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnRule {
    /// Stored unchanged.
    Clear,
    /// Stored as the table's placeholder, also NULL; a change of the value is still recorded.
    Mask,
    /// As [`Mask`](Self::Mask), but NULL is stored as NULL.
    MaskKeepNull,
    /// Not stored; an update that changes nothing else is not recorded.
    Exclude,
    /// Stored, but an update that changes nothing else is not recorded.
    Ignore,
}

impl ColumnRule {
    /// Whether values are stored as the table's placeholder.
    #[must_use]
    pub fn is_masked(self) -> bool {
        matches!(self, Self::Mask | Self::MaskKeepNull)
    }
}

/// A column of an audited table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// The type.
    pub column_type: ColumnType,
    /// The redaction rule.
    pub rule: ColumnRule,
}

impl Column {
    /// Creates a column with the rule [`ColumnRule::Clear`].
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            name: name.into(),
            column_type,
            rule: ColumnRule::Clear,
        }
    }
}

/// The key that identifies the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowKey {
    /// The key columns, in order.
    Columns(Vec<String>),
    /// The table has no key; its changes are recorded without a row key.
    None,
}

impl RowKey {
    /// The key columns; empty for a table without a key.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Columns(columns) => columns,
            Self::None => &[],
        }
    }
}

/// Whether writes without an actor are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ActorPolicy {
    /// A write without an actor is recorded as unattributed.
    #[default]
    Optional,
    /// A write without an actor fails.
    Required,
}

/// A table whose changes are captured.
///
/// `#[derive(Audited)]` declares one; it can also be built by hand or read from a database by
/// introspection. [`CaptureSql`](crate::capture::CaptureSql) generates its capture function.
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
///     .build()?;
/// assert_eq!(members.key().columns(), ["id"]);
/// # Ok::<(), threadline_core::table::InvalidTable>(())
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
    /// Creates a builder. [`AuditedTableBuilder::build`] validates the declaration.
    #[must_use]
    pub fn builder(name: TableName) -> AuditedTableBuilder {
        AuditedTableBuilder::from(Self {
            name,
            columns: Vec::new(),
            key: RowKey::None,
            mask_with: DEFAULT_MASK.to_owned(),
            actor: ActorPolicy::default(),
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// All columns, in the order of their declaration.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns that are stored: all but the excluded ones.
    pub fn stored_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns
            .iter()
            .filter(|column| column.rule != ColumnRule::Exclude)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &RowKey {
        &self.key
    }

    /// The key columns, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key
            .columns()
            .iter()
            .filter_map(|name| self.columns.iter().find(|column| &column.name == name))
    }

    /// The placeholder for masked values.
    #[must_use]
    pub fn mask_with(&self) -> &str {
        &self.mask_with
    }

    /// Whether writes without an actor are allowed.
    #[must_use]
    pub fn actor(&self) -> ActorPolicy {
        self.actor
    }

    /// Adds excluded and masked columns.
    ///
    /// # Errors
    /// As [`AuditedTableBuilder::build`].
    pub fn redact<S: Into<String>>(
        self,
        exclude: impl IntoIterator<Item = S>,
        mask: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidTable> {
        AuditedTableBuilder::from(self)
            .exclude(exclude)
            .mask(mask)
            .build()
    }

    /// Adds columns that are masked except where they are NULL.
    ///
    /// # Errors
    /// As [`AuditedTableBuilder::build`].
    pub fn mask_keep_null<S: Into<String>>(
        self,
        columns: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidTable> {
        AuditedTableBuilder::from(self)
            .mask_keep_null(columns)
            .build()
    }

    /// Adds ignored columns.
    ///
    /// # Errors
    /// As [`AuditedTableBuilder::build`].
    pub fn ignore<S: Into<String>>(
        self,
        ignore: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidTable> {
        AuditedTableBuilder::from(self).ignore(ignore).build()
    }
}
