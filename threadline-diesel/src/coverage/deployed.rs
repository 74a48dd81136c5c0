//! Findings about functions, schema version, and the privileges of the connected role.

use chrono::{DateTime, Utc};
use threadline_core::install;
use threadline_core::storage::STORAGE_SCHEMA;

use super::code::FindingCode;
use super::finding::{Finding, Severity};
use super::functions::{capture_findings, captured, is_capture, trail_findings};
use super::installed::InstalledObjects;
use super::queries::{
    Access, FINDINGS, FindingsParameters, FoundRow, FunctionRow, HostTable, VersionRow,
};
use crate::policy::DeployedPolicy;

/// The facts that were read.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) tables: Vec<HostTable>,
    pub(crate) found: Vec<FoundRow>,
    pub(crate) deployed: Deployed,
}

/// The deployed policies, with findings about functions, and the privileges of the connected role.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) access: Access,
    pub(crate) policies: Vec<DeployedPolicy>,
    pub(super) findings: Vec<Finding>,
    installed: InstalledObjects,
}

impl Deployed {
    /// Evaluates the rows; `version` is the deployed schema version, if it could be read.
    pub(crate) fn new(access: Access, version: &[VersionRow], functions: &[FunctionRow]) -> Self {
        let version = version.first().map(|row| row.version);
        let installed = InstalledObjects::of_version(version);
        let mut findings: Vec<_> = functions
            .iter()
            .filter(|function| is_capture(function))
            .flat_map(|function| capture_findings(function, &access.owner))
            .collect();
        findings.extend(trail_findings(
            functions,
            &installed,
            &access.owner,
            version == Some(newest()),
        ));
        findings.extend(version_finding(version));
        findings.extend(unreadable(&access));
        Self {
            policies: deployed_policies(functions),
            access,
            findings,
            installed,
        }
    }

    /// The parameters of the statements of findings.
    pub(crate) fn parameters(
        &self,
        since: DateTime<Utc>,
        roles: Vec<String>,
    ) -> FindingsParameters {
        FindingsParameters {
            captured: captured(&self.policies),
            since,
            roles,
            objects: self.installed.guards_and_indexes(),
        }
    }
}

/// The policies in the comments of capture functions, one for each table.
fn deployed_policies(functions: &[FunctionRow]) -> Vec<DeployedPolicy> {
    let mut policies: Vec<_> = functions
        .iter()
        .filter(|function| is_capture(function))
        .filter_map(DeployedPolicy::read)
        .collect();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    policies.dedup_by(|a, b| a.name == b.name);
    policies
}

/// The finding about the deployed schema version, if this release does not work with it.
fn version_finding(version: Option<i32>) -> Option<Finding> {
    let newest = newest();
    let oldest = i32::try_from(install::OLDEST_SCHEMA_VERSION).unwrap_or(i32::MAX);
    let (severity, code, explanation) = match version {
        Some(version) if version > newest => (
            Severity::Warning,
            FindingCode::InstallNewer,
            format!(
                "the trail has schema version {version}, but this release supports at most {newest}"
            ),
        ),
        Some(version) if version == newest => return None,
        Some(version) => (
            if version < oldest {
                Severity::Error
            } else {
                Severity::Warning
            },
            FindingCode::InstallOutdated,
            format!(
                "the trail has schema version {version}, but this release has version {newest}"
            ),
        ),
        None => (
            Severity::Error,
            FindingCode::InstallOutdated,
            "the schema version of the trail cannot be read".to_owned(),
        ),
    };
    let advice = "use a release that supports this version".to_owned();
    Some(Finding::new(severity, code, None, explanation, advice))
}

/// The newest schema version that this release knows.
pub(crate) fn newest() -> i32 {
    i32::try_from(install::SCHEMA_VERSION).unwrap_or(i32::MAX)
}

/// The finding about tables that the connected role may not read.
fn unreadable(access: &Access) -> Option<Finding> {
    let skipped: Vec<_> = FINDINGS
        .iter()
        .filter(|query| !access.may_read(query.reads))
        .map(|query| query.looks_for)
        .collect();
    let last = access.unreadable.last()?;
    Some(Finding::new(
        Severity::Info,
        FindingCode::TrailUnreadable,
        None,
        format!(
            "the connected role may not read {}, so these were not checked: {}",
            access.unreadable.join(", "),
            skipped.join("; ")
        ),
        if access.unreadable.len() == 1 && last.ends_with("_seq") {
            format!("GRANT SELECT ON SEQUENCE {STORAGE_SCHEMA}.{last} TO CURRENT_USER")
        } else {
            format!("GRANT SELECT ON ALL TABLES IN SCHEMA {STORAGE_SCHEMA} TO CURRENT_USER")
        },
    ))
}
