//! Scopes: the part of the trail that a reader may see.

use std::collections::BTreeSet;

use diesel::expression::{Expression, NonAggregate, SelectableExpression};
use diesel::pg::Pg;
use diesel::query_builder::QueryFragment;
use diesel::sql_types::BoolOrNullableBool;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::error::ScopeError;
use super::filter_values::MetaPattern;
use super::filters::{TRANSACTION_META, meta_contains};
use super::sql_fragment::{HostExpression, SqlFragment};
use crate::schema::{audit_actions, audit_changes, audit_transactions};

/// The part of the trail that a reader may see, by tables, by the host's own conditions, or by fields
/// of `meta`. Each call restricts it further, and every query takes a scope.
///
/// In every answer, its pages and its `has_more`:
///
/// - a **change** is visible if its table, the change itself and its transaction are in the scope;
/// - a **transaction** is visible if it is in the scope and, where the scope restricts changes, at
///   least one of its changes is visible: a reader cannot learn that a hidden table was written;
/// - an **action** is visible according to [`actions`](Self::actions) or
///   [`actions_with_visible_changes`](Self::actions_with_visible_changes). Queries for actions
///   reject a scope with neither, because an action without changes belongs to no table;
/// - a reader who sees a change also sees its actor, its transaction's context and its action.
///
/// A scope without a restriction is an error: to see everything, pass no scope.
///
/// ```
/// use diesel::prelude::*;
/// use threadline_diesel::schema::audit_actions;
/// use threadline_diesel::query::Scope;
/// use threadline_diesel::query::MetaPattern;
/// use threadline_diesel::query::Timeline;
///
/// let support = Scope::new()
///     .tables(["invoices".parse()?, "invoice_lines".parse()?])
///     .meta(&MetaPattern::field("tenant", 7)?)
///     .actions(audit_actions::category.eq("billing"));
/// let query = Timeline::new().scope(&support);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The tables; none if the scope does not restrict tables.
    tables: Option<BTreeSet<TableName>>,
    /// The host's conditions on changes.
    changes: Vec<SqlFragment>,
    transactions: Vec<SqlFragment>,
    actions: ActionsRule,
}

#[derive(Debug, Clone, Default)]
enum ActionsRule {
    #[default]
    Unspecified,
    WithVisibleChanges,
    Where(SqlFragment),
}

impl Scope {
    /// A scope without restrictions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only changes of these tables. An empty list shows no changes.
    #[must_use]
    pub fn tables(mut self, tables: impl IntoIterator<Item = TableName>) -> Self {
        let given: BTreeSet<_> = tables.into_iter().collect();
        self.tables = Some(match self.tables {
            None => given,
            Some(earlier) => earlier.intersection(&given).cloned().collect(),
        });
        self
    }

    /// Only changes that meet a condition over [`audit_changes`].
    #[must_use]
    pub fn changes<C>(mut self, condition: C) -> Self
    where
        C: SelectableExpression<audit_changes::table>,
        C: Expression<SqlType: BoolOrNullableBool>,
        C: NonAggregate + QueryFragment<Pg> + Send + Sync + 'static,
    {
        self.changes.push(host_condition(condition));
        self
    }

    /// Only transactions that meet a condition over [`audit_transactions`], and their changes.
    #[must_use]
    pub fn transactions<C>(mut self, condition: C) -> Self
    where
        C: SelectableExpression<audit_transactions::table>,
        C: Expression<SqlType: BoolOrNullableBool>,
        C: NonAggregate + QueryFragment<Pg> + Send + Sync + 'static,
    {
        self.transactions.push(host_condition(condition));
        self
    }

    /// Only transactions whose `meta` contains these fields, and their changes: of one tenant, for
    /// instance.
    #[must_use]
    pub fn meta(mut self, facts: &MetaPattern) -> Self {
        self.transactions
            .push(meta_contains(TRANSACTION_META, facts));
        self
    }

    /// Exactly the actions that meet a condition over [`audit_actions`], whatever they changed.
    #[must_use]
    pub fn actions<C>(mut self, condition: C) -> Self
    where
        C: SelectableExpression<audit_actions::table>,
        C: Expression<SqlType: BoolOrNullableBool>,
        C: NonAggregate + QueryFragment<Pg> + Send + Sync + 'static,
    {
        self.actions = ActionsRule::Where(host_condition(condition));
        self
    }

    /// Only actions with a visible change. Actions without changes, such as failed ones, are hidden.
    #[must_use]
    pub fn actions_with_visible_changes(mut self) -> Self {
        self.actions = ActionsRule::WithVisibleChanges;
        self
    }

    /// A text that is equal for equal scopes.
    pub(crate) fn fingerprint(&self) -> String {
        let texts = |conditions: &[SqlFragment]| -> Vec<_> {
            conditions.iter().map(SqlFragment::fingerprint).collect()
        };
        format!(
            "{:?} {:?} {:?}",
            texts(&self.change_conditions()),
            texts(&self.transactions),
            match &self.actions {
                ActionsRule::Where(condition) => condition.fingerprint(),
                rule => format!("{rule:?}"),
            }
        )
    }

    fn validate(&self) -> Result<(), ScopeError> {
        if !self.restricts_changes()
            && self.transactions.is_empty()
            && matches!(self.actions, ActionsRule::Unspecified)
        {
            return Err(ScopeError::Unrestricted);
        }
        Ok(())
    }

    /// Whether the scope restricts changes by their table or by a condition.
    fn restricts_changes(&self) -> bool {
        self.tables.is_some() || !self.changes.is_empty()
    }

    /// The conditions on changes alone.
    fn change_conditions(&self) -> Vec<SqlFragment> {
        let tables = self.tables.as_ref().map(is_of_tables);
        tables
            .into_iter()
            .chain(self.changes.iter().cloned())
            .collect()
    }

    /// The tables that the scope names; none if it does not restrict tables.
    #[cfg(feature = "async")]
    pub(crate) fn named_tables(&self) -> Option<&BTreeSet<TableName>> {
        self.tables.as_ref()
    }

    /// The tables of a scope that restricts nothing but tables: for records about tables, which belong to
    /// no change.
    ///
    /// # Errors
    /// [`ScopeError::NotTables`] for another scope.
    #[cfg(feature = "async")]
    pub(crate) fn only_tables(&self) -> Result<&BTreeSet<TableName>, ScopeError> {
        self.validate()?;
        match &self.tables {
            Some(tables) if self.changes.is_empty() && self.transactions.is_empty() => Ok(tables),
            _ => Err(ScopeError::NotTables),
        }
    }

    /// The condition of visible changes.
    pub(crate) fn change_condition(&self) -> Result<SqlFragment, ScopeError> {
        self.validate()?;
        if !self.restricts_changes() && self.transactions.is_empty() {
            // The scope restricts actions only.
            return Ok(self.visible_action_condition());
        }
        let transaction = (!self.transactions.is_empty()).then(|| {
            lookup(
                &format!(
                    "{STORAGE_SCHEMA}.audit_transactions \
                     WHERE audit_transactions.id = audit_changes.transaction_id"
                ),
                &all(&self.transactions),
            )
        });
        Ok(all(self.change_conditions().iter().chain(&transaction)))
    }

    /// The condition of changes under visible actions.
    fn visible_action_condition(&self) -> SqlFragment {
        let ActionsRule::Where(condition) = &self.actions else {
            return SqlFragment::sql("false");
        };
        lookup(
            &format!(
                "{STORAGE_SCHEMA}.audit_actions WHERE audit_actions.id = audit_changes.action_id"
            ),
            condition,
        )
    }

    /// The condition of visible transactions, for a query of transactions alone.
    pub(crate) fn transaction_condition(&self) -> Result<SqlFragment, ScopeError> {
        self.validate()?;
        if self.restricts_changes() {
            let visible =
                self.visible_changes("audit_changes.transaction_id = audit_transactions.id");
            return Ok(all(self.transactions.iter().chain([&visible])));
        }
        if self.transactions.is_empty() {
            let ActionsRule::Where(condition) = &self.actions else {
                return Ok(SqlFragment::sql("false"));
            };
            let rows = format!(
                "{STORAGE_SCHEMA}.audit_actions \
                 WHERE audit_actions.transaction_id = audit_transactions.id"
            );
            return Ok(lookup(&rows, condition));
        }
        Ok(all(&self.transactions))
    }

    /// The condition of visible actions.
    pub(crate) fn action_condition(&self) -> Result<SqlFragment, ScopeError> {
        self.validate()?;
        match &self.actions {
            ActionsRule::Unspecified => Err(ScopeError::ActionsUnspecified),
            _ => self.action_condition_with_changes(),
        }
    }

    /// The condition of visible actions in an answer that has their changes, too: a scope that does
    /// not mention actions shows those with visible changes.
    pub(crate) fn action_condition_with_changes(&self) -> Result<SqlFragment, ScopeError> {
        self.validate()?;
        Ok(match &self.actions {
            ActionsRule::Where(condition) => condition.clone(),
            ActionsRule::Unspecified | ActionsRule::WithVisibleChanges => {
                let changes = SqlFragment::sql(format!(
                    "SELECT true FROM {STORAGE_SCHEMA}.audit_changes \
                     LEFT JOIN {STORAGE_SCHEMA}.audit_transactions \
                     ON audit_transactions.id = audit_changes.transaction_id \
                     WHERE audit_changes.transaction_id = audit_actions.transaction_id \
                     AND audit_changes.action_id = audit_actions.id AND "
                ));
                let on_changes = self.change_conditions();
                let seen = all(on_changes.iter().chain(&self.transactions));
                SqlFragment::sql("(")
                    .append(&changes.push_group(&seen))
                    .push_sql(" LIMIT 1)")
                    .into_filter_only()
            }
        })
    }

    fn visible_changes(&self, join: &str) -> SqlFragment {
        let rows = format!("{STORAGE_SCHEMA}.audit_changes WHERE {join}");
        lookup(&rows, &all(&self.change_conditions()))
    }
}

/// The condition that a change is of one of these tables.
fn is_of_tables(tables: &BTreeSet<TableName>) -> SqlFragment {
    // In the form that the index of the table serves.
    if tables.len() == 1
        && let Some(only) = tables.first()
    {
        return SqlFragment::sql("audit_changes.table_name = ")
            .bind_text(only.name())
            .push_sql(" AND audit_changes.table_schema = ")
            .bind_text(only.schema());
    }
    let part =
        |of: fn(&TableName) -> &str| tables.iter().map(|table| of(table).to_owned()).collect();
    SqlFragment::sql(
        "(audit_changes.table_schema, audit_changes.table_name) IN (SELECT * FROM unnest(",
    )
    .bind_texts(part(TableName::schema))
    .push_sql(", ")
    .bind_texts(part(TableName::name))
    .push_sql("))")
    .into_filter_only()
}

/// Whether a row meets a condition, looked up by an index for each row of the list. The planner could
/// turn `EXISTS` into a join with the whole table.
fn lookup(rows: &str, condition: &SqlFragment) -> SqlFragment {
    SqlFragment::sql(format!("(SELECT true FROM {rows} AND "))
        .push_group(condition)
        .push_sql(" LIMIT 1)")
        .into_filter_only()
}

fn host_condition<C: QueryFragment<Pg> + Send + Sync + 'static>(condition: C) -> SqlFragment {
    SqlFragment::default()
        .push_host(&HostExpression::new(condition))
        .into_filter_only()
}

fn all<'a>(conditions: impl IntoIterator<Item = &'a SqlFragment>) -> SqlFragment {
    conditions
        .into_iter()
        .fold(SqlFragment::sql("true"), |all, one| {
            all.push_sql(" AND ").push_group(one)
        })
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}
