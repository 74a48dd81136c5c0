//! Checking a declaration.

use std::collections::BTreeSet;

use super::{ActorPolicy, AuditedTable, Column, ColumnRule, MAX_MASK_CHARS, RowKey, TableName};
use crate::storage::STORAGE_SCHEMA;

/// Collects the declaration of an [`AuditedTable`].
#[derive(Debug, Clone)]
pub struct AuditedTableBuilder {
    pub(super) table: AuditedTable,
    pub(super) excluded: Vec<String>,
    pub(super) masked: Vec<String>,
    pub(super) ignored: Vec<String>,
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

    /// Columns that are stored, but whose change alone records nothing: `updated_at`, counters.
    #[must_use]
    pub fn ignore<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.ignored.extend(columns.into_iter().map(Into::into));
        self
    }

    /// The placeholder of masked values, [`DEFAULT_MASK`](super::DEFAULT_MASK) unless set.
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
            )
            .chain(
                std::mem::take(&mut self.ignored)
                    .into_iter()
                    .map(|name| (name, ColumnRule::Ignore)),
            );
        for (name, rule) in rules {
            if self.table.key.columns().contains(&name) {
                return fail(TableProblem::RedactedKey(name));
            }
            match self.table.columns.iter_mut().find(|c| c.name == name) {
                None => return fail(TableProblem::UnknownColumn(name)),
                Some(column) if column.rule == rule && rule == ColumnRule::Exclude => {}
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
    #[error("column `{0}` has more than one rule; keep one of exclude, mask and ignore")]
    RuleTwice(String),
    /// A key column is masked or excluded.
    #[error(
        "key column `{0}` cannot be excluded, masked or ignored: the key is stored with every change"
    )]
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
    use crate::column_type::ColumnType;

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
}
