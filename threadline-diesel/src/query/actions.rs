//! Queries for actions, newest first. Actions without changes are included.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl;
use diesel::pg::Pg;
use diesel::prelude::*;
use serde::Serialize;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::transaction::AuditTransactionId;
use uuid::Uuid;

use super::error::InvalidQuery;
use super::filter_values::MetaPattern;
use super::filters::{ActionFilter, ContextFilter, actor_is, meta_contains};
use super::page_reader::PagedQuery;
use super::pagination::{Cursor, Order, Page, PageSize, Paging, Start, digest};
use super::scope::Scope;
use super::sql_fragment::SqlFragment;
use crate::models::AuditAction;
use crate::schema::audit_actions;

/// How far the clock of the writer, whose time an action's id contains, may differ from the clock of the database.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

/// The Diesel query of a page of actions, for the host's own filters.
pub type ActionsQuery<'a> =
    dsl::IntoBoxed<'a, dsl::Select<audit_actions::table, dsl::AsSelect<AuditAction, Pg>>, Pg>;

/// A query for actions, read a page at a time by [`actions`](crate::actions()).
///
/// Actions are in the order of their ids, version 7 UUIDs that contain the time of the writer's clock.
/// A window is exact for clocks that differ from the clock of the database by less than a day.
///
/// ```
/// use threadline_core::action::ActionStatus;
/// use threadline_diesel::query::Actions;
///
/// let failed_logins = Actions::new()
///     .name("session.log_in")
///     .status(ActionStatus::Error);
/// # let _ = failed_logins;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions {
    filters: Filters,
    paging: Paging,
    scope: Option<Scope>,
    with_changes: WithChanges,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Filters {
    transaction: Option<AuditTransactionId>,
    #[serde(flatten)]
    context: ContextFilter,
    #[serde(flatten)]
    action: ActionFilter,
}

/// Whether the answer has the changes made under the actions, too. A scope that does not mention actions
/// then shows those with visible changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum WithChanges {
    Yes,
    #[default]
    No,
}

impl Actions {
    /// All actions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only actions by an actor.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.filters.context.actor = Some(actor);
        self
    }

    /// Only actions by actors of a type. No index serves this filter: actions are read in order
    /// until the page is full.
    #[must_use]
    pub fn actor_type(mut self, actor_type: ActorType) -> Self {
        self.filters.context.actor_type = Some(actor_type);
        self
    }

    /// Only actions on behalf of an actor, by any actor.
    #[must_use]
    pub fn on_behalf_of(mut self, represented: ActorRef) -> Self {
        self.filters.context.on_behalf_of = Some(represented);
        self
    }

    /// Only actions of a correlation.
    #[must_use]
    pub fn correlation_id(mut self, id: ContextId) -> Self {
        self.filters.context.correlation_id = Some(id);
        self
    }

    /// Only actions of a request.
    #[must_use]
    pub fn request_id(mut self, id: ContextId) -> Self {
        self.filters.context.request_id = Some(id);
        self
    }

    /// Only actions of a job.
    #[must_use]
    pub fn job_id(mut self, id: ContextId) -> Self {
        self.filters.context.job_id = Some(id);
        self
    }

    /// Only actions recorded at or after an instant.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.context.from = Some(instant);
        self
    }

    /// Only actions recorded at or before an instant.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.context.to = Some(instant);
        self
    }

    /// Only actions of a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.filters.action.name = Some(name.into());
        self
    }

    /// Only actions with a status.
    #[must_use]
    pub fn status(mut self, status: ActionStatus) -> Self {
        self.filters.action.status = Some(status);
        self
    }

    /// Only actions of a category. No index serves this filter: actions are read in order until the
    /// page is full.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.filters.action.category = Some(category.into());
        self
    }

    /// Only actions with these fields in their own `meta`.
    #[must_use]
    pub fn meta(mut self, facts: MetaPattern) -> Self {
        self.filters.context.meta = Some(facts);
        self
    }

    /// Only actions of one database transaction.
    #[must_use]
    pub fn transaction(mut self, id: AuditTransactionId) -> Self {
        self.filters.transaction = Some(id);
        self
    }

    /// Marks the query as part of an answer that has the changes, too.
    pub(crate) fn with_changes(mut self) -> Self {
        self.with_changes = WithChanges::Yes;
        self
    }

    /// Restricts the list to a scope.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The number of entries of a page; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.paging.size = size;
        self
    }

    /// The page after a cursor of the same query.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::After(cursor);
        self
    }

    /// The page before a cursor of the same query: the entries that precede the cursor, in the order
    /// of the list.
    #[must_use]
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.paging.start = Start::Before(cursor);
        self
    }

    /// The Diesel query of one page, for the host's own filters. It reads one row more than the page,
    /// with [`before`](Self::before) against the order of the list; [`page`](Self::page) cuts the page
    /// out of the rows.
    ///
    /// # Errors
    /// [`InvalidQuery`] when the cursor belongs to another query, the window is empty, an action name
    /// or category is invalid, or the scope cannot be applied.
    pub fn query(&self) -> Result<ActionsQuery<'static>, InvalidQuery> {
        self.statement(&self.paging)
    }

    #[cfg(feature = "async")]
    pub(crate) fn context(&self) -> &ContextFilter {
        &self.filters.context
    }

    #[cfg(feature = "async")]
    pub(crate) fn action_name(&self) -> Option<&str> {
        self.filters.action.name.as_deref()
    }

    #[cfg(feature = "async")]
    pub(crate) fn is_scoped(&self) -> bool {
        self.scope.is_some()
    }

    /// The last entry until an instant, whatever the window of this query.
    #[cfg(feature = "async")]
    pub(crate) fn last_until(&self, to: DateTime<Utc>) -> Self {
        let mut query = self.clone().to(to).page_size(PageSize::ONE);
        query.filters.context.from = None;
        query.paging.start = Start::Beginning;
        query
    }

    /// The first entry since an instant, whatever the window of this query.
    #[cfg(feature = "async")]
    pub(crate) fn first_since(&self, from: DateTime<Utc>) -> Self {
        let mut query = self.clone().from(from).page_size(PageSize::ONE);
        query.filters.context.to = None;
        // The list is newest first: the page before the oldest possible entry is read oldest first.
        let oldest = Cursor::at(&query.digest(), DateTime::UNIX_EPOCH, &Uuid::nil());
        query.before(oldest)
    }

    fn digest(&self) -> String {
        let scope = self.scope.as_ref();
        digest("actions", &self.filters, scope, Order::NewestFirst)
    }

    /// Cuts the page out of the rows of [`query`](Self::query).
    #[must_use]
    pub fn page(&self, rows: Vec<AuditAction>) -> Page<AuditAction> {
        let digest = self.digest();
        self.paging.page(rows, |action| {
            Cursor::at(&digest, action.recorded_at, &action.id)
        })
    }
}

impl PagedQuery for Actions {
    type Statement = ActionsQuery<'static>;
    type Row = AuditAction;

    fn paging(&self) -> &Paging {
        &self.paging
    }

    fn statement(&self, paging: &Paging) -> Result<ActionsQuery<'static>, InvalidQuery> {
        self.filters.context.validate()?;
        self.filters.action.validate()?;
        let mut query = audit_actions::table
            .select(AuditAction::as_select())
            .into_boxed();
        for condition in self.filters.conditions() {
            query = query.filter(condition);
        }
        if let Some(scope) = &self.scope {
            query = query.filter(match self.with_changes {
                WithChanges::Yes => scope.action_condition_with_changes()?,
                WithChanges::No => scope.action_condition()?,
            });
        }
        // Ids are ordered by time, so the id alone is the position.
        let position = paging.position::<Uuid>(&self.digest(), Order::NewestFirst)?;
        if let Some((comparison, position)) = position {
            let beyond = SqlFragment::sql(format!("audit_actions.id {comparison} "));
            query = query.filter(beyond.bind_uuid(position.id));
        }
        let query = if paging.reads_descending(Order::NewestFirst) {
            query.order(audit_actions::id.desc())
        } else {
            query.order(audit_actions::id.asc())
        };
        Ok(query.limit(paging.size.limit()))
    }

    fn page(&self, rows: Vec<AuditAction>) -> Page<AuditAction> {
        self.page(rows)
    }
}

impl Filters {
    fn conditions(&self) -> Vec<SqlFragment> {
        let mut conditions = self.context.column_conditions("audit_actions");
        if let Some(actor) = &self.context.actor {
            conditions.push(actor_is("audit_actions.actor", actor));
        }
        if let Some(facts) = &self.context.meta {
            conditions.push(meta_contains("audit_actions.meta", facts));
        }
        if let Some(id) = self.transaction {
            conditions
                .push(SqlFragment::sql("audit_actions.transaction_id = ").bind_uuid(id.as_uuid()));
        }
        conditions.extend(self.action.name_condition());
        conditions.extend(self.action.failed_condition());
        conditions.extend(self.action.unindexed_conditions());
        // The condition on the time is exact; the one on the id selects index range and partitions.
        if let Some(from) = self.context.from {
            conditions.push(
                SqlFragment::sql("audit_actions.recorded_at >= ")
                    .bind_instant(from)
                    .into_filter_only(),
            );
            conditions.push(id_bound(">=", from - CLOCK_SLACK));
        }
        if let Some(to) = self.context.to {
            conditions.push(
                SqlFragment::sql("audit_actions.recorded_at <= ")
                    .bind_instant(to)
                    .into_filter_only(),
            );
            conditions.push(id_bound("<", to + CLOCK_SLACK));
        }
        conditions
    }
}

fn id_bound(comparison: &str, instant: DateTime<Utc>) -> SqlFragment {
    SqlFragment::sql(format!(
        "audit_actions.id {comparison} {STORAGE_SCHEMA}.action_id_from("
    ))
    .bind_instant(instant)
    .push_sql(")")
}
