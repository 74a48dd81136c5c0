//! Who, for whom and in what context: the filters that changes, transactions and actions share.

use chrono::{DateTime, Utc};
use serde::Serialize;
use threadline_core::action::{ActionName, ActionStatus};
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;

use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::terms::{MetaPattern, checked_category};

/// Who, for whom, in what context, and when.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Circumstances {
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

impl Circumstances {
    pub(crate) fn checked(&self) -> Result<(), InvalidQuestion> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => Err(InvalidQuestion::EmptyWindow { from, to }),
            _ => Ok(()),
        }
    }

    /// The ids of the context that are asked for, by their columns.
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
    pub(crate) fn of_rows(&self, table: &str) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (column, id) in self.ids() {
            conditions.push(Condition::sql(format!("{table}.{column} = ")).text(id.as_str()));
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

/// What was done, where an action says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Deed {
    #[serde(rename = "action_name")]
    pub(crate) name: Option<String>,
    #[serde(rename = "action_category")]
    pub(crate) category: Option<String>,
    #[serde(rename = "action_status")]
    pub(crate) status: Option<ActionStatus>,
}

impl Deed {
    pub(crate) fn checked(&self) -> Result<(), InvalidQuestion> {
        if let Some(name) = &self.name {
            ActionName::new(name)?;
        }
        if let Some(category) = &self.category {
            checked_category(category)?;
        }
        Ok(())
    }

    /// Actions by name, in a form for the index.
    pub(crate) fn name_is(&self) -> Option<Condition> {
        let name = self.name.as_deref()?.trim();
        Some(Condition::sql("audit_actions.name = ").text(name))
    }

    /// Failed actions, in a form for the index, which has these alone.
    pub(crate) fn failed(&self) -> Option<Condition> {
        (self.status? == ActionStatus::Error)
            .then(|| Condition::sql("audit_actions.status = 'error'"))
    }

    /// What no index answers.
    pub(crate) fn rest(&self) -> Vec<Condition> {
        let status = self.status.map(ActionStatus::as_str);
        [("status", status), ("category", self.category.as_deref())]
            .into_iter()
            .filter_map(|(column, value)| {
                let is = Condition::sql(format!("audit_actions.{column} = "));
                Some(is.text(value?).on_the_way())
            })
            .collect()
    }
}

/// An actor column holds this actor.
pub(crate) fn actor_is(column: &str, actor: &ActorRef) -> Condition {
    Condition::sql(format!("{column} = ")).text(actor.to_string())
}

/// An actor column holds an actor of this type. No index answers it.
pub(crate) fn actor_type_is(column: &str, actor_type: ActorType) -> Condition {
    match actor_type {
        ActorType::Anonymous => Condition::sql(format!("{column} = ")).text("anonymous"),
        other => Condition::sql(format!("starts_with({column}, "))
            .text(format!("{other}:"))
            .then(")"),
    }
    .on_the_way()
}

/// A `meta` contains these facts. No index answers it.
pub(crate) fn meta_contains(expression: &str, meta: &MetaPattern) -> Condition {
    Condition::sql(format!("{expression} @> "))
        .text(meta.as_str())
        .then("::jsonb")
        .on_the_way()
}

/// The `meta` of a transaction.
pub(crate) const TRANSACTION_META: &str = "(audit_transactions.context -> 'meta')";

/// The builder methods of the filters above, page and scope, for a question that has them as
/// `circumstances`, `paging` and `scope`.
macro_rules! questions_about {
    ($what:literal, $instant:literal) => {
        #[doc = concat!("Only ", $what, " by an actor.")]
        #[must_use]
        pub fn actor(mut self, actor: ActorRef) -> Self {
            self.filters.circumstances.actor = Some(actor);
            self
        }

        #[doc = concat!("Only ", $what, " by actors of a type. No index answers it: ", $what)]
        /// are read from the newest on until the page is full.
        #[must_use]
        pub fn actor_type(mut self, actor_type: ActorType) -> Self {
            self.filters.circumstances.actor_type = Some(actor_type);
            self
        }

        #[doc = concat!("Only ", $what, " on behalf of somebody, whoever acted.")]
        #[must_use]
        pub fn on_behalf_of(mut self, represented: ActorRef) -> Self {
            self.filters.circumstances.on_behalf_of = Some(represented);
            self
        }

        #[doc = concat!("Only ", $what, " of a correlation.")]
        #[must_use]
        pub fn correlation_id(mut self, id: ContextId) -> Self {
            self.filters.circumstances.correlation_id = Some(id);
            self
        }

        #[doc = concat!("Only ", $what, " of a request.")]
        #[must_use]
        pub fn request_id(mut self, id: ContextId) -> Self {
            self.filters.circumstances.request_id = Some(id);
            self
        }

        #[doc = concat!("Only ", $what, " of a job.")]
        #[must_use]
        pub fn job_id(mut self, id: ContextId) -> Self {
            self.filters.circumstances.job_id = Some(id);
            self
        }

        #[doc = concat!("Only ", $what, " ", $instant, " at an instant or later.")]
        #[must_use]
        pub fn from(mut self, instant: DateTime<Utc>) -> Self {
            self.filters.circumstances.from = Some(instant);
            self
        }

        #[doc = concat!("Only ", $what, " ", $instant, " at an instant or before.")]
        #[must_use]
        pub fn to(mut self, instant: DateTime<Utc>) -> Self {
            self.filters.circumstances.to = Some(instant);
            self
        }

        /// Only what a caller may see.
        #[must_use]
        pub fn scope(mut self, scope: &Scope) -> Self {
            self.scope = Some(scope.clone());
            self
        }

        /// How many entries a page has; 50 unless set.
        #[must_use]
        pub fn page_size(mut self, size: PageSize) -> Self {
            self.paging.size = size;
            self
        }

        /// The page after a cursor of the same question: what comes next in the list.
        #[must_use]
        pub fn after(mut self, cursor: Cursor) -> Self {
            self.paging.start = Start::After(cursor);
            self
        }

        /// The page before a cursor of the same question: the entries that end just there, in the
        /// list's order.
        #[must_use]
        pub fn before(mut self, cursor: Cursor) -> Self {
            self.paging.start = Start::Before(cursor);
            self
        }
    };
}

pub(crate) use questions_about;
