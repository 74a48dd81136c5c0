//! What the application says it did, newest first, also where no row changed.

use chrono::{DateTime, Utc};
use diesel::dsl;
use diesel::pg::Pg;
use diesel::prelude::*;
use serde::Serialize;
use threadline_core::action::ActionStatus;
use threadline_core::actor::ActorRef;
use threadline_core::context::TraceId;
use uuid::Uuid;

use crate::change::AuditAction;
use crate::condition::Condition;
use crate::page::{Cursor, InvalidCursor, Page, PageSize, Place, digest};
use crate::schema::audit_actions;

/// The Diesel query behind a search for actions, open to the host's own filters.
pub type ActionsQuery<'a> =
    dsl::IntoBoxed<'a, dsl::Select<audit_actions::table, dsl::AsSelect<AuditAction, Pg>>, Pg>;

/// A search for actions: a question, built from types, answered a page at a time.
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
    page_size: PageSize,
    cursor: Option<Cursor>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Filters {
    name: Option<String>,
    status: Option<ActionStatus>,
    category: Option<String>,
    actor: Option<ActorRef>,
    correlation_id: Option<TraceId>,
    request_id: Option<TraceId>,
    job_id: Option<TraceId>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Actions {
    /// Every action.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only actions of a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.filters.name = Some(name.into());
        self
    }

    /// Only actions that ended like this.
    #[must_use]
    pub fn status(mut self, status: ActionStatus) -> Self {
        self.filters.status = Some(status);
        self
    }

    /// Only actions of a category.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.filters.category = Some(category.into());
        self
    }

    /// Only actions by an actor.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.filters.actor = Some(actor);
        self
    }

    /// Only actions of a correlation.
    #[must_use]
    pub fn correlation_id(mut self, id: TraceId) -> Self {
        self.filters.correlation_id = Some(id);
        self
    }

    /// Only actions of a request.
    #[must_use]
    pub fn request_id(mut self, id: TraceId) -> Self {
        self.filters.request_id = Some(id);
        self
    }

    /// Only actions of a job.
    #[must_use]
    pub fn job_id(mut self, id: TraceId) -> Self {
        self.filters.job_id = Some(id);
        self
    }

    /// Only actions recorded at an instant or later.
    #[must_use]
    pub fn from(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.from = Some(instant);
        self
    }

    /// Only actions recorded at an instant or before.
    #[must_use]
    pub fn to(mut self, instant: DateTime<Utc>) -> Self {
        self.filters.to = Some(instant);
        self
    }

    /// How many entries a page has; 50 unless set.
    #[must_use]
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.page_size = size;
        self
    }

    /// The page after a cursor of the same question.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// The query of one page, one row longer than the page.
    ///
    /// # Errors
    /// [`InvalidCursor`] when the cursor belongs to another question.
    pub fn query(&self) -> Result<ActionsQuery<'static>, InvalidCursor> {
        let mut query = audit_actions::table
            .select(AuditAction::as_select())
            .into_boxed();
        let filters = self.filters.clone();
        if let Some(name) = filters.name {
            query = query.filter(audit_actions::name.eq(name));
        }
        if let Some(status) = filters.status {
            query = query.filter(audit_actions::status.eq(status.as_str()));
        }
        if let Some(category) = filters.category {
            query = query.filter(audit_actions::category.eq(category));
        }
        if let Some(id) = filters.correlation_id {
            query = query.filter(audit_actions::correlation_id.eq(String::from(id)));
        }
        if let Some(id) = filters.request_id {
            query = query.filter(audit_actions::request_id.eq(String::from(id)));
        }
        if let Some(id) = filters.job_id {
            query = query.filter(audit_actions::job_id.eq(String::from(id)));
        }
        if let Some(from) = filters.from {
            query = query.filter(audit_actions::recorded_at.ge(from));
        }
        if let Some(to) = filters.to {
            query = query.filter(audit_actions::recorded_at.le(to));
        }
        if let Some(actor) = filters.actor {
            let by = Condition::sql("actor_ref IS NOT NULL AND actor_ref ->> 'type' = ")
                .text(actor.actor_type().as_str());
            query = query.filter(match actor.id() {
                Some(id) => by.then(" AND actor_ref ->> 'id' = ").text(id),
                None => by,
            });
        }
        if let Some(cursor) = &self.cursor {
            // Ids sort by time, so they alone mark the place.
            let place = cursor.place::<Uuid>(&digest(&self.filters))?;
            query = query.filter(audit_actions::id.lt(place.id));
        }
        Ok(query
            .order(audit_actions::id.desc())
            .limit(self.page_size.limit()))
    }

    /// The page in what the query gave.
    #[must_use]
    pub fn page(&self, rows: Vec<AuditAction>) -> Page<AuditAction> {
        let question = digest(&self.filters);
        self.page_size.cut(rows, |last| {
            Cursor::after(
                &question,
                &Place {
                    at: last.recorded_at,
                    id: last.id,
                },
            )
        })
    }
}
