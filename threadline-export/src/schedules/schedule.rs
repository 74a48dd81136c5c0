//! Schedules as they are added and read.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use threadline_core::actor::ActorRef;
use threadline_core::instant::Tz;
use threadline_diesel::feed::ConsumerName;

use super::cron::Cron;
use super::error::ScheduleError;
use crate::jobs::{ExportRequest, JobKind, validate_request, validate_scope_key};

/// The name of a schedule: a lower-case letter or a digit, then those, `_`, `-` and `.`, at most 63 of them.
///
/// ```
/// use threadline_export::schedules::ScheduleName;
///
/// assert_eq!("daily-orders".parse::<ScheduleName>()?.as_str(), "daily-orders");
/// assert!("Daily orders".parse::<ScheduleName>().is_err());
/// # Ok::<(), threadline_export::schedules::InvalidScheduleName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleName(ConsumerName);

/// The error for a text that is not the name of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a schedule: use lower-case letters, digits, `_`, `-` and `.`, at most 63, \
     beginning with a letter or a digit"
)]
pub struct InvalidScheduleName(pub String);

impl ScheduleName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ScheduleName {
    type Err = InvalidScheduleName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.parse().map(Self);
        name.map_err(|_| InvalidScheduleName(text.chars().take(100).collect()))
    }
}

impl TryFrom<String> for ScheduleName {
    type Error = InvalidScheduleName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ScheduleName> for String {
    fn from(name: ScheduleName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A schedule to add.
///
/// ```
/// use threadline_core::instant::Tz;
/// use threadline_diesel::query::TimelineFilters;
/// use threadline_export::jobs::ExportRequest;
/// use threadline_export::schedules::NewSchedule;
///
/// let request = ExportRequest::new(TimelineFilters::default());
/// let nightly = NewSchedule::export("nightly".parse()?, "0 2 * * *".parse()?, Tz::Europe__Berlin, &request)
///     .actor("admin:rita".parse()?);
/// # let _ = nightly;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchedule {
    pub(crate) name: ScheduleName,
    pub(crate) cron: Cron,
    pub(crate) zone: Tz,
    pub(crate) kind: JobKind,
    pub(crate) request: Value,
    pub(crate) actor: Option<ActorRef>,
    pub(crate) scope_key: Option<String>,
}

impl NewSchedule {
    /// A schedule of jobs of a kind with a request.
    #[must_use]
    pub fn new(name: ScheduleName, cron: Cron, zone: Tz, kind: JobKind, request: Value) -> Self {
        Self {
            name,
            cron,
            zone,
            kind,
            request,
            actor: None,
            scope_key: None,
        }
    }

    /// A schedule of exports. [`ExportRequest::span`] says which changes each file has.
    #[must_use]
    pub fn export(name: ScheduleName, cron: Cron, zone: Tz, request: &ExportRequest) -> Self {
        Self::new(name, cron, zone, JobKind::Export, request.to_value())
    }

    /// The owner: the actor of the jobs.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The key of the scope of the jobs, from which the host resolves the scope when a job runs.
    #[must_use]
    pub fn scope_key(mut self, key: impl Into<String>) -> Self {
        self.scope_key = Some(key.into());
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ScheduleError> {
        validate_request(&self.request)?;
        if let Some(key) = &self.scope_key {
            validate_scope_key(key)?;
        }
        if self.kind == JobKind::Export {
            let request: ExportRequest = serde_json::from_value(self.request.clone())
                .map_err(ScheduleError::InvalidExport)?;
            request.filters.validate()?;
            if request.filters.from.is_some() || request.filters.to.is_some() {
                return Err(ScheduleError::HasWindow);
            }
        }
        Ok(())
    }
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Schedule {
    /// The name.
    pub name: String,
    /// The kind of its jobs.
    pub kind: JobKind,
    /// The cron expression.
    pub cron: String,
    /// The name of the time zone.
    pub time_zone: String,
    /// The request of its jobs.
    pub request: Value,
    /// The owner.
    pub actor: Option<ActorRef>,
    /// The key of the scope.
    pub scope_key: Option<String>,
    /// When it is due next.
    pub next_due_at: DateTime<Utc>,
    /// When it was paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// With [`Span::SinceLast`](crate::jobs::Span::SinceLast): the last id that the completed files have; none before the first.
    pub position: Option<i64>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// The database role that added it.
    pub created_by: String,
}
