//! What a grant allows.

use std::fmt;

/// A part of the console that a grant includes or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Changes, transactions, rows, actors and correlations.
    Read,
    /// The stored values. Without it, pages say which columns changed.
    Values,
    /// Downloads.
    Export,
    /// Exports that a worker writes in the background, and their schedules.
    Background,
    /// Coverage: which tables are captured, and findings.
    Coverage,
    /// Redaction rules, as declared and as deployed.
    Policy,
    /// Retention: policy, plan and runs.
    Retention,
    /// Evidence: results of checks of the audit system.
    Evidence,
    /// Reports.
    Reports,
    /// The log of exports, reports and shared views of the console.
    Log,
    /// Saved views: running them, and saving private ones.
    Views,
    /// Saving views that everyone with `Views` sees.
    ShareViews,
}

impl Capability {
    /// All capabilities.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Values,
        Self::Export,
        Self::Background,
        Self::Coverage,
        Self::Policy,
        Self::Retention,
        Self::Evidence,
        Self::Reports,
        Self::Log,
        Self::Views,
        Self::ShareViews,
    ];

    /// The name on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Values => "values",
            Self::Export => "export",
            Self::Background => "background",
            Self::Coverage => "coverage",
            Self::Policy => "policy",
            Self::Retention => "retention",
            Self::Evidence => "evidence",
            Self::Reports => "reports",
            Self::Log => "log",
            Self::Views => "views",
            Self::ShareViews => "share views",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CapabilitySet(u16);

impl CapabilitySet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn all() -> Self {
        Capability::ALL.into_iter().fold(Self::EMPTY, Self::with)
    }

    pub(crate) fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u16)
    }

    pub(crate) fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability as u16))
    }

    pub(crate) fn contains(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u16 != 0
    }
}
