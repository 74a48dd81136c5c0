//! Background exports: where they are stored, and whose jobs a request may see.

use axum::http::StatusCode;
use diesel_async::AsyncPgConnection;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_export::jobs::{self, Job, JobError};
use threadline_export::schedules::{Schedule, ScheduleError};
use uuid::Uuid;

use crate::connections::Connection;
use crate::page_error::PageError;
use crate::request::GrantedRequest;

impl From<JobError> for PageError {
    fn from(error: JobError) -> Self {
        let status = match error {
            JobError::NotFound(_) => return Self::NotFound,
            JobError::Database(error) => return error.into(),
            JobError::TooManyOpen => StatusCode::TOO_MANY_REQUESTS,
            JobError::HasEnded { .. }
            | JobError::NotFailed { .. }
            | JobError::IdempotencyKeyTaken(_) => StatusCode::CONFLICT,
            _ => return Self::Internal("job"),
        };
        Self::refused(status, "Not possible now", error)
    }
}

impl From<ScheduleError> for PageError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::NotFound(_) => Self::NotFound,
            ScheduleError::Exists(_) => {
                Self::refused(StatusCode::CONFLICT, "Not possible now", error)
            }
            ScheduleError::Database(error) => error.into(),
            ScheduleError::Job(error) => error.into(),
            _ => Self::Internal("schedule"),
        }
    }
}

impl GrantedRequest {
    /// The actor that owns the jobs of this request. Jobs without an owner could be read by everyone.
    pub(crate) fn job_owner(&self) -> Result<&ActorRef, PageError> {
        let actor = self.actor.as_ref();
        let known = actor.filter(|actor| actor.actor_type() != ActorType::Anonymous);
        known.ok_or_else(|| {
            let advice = "A background export belongs to an actor, who alone can download it. The application \
                does not say who you are: it sets the actor of a request with the audit context or \
                ConsoleBuilder::actor.";
            PageError::refused(StatusCode::FORBIDDEN, "No actor", advice)
        })
    }

    /// The key of the scope of new jobs; none for the whole trail.
    pub(crate) fn job_scope_key(&self) -> Result<Option<&str>, PageError> {
        match (self.scope(), self.grant.key_of_scope()) {
            (None, _) => Ok(None),
            (Some(_), Some(key)) => Ok(Some(key)),
            (Some(_), None) => {
                let advice = "Your grant is restricted to a part of the trail, and the application does not give \
                    this part a key (Grant::scope_key), from which the worker could restrict the export.";
                Err(PageError::refused(
                    StatusCode::FORBIDDEN,
                    "Not available in your scope",
                    advice,
                ))
            }
        }
    }

    /// Whether the grant includes a job or schedule of an actor and a scope: one of the same actor, and of the
    /// same scope unless the grant has none.
    pub(crate) fn owns(&self, actor: Option<&ActorRef>, scope_key: Option<&str>) -> bool {
        let is_own = self.job_owner().is_ok_and(|owner| actor == Some(owner));
        let is_in_scope =
            self.scope().is_none() || scope_key.is_some() && scope_key == self.grant.key_of_scope();
        is_own && is_in_scope
    }

    /// Whether the grant includes a job.
    pub(crate) fn owns_job(&self, job: &Job) -> bool {
        self.owns(job.actor.as_ref(), job.scope_key.as_deref())
    }

    /// Whether the grant includes a schedule.
    pub(crate) fn owns_schedule(&self, schedule: &Schedule) -> bool {
        self.owns(schedule.actor.as_ref(), schedule.scope_key.as_deref())
    }

    /// Takes a connection that writes jobs and schedules.
    pub(crate) async fn writer(&self) -> Result<Connection, PageError> {
        let writer = self.settings.writer().await?;
        writer.ok_or(PageError::Internal("no writers"))
    }
}

/// The job of an id, if the grant includes it. Another job is as unknown as none.
pub(crate) async fn find_job(
    request: &GrantedRequest,
    conn: &mut AsyncPgConnection,
    id: Uuid,
) -> Result<Job, PageError> {
    let job = jobs::find(conn, id).await?;
    job.filter(|job| request.owns_job(job))
        .ok_or(PageError::NotFound)
}
