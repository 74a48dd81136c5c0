//! Filters that timelines, transactions and actions share: by actor, context, time and action.

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::action::{ActionName, ActionStatus};
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;

use super::error::InvalidQuery;
use super::filter_values::{MetaPattern, validate_category};
use super::sql_fragment::SqlFragment;

/// Filters by actor, context and time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ContextFilter {
    pub(crate) actor: Option<ActorRef>,
    pub(crate) actor_type: Option<ActorType>,
    pub(crate) on_behalf_of: Option<ActorRef>,
    pub(crate) correlation_id: Option<ContextId>,
    pub(crate) request_id: Option<ContextId>,
    pub(crate) job_id: Option<ContextId>,
    pub(crate) meta: Option<MetaPattern>,
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

impl ContextFilter {
    pub(crate) fn validate(&self) -> Result<(), InvalidQuery> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => Err(InvalidQuery::EmptyWindow { from, to }),
            _ => Ok(()),
        }
    }

    /// The filters by an id of the context: column and id.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&'static str, &ContextId)> {
        [
            ("correlation_id", &self.correlation_id),
            ("request_id", &self.request_id),
            ("job_id", &self.job_id),
        ]
        .into_iter()
        .filter_map(|(column, id)| Some((column, id.as_ref()?)))
    }

    /// Conditions on a table that has these columns itself: transactions and actions.
    pub(crate) fn column_conditions(&self, table: &str) -> Vec<SqlFragment> {
        let mut conditions = Vec::new();
        for (column, id) in self.ids() {
            conditions
                .push(SqlFragment::sql(format!("{table}.{column} = ")).bind_text(id.as_str()));
        }
        if let Some(represented) = &self.on_behalf_of {
            conditions.push(actor_is(&format!("{table}.on_behalf_of"), represented));
        }
        if let Some(actor_type) = self.actor_type {
            conditions.push(actor_type_is(&format!("{table}.actor"), actor_type));
        }
        conditions
    }
}

/// Filters by the action in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ActionFilter {
    #[serde(rename = "action_name")]
    pub(crate) name: Option<String>,
    #[serde(rename = "action_category")]
    pub(crate) category: Option<String>,
    #[serde(rename = "action_status")]
    pub(crate) status: Option<ActionStatus>,
}

impl ActionFilter {
    pub(crate) fn validate(&self) -> Result<(), InvalidQuery> {
        if let Some(name) = &self.name {
            ActionName::new(name)?;
        }
        if let Some(category) = &self.category {
            validate_category(category)?;
        }
        Ok(())
    }

    /// The condition on the name, which an index serves.
    pub(crate) fn name_condition(&self) -> Option<SqlFragment> {
        let name = self.name.as_deref()?.trim();
        Some(SqlFragment::sql("audit_actions.name = ").bind_text(name))
    }

    /// The condition that an action failed, which a partial index serves.
    pub(crate) fn failed_condition(&self) -> Option<SqlFragment> {
        (self.status? == ActionStatus::Error)
            .then(|| SqlFragment::sql("audit_actions.status = 'error'"))
    }

    /// The conditions that no index serves.
    pub(crate) fn unindexed_conditions(&self) -> Vec<SqlFragment> {
        let status = self.status.map(ActionStatus::as_str);
        [("status", status), ("category", self.category.as_deref())]
            .into_iter()
            .filter_map(|(column, value)| {
                let equals = SqlFragment::sql(format!("audit_actions.{column} = "));
                Some(equals.bind_text(value?).into_filter_only())
            })
            .collect()
    }
}

/// The condition that an actor column equals an actor.
pub(crate) fn actor_is(column: &str, actor: &ActorRef) -> SqlFragment {
    SqlFragment::sql(format!("{column} = ")).bind_text(actor.to_string())
}

/// The condition that an actor column has an actor of a type. No index serves it.
pub(crate) fn actor_type_is(column: &str, actor_type: ActorType) -> SqlFragment {
    match actor_type {
        ActorType::Anonymous => SqlFragment::sql(format!("{column} = ")).bind_text("anonymous"),
        other => SqlFragment::sql(format!("starts_with({column}, "))
            .bind_text(format!("{other}:"))
            .push_sql(")"),
    }
    .into_filter_only()
}

/// The `meta` of a transaction.
pub(crate) const TRANSACTION_META: &str = "(audit_transactions.context -> 'meta')";

/// A `meta` contains these fields. No index serves it.
pub(crate) fn meta_contains(expression: &str, meta: &MetaPattern) -> SqlFragment {
    SqlFragment::sql(format!("{expression} @> "))
        .bind_text(meta.as_str())
        .push_sql("::jsonb")
        .into_filter_only()
}
