//! Records evidence: results of checks, and statements of the host.

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::data_types::PgInterval;
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::time::Duration;
use threadline_core::actor::ActorRef;
use threadline_core::telemetry;

use super::EvidenceError;
use super::statements::{self, Answer, Recorded};
use super::subject::{Basis, EvidenceSubject, Outcome};

/// The result of a check, to be recorded with [`record_check_result`].
///
/// ```
/// use threadline_diesel::evidence::{CheckResult, EvidenceSubject, Outcome};
///
/// let result = CheckResult::new(EvidenceSubject::ExportDelivery, "export_delivery", Outcome::Pass)
///     .subject_ref("job", "0197c2a0-0000-7000-8000-000000000001")
///     .detail("bytes", 48_112);
/// # let _ = result;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    subject: EvidenceSubject,
    check_name: &'static str,
    check_version: i32,
    outcome: Outcome,
    summary_status: Option<String>,
    subject_ref: Map<String, Value>,
    detail: Map<String, Value>,
    observed: Option<(DateTime<Utc>, DateTime<Utc>)>,
    valid_for: Option<Duration>,
    actor: Option<ActorRef>,
}

impl CheckResult {
    /// The result of a check of a subject.
    #[must_use]
    pub fn new(subject: EvidenceSubject, check_name: &'static str, outcome: Outcome) -> Self {
        Self {
            subject,
            check_name,
            check_version: 1,
            outcome,
            summary_status: None,
            subject_ref: Map::new(),
            detail: Map::new(),
            observed: None,
            valid_for: None,
            actor: None,
        }
    }

    /// The outcome.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The outcome in a few words: that of [`summary`](Self::summary), or else the name of the outcome.
    #[must_use]
    pub fn summary_status(&self) -> &str {
        let outcome = self.outcome.as_str();
        self.summary_status.as_deref().unwrap_or(outcome)
    }

    /// Sets the version of the check, which changes when the check does; 1 by default.
    #[must_use]
    pub fn check_version(mut self, version: i32) -> Self {
        self.check_version = version;
        self
    }

    /// Describes the outcome in a few words, without row values.
    #[must_use]
    pub fn summary(mut self, summary_status: impl Into<String>) -> Self {
        self.summary_status = Some(summary_status.into());
        self
    }

    /// Adds a field that identifies the object of the subject. The newest record of an object replaces earlier
    /// ones.
    #[must_use]
    pub fn subject_ref(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.subject_ref.insert(name.into(), value.into());
        self
    }

    /// Adds a finding. Names, codes and numbers are allowed; row values are not.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(name.into(), value.into());
        self
    }

    /// Sets the time whose records were read. Without it, the check counts as one of settings only.
    #[must_use]
    pub fn observed(mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        self.observed = Some((from, to));
        self
    }

    /// Sets how long the result is valid from the moment it is recorded. Without it, it stays valid.
    #[must_use]
    pub fn valid_for(mut self, duration: Duration) -> Self {
        self.valid_for = Some(duration);
        self
    }

    /// Sets the actor that asked for the check.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    fn to_json(&self) -> Value {
        let (from, to) = self.observed.unzip();
        json!({
            "subject": self.subject,
            "subject_ref": self.subject_ref,
            "outcome": self.outcome,
            "summary_status": self.summary_status(),
            "check_name": self.check_name,
            "check_version": self.check_version,
            "library_version": env!("CARGO_PKG_VERSION"),
            "observed_from": from.map(show),
            "observed_to": to.map(show),
            "actor": self.actor,
            "detail": self.detail,
        })
    }
}

impl Serialize for CheckResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

fn show(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A statement of the host about its audit system, to be recorded with [`record_attestation`].
///
/// ```
/// use threadline_diesel::evidence::Attestation;
///
/// let review = Attestation::new("reviewed")
///     .subject_ref("policy", "2026-11")
///     .detail("reviewed_by", "security team");
/// # let _ = review;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    outcome: Outcome,
    summary_status: String,
    subject_ref: Map<String, Value>,
    detail: Map<String, Value>,
    valid_until: Option<DateTime<Utc>>,
    actor: Option<ActorRef>,
}

impl Attestation {
    /// A statement that the subject is in order. The summary is the status in a few words and not empty.
    #[must_use]
    pub fn new(summary_status: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Pass,
            summary_status: summary_status.into(),
            subject_ref: Map::new(),
            detail: Map::new(),
            valid_until: None,
            actor: None,
        }
    }

    /// Sets another outcome than [`Outcome::Pass`].
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Adds a field that identifies the object of the subject. The newest statement about an object replaces
    /// earlier ones.
    #[must_use]
    pub fn subject_ref(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.subject_ref.insert(name.into(), value.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(name.into(), value.into());
        self
    }

    /// Sets when the statement becomes out of date. Without it, it stays valid.
    #[must_use]
    pub fn valid_until(mut self, instant: DateTime<Utc>) -> Self {
        self.valid_until = Some(instant);
        self
    }

    /// Sets the actor that makes the statement.
    #[must_use]
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    fn to_json(&self, subject: &EvidenceSubject) -> Value {
        json!({
            "subject": subject,
            "subject_ref": self.subject_ref,
            "outcome": self.outcome,
            "summary_status": self.summary_status,
            "valid_until": self.valid_until.map(show),
            "actor": self.actor,
            "detail": self.detail,
        })
    }
}

/// Records the result of a check and returns its `order_id`. Needs `EXECUTE` on `record_check`.
///
/// The database sets the time and the session user.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{CheckResult, EvidenceSubject, Outcome, record_check_result};
///
/// let result = CheckResult::new(EvidenceSubject::ExportDelivery, "export_delivery", Outcome::Pass);
/// record_check_result(conn, &result).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EvidenceError`] when migration `threadline_0002` is not applied, or the database reports an error.
pub async fn record_check_result<C>(
    conn: &mut C,
    result: &CheckResult,
) -> Result<i64, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    let valid_for = result.valid_for.map(|duration| {
        PgInterval::from_microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    });
    let recorded = statements::record_check(result.to_json(), valid_for)
        .get_result::<Recorded>(conn)
        .await?;
    emit(&result.subject, Basis::Checked, result.outcome);
    Ok(recorded.order_id)
}

/// Records a statement of the host about a subject and returns its `order_id`. Needs `EXECUTE` on
/// `record_evidence`.
///
/// The database sets the time, the session user and the basis: always [`Basis::Attested`], so that it is never
/// [`Proven`](super::Verdict::Proven).
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::evidence::{Attestation, EvidenceSubject, record_attestation};
///
/// let review = Attestation::new("reviewed").subject_ref("policy", "2026-11");
/// record_attestation(conn, &EvidenceSubject::RedactionPolicy, &review).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EvidenceError`] when migration `threadline_0002` is not applied, the summary is empty, the record is larger
/// than 1 MiB, or the database reports another error.
pub async fn record_attestation<C>(
    conn: &mut C,
    subject: &EvidenceSubject,
    attestation: &Attestation,
) -> Result<i64, EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    require_migration(conn).await?;
    let recorded = statements::record_attestation(attestation.to_json(subject))
        .get_result::<Recorded>(conn)
        .await?;
    emit(subject, Basis::Attested, attestation.outcome);
    Ok(recorded.order_id)
}

fn emit(subject: &EvidenceSubject, basis: Basis, outcome: Outcome) {
    telemetry::evidence_recorded(subject.as_str(), basis.as_str(), outcome.as_str());
}

/// Rejects a database without the migration of evidence.
pub(super) async fn require_migration<C>(conn: &mut C) -> Result<(), EvidenceError>
where
    C: AsyncConnection<Backend = Pg>,
{
    let installed = statements::is_installed()
        .get_result::<Answer>(conn)
        .await?;
    if installed.answer {
        Ok(())
    } else {
        Err(EvidenceError::MigrationMissing)
    }
}
