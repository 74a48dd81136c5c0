//! What a caller may see: one value that narrows every question.

use diesel::expression::{Expression, NonAggregate, SelectableExpression};
use diesel::pg::Pg;
use diesel::query_builder::QueryFragment;
use diesel::sql_types::BoolOrNullableBool;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use crate::circumstances::{TRANSACTION_META, meta_contains};
use crate::condition::{Condition, HostCondition};
use crate::schema::{audit_actions, audit_changes, audit_transactions};
use crate::terms::MetaPattern;

/// What a caller may see of the trail, by tables, by conditions of the host's own, or by facts in
/// `meta`. Every call narrows further, and every question takes one.
///
/// What follows from it, in every answer, its pages and its `has_more`:
///
/// - a **change** is seen when its table, the change itself and its transaction are in scope;
/// - a **transaction** is seen when it is in scope itself and, where the scope narrows changes, at
///   least one of its changes is seen: nobody learns that a hidden table was written to;
/// - an **action** is seen as [`actions`](Self::actions) or
///   [`actions_with_visible_changes`](Self::actions_with_visible_changes) says. A scope that says
///   neither is refused by questions for actions, because what changed nothing is in no table;
/// - who sees a change sees who made it, its transaction's context and the action it happened under.
///
/// A scope that narrows nothing is an error too: without a scope everything is seen, and that must
/// be meant.
///
/// ```
/// use diesel::prelude::*;
/// use threadline_diesel::schema::audit_actions;
/// use threadline_diesel::scope::Scope;
/// use threadline_diesel::terms::MetaPattern;
/// use threadline_diesel::timeline::Timeline;
///
/// let support = Scope::new()
///     .tables(["invoices".parse()?, "invoice_lines".parse()?])
///     .meta(&MetaPattern::field("tenant", 7)?)
///     .actions(audit_actions::category.eq("billing"));
/// let question = Timeline::new().scope(&support);
/// # let _ = question;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Scope {
    changes: Vec<Condition>,
    transactions: Vec<Condition>,
    actions: ActionsRule,
}

#[derive(Debug, Clone, Default)]
enum ActionsRule {
    #[default]
    Unsaid,
    WithVisibleChanges,
    Where(Condition),
}

/// What may be seen cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// Nothing was said.
    #[error("this scope narrows nothing: say what may be seen, or give no scope to see everything")]
    NarrowsNothing,
    /// The question is for actions, and the scope speaks of changes or transactions alone.
    #[error(
        "this scope does not say which actions may be seen: add Scope::actions(condition), or \
         Scope::actions_with_visible_changes()"
    )]
    SaysNothingOfActions,
}

impl Scope {
    /// A scope to be narrowed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only changes of these tables; of none, if there are none.
    #[must_use]
    pub fn tables(mut self, tables: impl IntoIterator<Item = TableName>) -> Self {
        let tables: Vec<_> = tables.into_iter().collect();
        self.changes.push(match tables.as_slice() {
            // For the index.
            [only] => Condition::sql("audit_changes.table_name = ")
                .text(only.name())
                .then(" AND audit_changes.table_schema = ")
                .text(only.schema()),
            several => {
                let part = |of: fn(&TableName) -> &str| {
                    several.iter().map(|table| of(table).to_owned()).collect()
                };
                Condition::sql(
                    "(audit_changes.table_schema, audit_changes.table_name) IN \
                     (SELECT * FROM unnest(",
                )
                .texts(part(TableName::schema))
                .then(", ")
                .texts(part(TableName::name))
                .then("))")
                .on_the_way()
            }
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
        self.changes.push(host(condition));
        self
    }

    /// Only what is in transactions that meet a condition over [`audit_transactions`].
    #[must_use]
    pub fn transactions<C>(mut self, condition: C) -> Self
    where
        C: SelectableExpression<audit_transactions::table>,
        C: Expression<SqlType: BoolOrNullableBool>,
        C: NonAggregate + QueryFragment<Pg> + Send + Sync + 'static,
    {
        self.transactions.push(host(condition));
        self
    }

    /// Only what is in transactions whose `meta` contains these facts: the tenant, for instance.
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
        self.actions = ActionsRule::Where(host(condition));
        self
    }

    /// Only actions under which a change happened that is seen. Actions that changed nothing, failed
    /// ones among them, are not seen then.
    #[must_use]
    pub fn actions_with_visible_changes(mut self) -> Self {
        self.actions = ActionsRule::WithVisibleChanges;
        self
    }

    /// What tells scopes apart.
    pub(crate) fn fingerprint(&self) -> String {
        let texts = |conditions: &[Condition]| -> Vec<_> {
            conditions.iter().map(Condition::fingerprint).collect()
        };
        format!(
            "{:?} {:?} {:?}",
            texts(&self.changes),
            texts(&self.transactions),
            match &self.actions {
                ActionsRule::Where(condition) => condition.fingerprint(),
                rule => format!("{rule:?}"),
            }
        )
    }

    fn checked(&self) -> Result<(), ScopeError> {
        let silent = self.changes.is_empty() && self.transactions.is_empty();
        if silent && matches!(self.actions, ActionsRule::Unsaid) {
            return Err(ScopeError::NarrowsNothing);
        }
        Ok(())
    }

    /// Which changes are seen.
    pub(crate) fn of_changes(&self) -> Result<Condition, ScopeError> {
        self.checked()?;
        if self.changes.is_empty() && self.transactions.is_empty() {
            // It speaks of actions alone.
            return Ok(self.with_visible_action());
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
        Ok(all(self.changes.iter().chain(&transaction)))
    }

    /// Changes under actions that are seen.
    fn with_visible_action(&self) -> Condition {
        let ActionsRule::Where(condition) = &self.actions else {
            return Condition::sql("false");
        };
        lookup(
            &format!(
                "{STORAGE_SCHEMA}.audit_actions WHERE audit_actions.id = audit_changes.action_id"
            ),
            condition,
        )
    }

    /// Which transactions are seen, where a query has them alone.
    pub(crate) fn of_transactions(&self) -> Result<Condition, ScopeError> {
        self.checked()?;
        if !self.changes.is_empty() {
            let visible =
                self.visible_changes("audit_changes.transaction_id = audit_transactions.id");
            return Ok(all(self.transactions.iter().chain([&visible])));
        }
        if self.transactions.is_empty() {
            let ActionsRule::Where(condition) = &self.actions else {
                return Ok(Condition::sql("false"));
            };
            let theirs = format!(
                "{STORAGE_SCHEMA}.audit_actions \
                 WHERE audit_actions.transaction_id = audit_transactions.id"
            );
            return Ok(lookup(&theirs, condition));
        }
        Ok(all(&self.transactions))
    }

    /// Which actions are seen by a question for actions.
    pub(crate) fn of_actions(&self) -> Result<Condition, ScopeError> {
        self.checked()?;
        match &self.actions {
            ActionsRule::Unsaid => Err(ScopeError::SaysNothingOfActions),
            _ => self.of_actions_beside_changes(),
        }
    }

    /// The same where actions are shown beside the changes made under them: a scope that is silent
    /// about actions shows those.
    pub(crate) fn of_actions_beside_changes(&self) -> Result<Condition, ScopeError> {
        self.checked()?;
        Ok(match &self.actions {
            ActionsRule::Where(condition) => condition.clone(),
            ActionsRule::Unsaid | ActionsRule::WithVisibleChanges => {
                let changes = Condition::sql(format!(
                    "SELECT true FROM {STORAGE_SCHEMA}.audit_changes \
                     LEFT JOIN {STORAGE_SCHEMA}.audit_transactions \
                     ON audit_transactions.id = audit_changes.transaction_id \
                     WHERE audit_changes.transaction_id = audit_actions.transaction_id \
                     AND audit_changes.action_id = audit_actions.id AND "
                ));
                let seen = all(self.changes.iter().chain(&self.transactions));
                Condition::sql("(")
                    .embed(&changes.with(&seen))
                    .then(" LIMIT 1)")
                    .on_the_way()
            }
        })
    }

    fn visible_changes(&self, theirs: &str) -> Condition {
        let of_them = format!("{STORAGE_SCHEMA}.audit_changes WHERE {theirs}");
        lookup(&of_them, &all(&self.changes))
    }
}

/// Whether some row meets a condition, asked for each row of a list by an index. As `EXISTS` it
/// could be turned into a join with everything.
fn lookup(rows: &str, condition: &Condition) -> Condition {
    Condition::sql(format!("(SELECT true FROM {rows} AND "))
        .with(condition)
        .then(" LIMIT 1)")
        .on_the_way()
}

fn host<C: QueryFragment<Pg> + Send + Sync + 'static>(condition: C) -> Condition {
    Condition::default()
        .host(&HostCondition::new(condition))
        .on_the_way()
}

fn all<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Condition {
    conditions
        .into_iter()
        .fold(Condition::sql("true"), |all, one| {
            all.then(" AND ").with(one)
        })
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }
}
