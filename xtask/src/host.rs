//! What a host passes to the command line.

use std::sync::Arc;

use threadline_core::expected_gap::ExpectedGap;
use threadline_core::registry::{registered_tables, registrations, registry_errors};
use threadline_core::retention::{InvalidRetention, RetentionPolicy};
use threadline_core::table::{AuditedTable, InvalidTableName};
use threadline_diesel::erasure::SubjectMap;
use threadline_diesel::evidence::EvidencePlan;
use threadline_export::Notifier;
use threadline_export::jobs::ScopeResolver;
use threadline_export::storage::Storages;

use crate::args::DemoArgs;
use crate::exit::Failure;

/// Runs the demonstration of a host.
pub type Demo = fn(&DemoArgs) -> anyhow::Result<()>;

/// Builds the retention policy of a host.
pub type Retention = fn() -> Result<RetentionPolicy, InvalidRetention>;

/// Builds the plan of the checks of a host.
pub type BuildEvidencePlan = fn() -> anyhow::Result<EvidencePlan>;

/// Builds the subject map of a host.
pub type Subjects = fn() -> Result<SubjectMap, InvalidTableName>;

/// Opens the storages of a host.
pub type OpenStorages = fn() -> anyhow::Result<Storages>;

/// Builds what is told when background work ends.
pub type BuildNotifier = fn() -> anyhow::Result<Arc<dyn Notifier>>;

/// Builds what resolves the scopes of a host's jobs.
pub type BuildScopeResolver = fn() -> anyhow::Result<Arc<dyn ScopeResolver>>;

/// A host application: its crates with models, and what it adds to the command line.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    crates: &'static [&'static str],
    pub(crate) demo: Option<Demo>,
    pub(crate) expected_gaps: &'static [ExpectedGap],
    pub(crate) retention: Option<Retention>,
    pub(crate) evidence_plan: Option<BuildEvidencePlan>,
    pub(crate) subject_map: Option<Subjects>,
    pub(crate) storages: Option<OpenStorages>,
    pub(crate) scope_resolver: Option<BuildScopeResolver>,
    pub(crate) notifier: Option<BuildNotifier>,
}

impl Host {
    /// A host with models in these crates.
    #[must_use]
    pub const fn new(crates: &'static [&'static str]) -> Self {
        Self {
            crates,
            demo: None,
            expected_gaps: &[],
            retention: None,
            evidence_plan: None,
            subject_map: None,
            storages: None,
            scope_resolver: None,
            notifier: None,
        }
    }

    /// Sets the demonstration that `demo` runs.
    #[must_use]
    pub const fn demo(mut self, demo: Demo) -> Self {
        self.demo = Some(demo);
        self
    }

    /// Sets tables that are deliberately not captured, in addition to those that the crates declare with
    /// `expected_gap!`.
    #[must_use]
    pub const fn expected_gaps(mut self, gaps: &'static [ExpectedGap]) -> Self {
        self.expected_gaps = gaps;
        self
    }

    /// Sets the policy that `retention` applies.
    #[must_use]
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Sets the plan of the checks that `evidence` runs.
    #[must_use]
    pub const fn evidence_plan(mut self, plan: BuildEvidencePlan) -> Self {
        self.evidence_plan = Some(plan);
        self
    }

    /// Sets the map that `erase` uses: where the trail has data of a person.
    #[must_use]
    pub const fn subject_map(mut self, subjects: Subjects) -> Self {
        self.subject_map = Some(subjects);
        self
    }

    /// Sets the storages to which `work` writes the files of jobs.
    #[must_use]
    pub const fn storages(mut self, storages: OpenStorages) -> Self {
        self.storages = Some(storages);
        self
    }

    /// Sets what `work` tells when an export ends and when a check does not pass.
    #[must_use]
    pub const fn notifier(mut self, notifier: BuildNotifier) -> Self {
        self.notifier = Some(notifier);
        self
    }

    /// Sets what resolves the scopes of the jobs that `work` runs.
    #[must_use]
    pub const fn scope_resolver(mut self, resolver: BuildScopeResolver) -> Self {
        self.scope_resolver = Some(resolver);
        self
    }

    /// The listed crates that register no model. Their models are not linked, or do not derive `Audited`.
    pub(crate) fn crates_without_models(self) -> Vec<&'static str> {
        self.crates
            .iter()
            .copied()
            .filter(|listed| {
                !registrations().any(|registration| registration.crate_name() == *listed)
            })
            .collect()
    }
}

/// The tables that the linked models declare; on failure, the errors of all models.
pub(crate) fn declared_tables() -> Result<Vec<AuditedTable>, Failure> {
    registered_tables().or_else(|_| Failure::collect(registry_errors().into_iter().map(Err)))
}
