//! A table under capture: its identity, columns, key and redaction rules.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::column_type::ColumnType;
use crate::identifier::quote_identifier;
use crate::storage::STORAGE_SCHEMA;

/// What stands in for a masked value when a table names nothing else.
pub const DEFAULT_MASK: &str = "[REDACTED]";

/// The longest text that may stand in for a masked value, in characters.
pub const MAX_MASK_CHARS: usize = 200;

/// A table's name with its schema.
///
/// ```
/// use threadline_core::table::TableName;
/// let name: TableName = "billing.invoices".parse().unwrap();
/// assert_eq!((name.schema(), name.name()), ("billing", "invoices"));
/// assert_eq!("invoices".parse::<TableName>().unwrap().schema(), "public");
/// assert_eq!(r#""Odd.Name""#.parse::<TableName>().unwrap().name(), "Odd.Name");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    schema: String,
    name: String,
}

impl TableName {
    /// A name in a schema, both as PostgreSQL stores them (no quotes).
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// The schema, unquoted.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name within the schema, unquoted.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Splits `table.column` or `schema.table.column`, parts quoted as in SQL where they must be.
    #[must_use]
    pub fn split_column(text: &str) -> Option<(Self, String)> {
        let mut parts = identifier_parts(text)?;
        let column = parts.pop()?;
        let name = parts.pop()?;
        let schema = parts.pop().unwrap_or_else(|| "public".to_owned());
        parts.is_empty().then(|| (Self::new(schema, name), column))
    }

    /// Both parts quoted, ready for SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            quote_identifier(&self.schema),
            quote_identifier(&self.name)
        )
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            shown_identifier(&self.schema),
            shown_identifier(&self.name)
        )
    }
}

/// A name as a person types it: bare when that is unambiguous, quoted otherwise.
fn shown_identifier(name: &str) -> String {
    if crate::identifier::is_plain_identifier(name) {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

/// A text that names no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no table name: write `table`, `schema.table`, or quote the parts as in SQL: \
     `\"Odd Schema\".\"Table\"`"
)]
pub struct InvalidTableName(pub String);

impl std::str::FromStr for TableName {
    type Err = InvalidTableName;

    /// Reads `table`, `schema.table` and their quoted forms. Unquoted parts are taken as they
    /// are, without folding to lower case: a table is asked for by the name it has.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTableName(text.to_owned());
        let parts = identifier_parts(text).ok_or_else(invalid)?;
        match parts.as_slice() {
            [name] => Ok(Self::new("public", name)),
            [schema, name] => Ok(Self::new(schema, name)),
            _ => Err(invalid()),
        }
    }
}

/// Splits dotted, possibly quoted identifiers; `None` when a part is empty or a quote is open.
pub(crate) fn identifier_parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_part(quoted)?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        if part.is_empty() || part.contains('\0') {
            return None;
        }
        parts.push(part);
        if after.is_empty() {
            return Some(parts);
        }
        rest = after.strip_prefix('.')?;
    }
}

fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, rest)),
        }
    }
}

/// What happens to a column's values in every stored copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnRule {
    /// Stored as it is.
    Clear,
    /// Stored as the table's placeholder; that it changed is still known.
    Mask,
    /// Never stored, and a change of nothing else is no change.
    Exclude,
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

/// What `data_after` of an update holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageForm {
    /// The whole row.
    #[default]
    Full,
    /// Only the columns that changed: smaller rows, dearer as-of.
    Delta,
}

/// What a TRUNCATE leaves in the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TruncatePolicy {
    /// The event.
    #[default]
    Event,
    /// The event and how many rows went; costs a count of the table.
    Count,
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
    image: ImageForm,
    truncate: TruncatePolicy,
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
                image: ImageForm::default(),
                truncate: TruncatePolicy::default(),
            },
            excluded: Vec::new(),
            masked: Vec::new(),
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

    /// The columns that reach the trail: clear and masked.
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

    /// What an update stores.
    #[must_use]
    pub fn image(&self) -> ImageForm {
        self.image
    }

    /// What a TRUNCATE leaves.
    #[must_use]
    pub fn truncate(&self) -> TruncatePolicy {
        self.truncate
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
        }
        .exclude(exclude)
        .mask(mask)
        .build()
    }
}

/// Collects the declaration of an [`AuditedTable`].
#[derive(Debug, Clone)]
pub struct AuditedTableBuilder {
    table: AuditedTable,
    excluded: Vec<String>,
    masked: Vec<String>,
}

impl AuditedTableBuilder {
    /// Adds a column.
    #[must_use]
    pub fn column(mut self, column: Column) -> Self {
        self.table.columns.push(column);
        self
    }

    /// Adds columns, in order.
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = Column>) -> Self {
        self.table.columns.extend(columns);
        self
    }

    /// The columns that tell rows apart, in order.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.table.key = RowKey::Columns(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Declares that the table has no key.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.table.key = RowKey::None;
        self
    }

    /// Columns that are never stored.
    #[must_use]
    pub fn exclude<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.excluded.extend(columns.into_iter().map(Into::into));
        self
    }

    /// Columns that are stored as the placeholder.
    #[must_use]
    pub fn mask<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.masked.extend(columns.into_iter().map(Into::into));
        self
    }

    /// The placeholder of masked values, [`DEFAULT_MASK`] unless set.
    #[must_use]
    pub fn mask_with(mut self, placeholder: impl Into<String>) -> Self {
        self.table.mask_with = placeholder.into();
        self
    }

    /// Whether writes without an actor are refused.
    #[must_use]
    pub fn actor(mut self, policy: ActorPolicy) -> Self {
        self.table.actor = policy;
        self
    }

    /// What an update stores.
    #[must_use]
    pub fn image(mut self, form: ImageForm) -> Self {
        self.table.image = form;
        self
    }

    /// What a TRUNCATE leaves.
    #[must_use]
    pub fn truncate(mut self, policy: TruncatePolicy) -> Self {
        self.table.truncate = policy;
        self
    }

    /// Checks the declaration.
    ///
    /// # Errors
    /// [`InvalidTable`] when a rule names a column that does not exist or is given twice, when a
    /// key column is redacted or unknown, when the placeholder is unusable, or when the table is
    /// one of Threadline's own.
    pub fn build(mut self) -> Result<AuditedTable, InvalidTable> {
        let table = self.table.name.clone();
        let fail = |problem| {
            Err(InvalidTable {
                table: table.clone(),
                problem,
            })
        };
        if self.table.name.schema() == STORAGE_SCHEMA {
            return fail(TableProblem::OwnTable);
        }
        if self.table.columns.is_empty() {
            return fail(TableProblem::NoColumns);
        }
        let mut seen = BTreeSet::new();
        for column in &self.table.columns {
            if !seen.insert(column.name.as_str()) {
                return fail(TableProblem::ColumnTwice(column.name.clone()));
            }
        }
        if let Some(problem) = placeholder_problem(&self.table.mask_with) {
            return fail(problem);
        }
        let mut keys = BTreeSet::new();
        for key in self.table.key.columns() {
            if !seen.contains(key.as_str()) {
                return fail(TableProblem::UnknownKeyColumn(key.clone()));
            }
            if !keys.insert(key.as_str()) {
                return fail(TableProblem::ColumnTwice(key.clone()));
            }
        }
        if matches!(&self.table.key, RowKey::Columns(columns) if columns.is_empty()) {
            return fail(TableProblem::EmptyKey);
        }
        let rules = std::mem::take(&mut self.excluded)
            .into_iter()
            .map(|name| (name, ColumnRule::Exclude))
            .chain(
                std::mem::take(&mut self.masked)
                    .into_iter()
                    .map(|name| (name, ColumnRule::Mask)),
            );
        for (name, rule) in rules {
            if self.table.key.columns().contains(&name) {
                return fail(TableProblem::RedactedKey(name));
            }
            match self.table.columns.iter_mut().find(|c| c.name == name) {
                None => return fail(TableProblem::UnknownColumn(name)),
                Some(column) if column.rule != ColumnRule::Clear => {
                    return fail(TableProblem::RuleTwice(name));
                }
                Some(column) => column.rule = rule,
            }
        }
        Ok(self.table)
    }
}

fn placeholder_problem(placeholder: &str) -> Option<TableProblem> {
    let unusable = placeholder.is_empty()
        || placeholder.chars().count() > MAX_MASK_CHARS
        || placeholder.chars().any(char::is_control);
    unusable.then(|| TableProblem::UnusableMask(placeholder.to_owned()))
}

/// A declaration that cannot be captured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}: {problem}")]
pub struct InvalidTable {
    /// The table that was declared.
    pub table: TableName,
    /// What is wrong with it.
    pub problem: TableProblem,
}

/// What can be wrong with a declared table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableProblem {
    /// The table is part of the trail itself.
    #[error("it belongs to the audit trail itself; capturing it would record every record")]
    OwnTable,
    /// There is nothing to capture.
    #[error("it has no columns")]
    NoColumns,
    /// A column or key column is listed twice.
    #[error("column `{0}` is declared twice")]
    ColumnTwice(String),
    /// A redaction rule names no column of the table.
    #[error("a redaction rule names `{0}`, which is no column of it")]
    UnknownColumn(String),
    /// The key names no column of the table.
    #[error("the key names `{0}`, which is no column of it")]
    UnknownKeyColumn(String),
    /// A key with no columns was given.
    #[error("its key has no columns; declare it without a key instead")]
    EmptyKey,
    /// A column has two rules.
    #[error("column `{0}` has more than one redaction rule; keep one of exclude and mask")]
    RuleTwice(String),
    /// A key column is masked or excluded.
    #[error("key column `{0}` cannot be redacted: the key is stored with every change")]
    RedactedKey(String),
    /// The placeholder is empty, too long, or holds control characters.
    #[error(
        "`{0}` cannot stand in for masked values: use 1 to {MAX_MASK_CHARS} characters without \
         control characters"
    )]
    UnusableMask(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> AuditedTableBuilder {
        AuditedTable::builder(TableName::new("public", "members"))
            .column(Column::new("id", ColumnType::builtin("int8")))
            .column(Column::new("email", ColumnType::builtin("text")))
            .key(["id"])
    }

    fn problem(builder: AuditedTableBuilder) -> TableProblem {
        builder
            .build()
            .expect_err("the declaration is wrong")
            .problem
    }

    #[test]
    fn a_rule_for_an_unknown_column_is_refused() {
        let found = problem(members().mask(["emial"]));
        assert_eq!(found, TableProblem::UnknownColumn("emial".into()));
    }

    #[test]
    fn a_redacted_key_is_refused() {
        let found = problem(members().exclude(["id"]));
        assert_eq!(found, TableProblem::RedactedKey("id".into()));
    }

    #[test]
    fn two_rules_for_one_column_are_refused() {
        let found = problem(members().exclude(["email"]).mask(["email"]));
        assert_eq!(found, TableProblem::RuleTwice("email".into()));
    }

    #[test]
    fn the_trail_itself_is_refused() {
        let own = AuditedTable::builder(TableName::new(STORAGE_SCHEMA, "audit_changes"))
            .column(Column::new("id", ColumnType::builtin("int8")));
        assert_eq!(problem(own), TableProblem::OwnTable);
    }

    #[test]
    fn an_unusable_placeholder_is_refused() {
        for placeholder in [String::new(), "a\u{7}".into(), "x".repeat(201)] {
            let found = problem(members().mask(["email"]).mask_with(placeholder.clone()));
            assert_eq!(found, TableProblem::UnusableMask(placeholder));
        }
    }

    #[test]
    fn table_names_read_back_as_they_are_shown() {
        for name in [
            TableName::new("public", "orders"),
            TableName::new("Odd Schema", "a.b\"c"),
            TableName::new("übung", "Größe"),
        ] {
            assert_eq!(name.to_string().parse::<TableName>(), Ok(name));
        }
        for text in ["", ".", "a.", "a.b.c", "\"open"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }
}
