//! Verdicts: what evidence proves at an instant. They are computed when evidence is read, and not stored.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::stored::Evidence;
use super::subject::{Basis, Outcome};

/// What evidence proves. The order is from strong to weak: the verdict of several records is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// A check read records of the trail and passed.
    Proven,
    /// Settings were checked, or the host states it: the records themselves were not checked.
    InferredPosture,
    /// There is no valid evidence.
    Unsupported,
}

impl Verdict {
    /// The name in JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::InferredPosture => "inferred_posture",
            Self::Unsupported => "unsupported",
        }
    }

    /// The kind of claim.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Proven => "direct_fact",
            Self::InferredPosture => "posture_snapshot",
            Self::Unsupported => "unsupported_claim",
        }
    }
}

/// The reason of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerdictReason {
    /// A check read records of the trail.
    CheckedRecords,
    /// A check read settings only.
    CheckedSettings,
    /// The host states it.
    Attested,
    /// A planned check did not run for some time.
    Gaps,
    /// The check failed, or the host states a failure.
    Failed,
    /// The check did not run to its end.
    Incomplete,
    /// The evidence is out of date.
    OutOfDate,
    /// There is no evidence.
    NoRecords,
}

impl VerdictReason {
    /// The name in JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CheckedRecords => "checked_records",
            Self::CheckedSettings => "checked_settings",
            Self::Attested => "attested",
            Self::Gaps => "gaps",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
            Self::OutOfDate => "out_of_date",
            Self::NoRecords => "no_records",
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::CheckedRecords => Verdict::Proven,
            Self::CheckedSettings | Self::Attested | Self::Gaps => Verdict::InferredPosture,
            Self::Failed | Self::Incomplete | Self::OutOfDate | Self::NoRecords => {
                Verdict::Unsupported
            }
        }
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Assessment {
    /// The verdict.
    pub status: Verdict,
    /// The kind of claim: `direct_fact`, `posture_snapshot`, `unsupported_claim`.
    pub kind: &'static str,
    /// The reason.
    pub reason: VerdictReason,
}

impl From<VerdictReason> for Assessment {
    fn from(reason: VerdictReason) -> Self {
        let status = reason.verdict();
        Self {
            status,
            kind: status.kind(),
            reason,
        }
    }
}

impl Evidence {
    /// What this record proves at an instant.
    ///
    /// ```no_run
    /// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
    /// use threadline_diesel::evidence::{EvidenceSubject, Verdict, latest};
    ///
    /// let coverage = latest(conn, &EvidenceSubject::TriggerCoverage).await?;
    /// let is_proven = coverage
    ///     .is_some_and(|evidence| evidence.assess(chrono::Utc::now()).status == Verdict::Proven);
    /// # let _ = is_proven;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn assess(&self, at: DateTime<Utc>) -> Assessment {
        let is_out_of_date = self.valid_until.is_some_and(|until| until < at);
        let reason = match (self.outcome, self.basis) {
            (Outcome::Fail, _) => VerdictReason::Failed,
            (Outcome::Incomplete, _) => VerdictReason::Incomplete,
            (Outcome::Pass, _) if is_out_of_date => VerdictReason::OutOfDate,
            (Outcome::Pass, Basis::Attested) => VerdictReason::Attested,
            (Outcome::Pass, Basis::Checked) if self.observed_to.is_none() => {
                VerdictReason::CheckedSettings
            }
            (Outcome::Pass, Basis::Checked) => VerdictReason::CheckedRecords,
        };
        reason.into()
    }

    /// The age at an instant; zero for an instant before the record.
    #[must_use]
    pub fn age(&self, at: DateTime<Utc>) -> TimeDelta {
        (at - self.recorded_at).max(TimeDelta::zero())
    }
}

/// The first of the weakest of some assessments; [`VerdictReason::NoRecords`] if there are none.
pub(super) fn weakest(assessments: impl Iterator<Item = Assessment>) -> Assessment {
    let weaker = |one: Assessment, next: Assessment| {
        if next.status > one.status { next } else { one }
    };
    assessments
        .reduce(weaker)
        .unwrap_or(VerdictReason::NoRecords.into())
}
