//! The fixed terms of evidence: subjects, bases, outcomes.

use std::fmt;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Text;
use serde::{Serialize, Serializer};

/// The subject of evidence: a part of the audit system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, FromSqlRow)]
#[non_exhaustive]
pub enum EvidenceSubject {
    /// Which columns are stored, and whether stored images agree.
    RedactionPolicy,
    /// Which tables are captured.
    TriggerCoverage,
    /// Whether purges removed what is expired, and recorded it.
    RetentionRun,
    /// How long records are kept.
    RetentionPolicy,
    /// Whether a delivered export is the one that was written.
    ExportDelivery,
    /// Which parts of the trail support staff can read.
    SupportScopePosture,
    /// Whether capture was interrupted.
    CaptureContinuity,
    /// Which roles can write the trail.
    RolePosture,
    /// Whether the trail agrees with its seals.
    SealVerification,
    /// Whether archived records are complete.
    ArchiveVerification,
    /// Whether a request to erase values was carried out.
    ErasureRequest,
    /// A subject that this release does not know.
    #[non_exhaustive]
    Other(String),
}

impl EvidenceSubject {
    /// The subjects that this release knows.
    pub const ALL: &'static [Self] = &[
        Self::RedactionPolicy,
        Self::TriggerCoverage,
        Self::RetentionRun,
        Self::RetentionPolicy,
        Self::ExportDelivery,
        Self::SupportScopePosture,
        Self::CaptureContinuity,
        Self::RolePosture,
        Self::SealVerification,
        Self::ArchiveVerification,
        Self::ErasureRequest,
    ];

    /// The name in SQL, JSON and on the command line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::RedactionPolicy => "redaction_policy",
            Self::TriggerCoverage => "trigger_coverage",
            Self::RetentionRun => "retention_run",
            Self::RetentionPolicy => "retention_policy",
            Self::ExportDelivery => "export_delivery",
            Self::SupportScopePosture => "support_scope_posture",
            Self::CaptureContinuity => "capture_continuity",
            Self::RolePosture => "role_posture",
            Self::SealVerification => "seal_verification",
            Self::ArchiveVerification => "archive_verification",
            Self::ErasureRequest => "erasure_request",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for EvidenceSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EvidenceSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that is not a subject of evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a subject of evidence: use {}",
    join_names(EvidenceSubject::ALL)
)]
pub struct UnknownSubject {
    name: String,
}

impl FromStr for EvidenceSubject {
    type Err = UnknownSubject;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|subject| subject.as_str() == name);
        known.cloned().ok_or_else(|| UnknownSubject {
            name: name.to_owned(),
        })
    }
}

/// Names as a list for people.
pub(super) fn join_names<T: fmt::Display>(names: &[T]) -> String {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl FromSql<Text, Pg> for EvidenceSubject {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let name = <String as FromSql<Text, Pg>>::from_sql(value)?;
        Ok(name.parse().unwrap_or(Self::Other(name)))
    }
}

/// What evidence is based on. The database sets it, not the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, FromSqlRow)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// The library ran a check.
    Checked,
    /// The host states it.
    Attested,
}

impl Basis {
    /// The name in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Attested => "attested",
        }
    }
}

impl FromSql<Text, Pg> for Basis {
    /// An unknown basis counts as the weaker one.
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(match value.as_bytes() {
            b"checked" => Self::Checked,
            _ => Self::Attested,
        })
    }
}

/// The outcome of a check, or what the host states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, FromSqlRow)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// What was checked is in order.
    Pass,
    /// What was checked is not in order.
    Fail,
    /// The check did not run to its end, or could not read everything that it checks.
    Incomplete,
}

impl Outcome {
    /// [`Pass`](Self::Pass) if a condition holds, else [`Fail`](Self::Fail).
    pub(super) fn pass_if(condition: bool) -> Self {
        if condition { Self::Pass } else { Self::Fail }
    }

    /// The name in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Incomplete => "incomplete",
        }
    }
}

impl FromSql<Text, Pg> for Outcome {
    /// An unknown outcome proves nothing.
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(match value.as_bytes() {
            b"pass" => Self::Pass,
            b"fail" => Self::Fail,
            _ => Self::Incomplete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_is_parsed_from_its_name() {
        for subject in EvidenceSubject::ALL {
            assert_eq!(subject.as_str().parse().as_ref(), Ok(subject));
        }
        let unknown = "triggers".parse::<EvidenceSubject>().unwrap_err();
        assert!(unknown.to_string().contains("use redaction_policy, "));
    }
}
