//! The builder of [`AuditedTable`], and its validation.

use std::collections::BTreeSet;

use super::{ActorPolicy, AuditedTable, Column, ColumnRule, MAX_MASK_CHARS, RowKey, TableName};
use crate::storage::STORAGE_SCHEMA;

/// A builder of [`AuditedTable`]; see [`AuditedTable::builder`].
#[derive(Debug, Clone)]
pub struct AuditedTableBuilder {
    table: AuditedTable,
    rules: Vec<(String, ColumnRule)>,
}

impl From<AuditedTable> for AuditedTableBuilder {
    fn from(table: AuditedTable) -> Self {
        let rules = Vec::new();
        Self { table, rules }
    }
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

    /// Sets the key columns, in order.
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

    /// Adds columns that are not stored.
    #[must_use]
    pub fn exclude<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        self.rule(columns, ColumnRule::Exclude)
    }

    /// Adds columns that are stored as the placeholder, also where they are NULL.
    #[must_use]
    pub fn mask<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        self.rule(columns, ColumnRule::Mask)
    }

    /// Adds columns that are stored as the placeholder, but as NULL where they are NULL: the trail shows
    /// when a value was removed or added, but not the value.
    #[must_use]
    pub fn mask_keep_null<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        self.rule(columns, ColumnRule::MaskKeepNull)
    }

    /// Adds columns whose change alone is not recorded: `updated_at`, counters.
    #[must_use]
    pub fn ignore<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        self.rule(columns, ColumnRule::Ignore)
    }

    fn rule<S: Into<String>>(
        mut self,
        columns: impl IntoIterator<Item = S>,
        rule: ColumnRule,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into);
        self.rules.extend(columns.map(|column| (column, rule)));
        self
    }

    /// Sets the placeholder for masked values, [`DEFAULT_MASK`](super::DEFAULT_MASK) by default.
    #[must_use]
    pub fn mask_with(mut self, placeholder: impl Into<String>) -> Self {
        self.table.mask_with = placeholder.into();
        self
    }

    /// Sets whether writes without an actor are allowed.
    #[must_use]
    pub fn actor(mut self, policy: ActorPolicy) -> Self {
        self.table.actor = policy;
        self
    }

    /// Validates the declaration.
    ///
    /// # Errors
    /// [`InvalidTable`] if a rule or the key names an unknown column, a column has two rules, a key
    /// column has a rule, the placeholder is invalid, or the table is part of the trail.
    pub fn build(mut self) -> Result<AuditedTable, InvalidTable> {
        let table = self.table.name.clone();
        let fail = |problem| {
            Err(InvalidTable {
                table: table.clone(),
                problem,
            })
        };
        if self.table.name.schema() == STORAGE_SCHEMA {
            return fail(TableProblem::TrailTable);
        }
        if self.table.columns.is_empty() {
            return fail(TableProblem::NoColumns);
        }
        let mut seen = BTreeSet::new();
        for column in &self.table.columns {
            if !seen.insert(column.name.as_str()) {
                return fail(TableProblem::DuplicateColumn(column.name.clone()));
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
                return fail(TableProblem::DuplicateColumn(key.clone()));
            }
        }
        if matches!(&self.table.key, RowKey::Columns(columns) if columns.is_empty()) {
            return fail(TableProblem::EmptyKey);
        }
        for (name, rule) in self.rules {
            if self.table.key.columns().contains(&name) {
                return fail(TableProblem::RuleForKey(name));
            }
            match self.table.columns.iter_mut().find(|c| c.name == name) {
                None => return fail(TableProblem::UnknownColumn(name)),
                Some(column) if column.rule == rule && rule == ColumnRule::Exclude => {}
                Some(column) if column.rule != ColumnRule::Clear => {
                    return fail(TableProblem::ConflictingRules(name));
                }
                Some(column) => column.rule = rule,
            }
        }
        Ok(self.table)
    }
}

fn placeholder_problem(placeholder: &str) -> Option<TableProblem> {
    let is_invalid = placeholder.is_empty()
        || placeholder.chars().count() > MAX_MASK_CHARS
        || placeholder.chars().any(char::is_control);
    is_invalid.then(|| TableProblem::InvalidMask(placeholder.to_owned()))
}

/// The error for an invalid declaration of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}: {problem}")]
pub struct InvalidTable {
    /// The declared table.
    pub table: TableName,
    /// The problem.
    pub problem: TableProblem,
}

/// A problem of a declared table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableProblem {
    /// The table is part of the trail.
    #[error("it belongs to the audit trail itself, which cannot be captured")]
    TrailTable,
    /// The table has no columns.
    #[error("it has no columns")]
    NoColumns,
    /// A column occurs twice in the table or in the key.
    #[error("column `{0}` is declared twice")]
    DuplicateColumn(String),
    /// A rule names an unknown column.
    #[error("a rule names the unknown column `{0}`")]
    UnknownColumn(String),
    /// The key names an unknown column.
    #[error("the key names the unknown column `{0}`")]
    UnknownKeyColumn(String),
    /// The key is an empty list.
    #[error("its key has no columns; declare it without a key instead")]
    EmptyKey,
    /// A column has more than one rule.
    #[error("column `{0}` has more than one rule; keep one of exclude, mask and ignore")]
    ConflictingRules(String),
    /// A key column has a rule.
    #[error(
        "key column `{0}` cannot be excluded, masked or ignored: the key is stored with every change"
    )]
    RuleForKey(String),
    /// The placeholder is empty, too long, or has control characters.
    #[error(
        "`{0}` is not a placeholder: use 1 to {MAX_MASK_CHARS} characters without control characters"
    )]
    InvalidMask(String),
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
            .expect_err("the declaration is invalid")
            .problem
    }

    #[test]
    fn a_rule_for_an_unknown_column_is_rejected() {
        let found = problem(members().mask(["emial"]));
        assert_eq!(found, TableProblem::UnknownColumn("emial".into()));
    }

    #[test]
    fn a_rule_for_a_key_column_is_rejected() {
        let found = problem(members().exclude(["id"]));
        assert_eq!(found, TableProblem::RuleForKey("id".into()));
    }

    #[test]
    fn two_rules_for_one_column_are_rejected() {
        let found = problem(members().exclude(["email"]).mask(["email"]));
        assert_eq!(found, TableProblem::ConflictingRules("email".into()));
    }

    #[test]
    fn a_table_of_the_trail_is_rejected() {
        let own = AuditedTable::builder(TableName::new(STORAGE_SCHEMA, "audit_changes"))
            .column(Column::new("id", ColumnType::builtin("int8")));
        assert_eq!(problem(own), TableProblem::TrailTable);
    }

    #[test]
    fn an_invalid_placeholder_is_rejected() {
        for placeholder in [String::new(), "a\u{7}".into(), "x".repeat(201)] {
            let found = problem(members().mask(["email"]).mask_with(placeholder.clone()));
            assert_eq!(found, TableProblem::InvalidMask(placeholder));
        }
    }
}
