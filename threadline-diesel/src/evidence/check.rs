//! The checks and their options.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use threadline_core::actor::ActorRef;
use threadline_core::registry::registered_tables;
use threadline_core::retention::RetentionPolicy;
use threadline_core::table::AuditedTable;

use super::EvidenceError;
use super::recording::CheckResult;
use super::subject::{EvidenceSubject, Outcome, join_names};
use crate::coverage::Coverage;

/// How long a result is valid unless the options or a plan say otherwise: one and a half days.
const DEFAULT_VALIDITY: Duration = hours(36);

/// How long expired records may wait for a purge unless the options say otherwise.
const DEFAULT_PURGE_INTERVAL: Duration = hours(48);

/// A number of hours.
#[must_use]
pub const fn hours(hours: u32) -> Duration {
    Duration::from_secs(hours as u64 * 3_600)
}

/// A number of days of 24 hours.
#[must_use]
pub const fn days(days: u32) -> Duration {
    Duration::from_secs(days as u64 * 86_400)
}

/// A check that the library runs and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Every table is captured or an expected gap, and coverage finds no error.
    Coverage,
    /// The deployed policies are the declared ones, and stored images agree with them.
    Policy,
    /// No record is older than the retention policy, and purges recorded what they removed.
    Retention,
    /// The roles of the application cannot write the trail.
    Roles,
    /// Capture was not interrupted since the last run of this check.
    Continuity,
}

impl Check {
    /// All checks.
    pub const ALL: &'static [Self] = &[
        Self::Coverage,
        Self::Policy,
        Self::Retention,
        Self::Roles,
        Self::Continuity,
    ];

    /// The name in SQL, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Policy => "policy",
            Self::Retention => "retention",
            Self::Roles => "roles",
            Self::Continuity => "continuity",
        }
    }

    /// The subject of its evidence.
    #[must_use]
    pub fn subject(self) -> EvidenceSubject {
        match self {
            Self::Coverage => EvidenceSubject::TriggerCoverage,
            Self::Policy => EvidenceSubject::RedactionPolicy,
            Self::Retention => EvidenceSubject::RetentionRun,
            Self::Roles => EvidenceSubject::RolePosture,
            Self::Continuity => EvidenceSubject::CaptureContinuity,
        }
    }

    pub(super) fn result(self, outcome: Outcome) -> CheckResult {
        CheckResult::new(self.subject(), self.as_str(), outcome).subject_ref("check", self.as_str())
    }

    /// The result of a check that did not run to its end: [`Outcome::Incomplete`], with the kind of the error.
    pub(super) fn incomplete(self, error: &EvidenceError, options: &CheckOptions) -> CheckResult {
        let result = self.result(Outcome::Incomplete);
        options.complete(result.detail("error", error.kind()))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that is not a check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a check: use {}", join_names(Check::ALL))]
pub struct UnknownCheck {
    name: String,
}

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|check| check.as_str() == name);
        known.copied().ok_or_else(|| UnknownCheck {
            name: name.to_owned(),
        })
    }
}

/// What the checks compare the database with.
///
/// ```
/// use threadline_core::retention::{Keep, RetentionPolicy};
/// use threadline_diesel::evidence::CheckOptions;
///
/// let policy = RetentionPolicy::keep(Keep::days(365)?).enabled().build()?;
/// let options = CheckOptions::registered()?
///     .application_role("app")
///     .retention(policy);
/// # let _ = options;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOptions {
    pub(super) coverage: Coverage,
    pub(super) declared: Vec<AuditedTable>,
    pub(super) application_roles: Vec<String>,
    pub(super) retention: Option<RetentionPolicy>,
    pub(super) purge_interval: Duration,
    valid_for: Duration,
    actor: Option<ActorRef>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            coverage: Coverage::new(),
            declared: Vec::new(),
            application_roles: Vec::new(),
            retention: None,
            purge_interval: DEFAULT_PURGE_INTERVAL,
            valid_for: DEFAULT_VALIDITY,
            actor: None,
        }
    }
}

impl CheckOptions {
    /// Options without declared tables, expected gaps, roles and retention policy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tables and expected gaps that the linked crates declare.
    ///
    /// # Errors
    /// [`EvidenceError::Registry`] or [`EvidenceError::TableName`] when a declaration is wrong.
    pub fn registered() -> Result<Self, EvidenceError> {
        Ok(Self::new()
            .declared(registered_tables()?)
            .coverage(Coverage::registered()?))
    }

    /// Sets the query of [`Check::Coverage`].
    #[must_use]
    pub fn coverage(mut self, coverage: Coverage) -> Self {
        self.coverage = coverage;
        self
    }

    /// Sets the declared tables, with which [`Check::Policy`] compares the deployed policies. Of other captured
    /// tables it checks the stored images only.
    #[must_use]
    pub fn declared(mut self, tables: Vec<AuditedTable>) -> Self {
        self.declared = tables;
        self
    }

    /// Adds a role that the application logs in as, for [`Check::Roles`] and [`Check::Coverage`]. Without one,
    /// [`Check::Roles`] checks the roles that wrote captured tables in the last day.
    #[must_use]
    pub fn application_role(mut self, role: impl Into<String>) -> Self {
        self.application_roles.push(role.into());
        self
    }

    /// Sets the policy of [`Check::Retention`].
    #[must_use]
    pub fn retention(mut self, policy: RetentionPolicy) -> Self {
        self.retention = Some(policy);
        self
    }

    /// Sets how long [`Check::Retention`] lets expired records wait for a purge: the interval of purges and the time
    /// that one takes; two days by default.
    #[must_use]
    pub fn purge_interval(mut self, interval: Duration) -> Self {
        self.purge_interval = interval;
        self
    }

    /// Sets how long a result is valid; one and a half days by default.
    #[must_use]
    pub fn valid_for(mut self, duration: Duration) -> Self {
        self.valid_for = duration;
        self
    }

    /// Sets the actor that asks for the checks.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Adds validity and actor to a result.
    pub(super) fn complete(&self, result: CheckResult) -> CheckResult {
        let result = result.valid_for(self.valid_for);
        match &self.actor {
            Some(actor) => result.actor(actor.clone()),
            None => result,
        }
    }
}
