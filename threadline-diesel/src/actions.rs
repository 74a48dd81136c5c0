//! What the application says it did, newest first, also where no row changed.

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

use crate::change::AuditAction;
use crate::circumstances::{Circumstances, Deed, actor_is, meta_contains, questions_about};
use crate::condition::Condition;
use crate::error::InvalidQuestion;
use crate::page::{Cursor, Order, Page, PageSize, Paging, Start, digest};
use crate::schema::audit_actions;
use crate::scope::Scope;
use crate::terms::MetaPattern;

/// How far the clock of the writer, which is in an action's id, may be from the database's.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

/// The Diesel query behind a search for actions, open to the host's own filters.
pub type ActionsQuery<'a> =
    dsl::IntoBoxed<'a, dsl::Select<audit_actions::table, dsl::AsSelect<AuditAction, Pg>>, Pg>;

/// A search for actions: a question, built from types, answered a page at a time.
///
/// Actions are in the order of their ids, version 7 uuids that hold the writer's clock. A window is
/// exact for clocks that are less than a day off the database's.
///
/// ```
/// use threadline_core::action::ActionStatus;
/// use threadline_diesel::actions::Actions;
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
    beside_changes: BesideChanges,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Filters {
    transaction: Option<AuditTransactionId>,
    #[serde(flatten)]
    circumstances: Circumstances,
    #[serde(flatten)]
    deed: Deed,
}

/// Whether actions are shown beside the changes made under them, where a scope that is silent about
/// actions has an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum BesideChanges {
    Yes,
    #[default]
    No,
}

impl Actions {
    /// Every action.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    questions_about!("actions", "recorded");

    /// Only actions of a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.filters.deed.name = Some(name.into());
        self
    }

    /// Only actions that ended like this.
    #[must_use]
    pub fn status(mut self, status: ActionStatus) -> Self {
        self.filters.deed.status = Some(status);
        self
    }

    /// Only actions of a category. No index answers it: actions are read from the newest on until
    /// the page is full.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.filters.deed.category = Some(category.into());
        self
    }

    /// Only actions with these facts in their own `meta`.
    #[must_use]
    pub fn meta(mut self, facts: MetaPattern) -> Self {
        self.filters.circumstances.meta = Some(facts);
        self
    }

    /// Only actions of one database transaction.
    #[must_use]
    pub fn transaction(mut self, id: AuditTransactionId) -> Self {
        self.filters.transaction = Some(id);
        self
    }

    /// For what shows the changes, too.
    pub(crate) fn beside_changes(mut self) -> Self {
        self.beside_changes = BesideChanges::Yes;
        self
    }

    /// The query of one page, one row longer than the page, in the order of reading: with
    /// [`before`](Self::before) that is against the list's. [`page`](Self::page) turns it round.
    ///
    /// # Errors
    /// [`InvalidQuestion`] when the cursor belongs to another question, the window is empty, a name
    /// is none, or the scope cannot be applied.
    pub fn query(&self) -> Result<ActionsQuery<'static>, InvalidQuestion> {
        self.filters.circumstances.checked()?;
        self.filters.deed.checked()?;
        let mut query = audit_actions::table
            .select(AuditAction::as_select())
            .into_boxed();
        for condition in self.filters.conditions() {
            query = query.filter(condition);
        }
        if let Some(scope) = &self.scope {
            query = query.filter(match self.beside_changes {
                BesideChanges::Yes => scope.of_actions_beside_changes()?,
                BesideChanges::No => scope.of_actions()?,
            });
        }
        // Ids sort by time, so they alone mark the place.
        let place = self
            .paging
            .place::<Uuid>(&self.digest(), Order::NewestFirst)?;
        if let Some((comparison, place)) = place {
            let beyond = Condition::sql(format!("audit_actions.id {comparison} "));
            query = query.filter(beyond.uuid(place.id));
        }
        let query = if self.paging.reads_descending(Order::NewestFirst) {
            query.order(audit_actions::id.desc())
        } else {
            query.order(audit_actions::id.asc())
        };
        Ok(query.limit(self.paging.size.limit()))
    }

    fn digest(&self) -> String {
        let scope = self.scope.as_ref();
        digest("actions", &self.filters, scope, Order::NewestFirst)
    }

    /// The page in what the query gave.
    #[must_use]
    pub fn page(&self, rows: Vec<AuditAction>) -> Page<AuditAction> {
        let question = self.digest();
        self.paging.page(rows, |action| {
            Cursor::at(&question, action.recorded_at, &action.id)
        })
    }

    pub(crate) fn paging(&self) -> &Paging {
        &self.paging
    }

    pub(crate) fn with_paging(&self, paging: Paging) -> Self {
        Self {
            paging,
            ..self.clone()
        }
    }
}

impl Filters {
    fn conditions(&self) -> Vec<Condition> {
        let mut conditions = self.circumstances.of_rows("audit_actions");
        if let Some(actor) = &self.circumstances.actor {
            conditions.push(actor_is("audit_actions.actor", actor));
        }
        if let Some(facts) = &self.circumstances.meta {
            conditions.push(meta_contains("audit_actions.meta", facts));
        }
        if let Some(id) = self.transaction {
            conditions.push(Condition::sql("audit_actions.transaction_id = ").uuid(id.as_uuid()));
        }
        conditions.extend(self.deed.name_is());
        conditions.extend(self.deed.failed());
        conditions.extend(self.deed.rest());
        // The first is exact, and the second tells index and partitions where to look.
        if let Some(from) = self.circumstances.from {
            conditions.push(
                Condition::sql("audit_actions.recorded_at >= ")
                    .instant(from)
                    .on_the_way(),
            );
            conditions.push(id_bound(">=", from - CLOCK_SLACK));
        }
        if let Some(to) = self.circumstances.to {
            conditions.push(
                Condition::sql("audit_actions.recorded_at <= ")
                    .instant(to)
                    .on_the_way(),
            );
            conditions.push(id_bound("<", to + CLOCK_SLACK));
        }
        conditions
    }
}

fn id_bound(comparison: &str, instant: DateTime<Utc>) -> Condition {
    Condition::sql(format!(
        "audit_actions.id {comparison} {STORAGE_SCHEMA}.action_id_from("
    ))
    .instant(instant)
    .then(")")
}
