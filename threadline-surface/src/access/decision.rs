//! The answer of the host's `authorize`.

use threadline_diesel::Scope;

use super::capability::{Capability, CapabilitySet};

/// Whether a request is answered, and with which rights.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The request is answered within these rights.
    Grant(Grant),
    /// The request is refused.
    Deny(Denial),
}

impl From<Grant> for Decision {
    fn from(grant: Grant) -> Self {
        Self::Grant(grant)
    }
}

impl From<Denial> for Decision {
    fn from(denial: Denial) -> Self {
        Self::Deny(denial)
    }
}

/// An error is a denial.
impl<E> From<Result<Decision, E>> for Decision {
    fn from(result: Result<Decision, E>) -> Self {
        result.unwrap_or(Self::Deny(Denial::Forbidden))
    }
}

/// How a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// Redirects a page request to this address (303); other requests get 401.
    SignIn(String),
    /// Answers with 403.
    Forbidden,
    /// Answers with 404, as if the console did not exist.
    Hidden,
}

/// The rights of a request: capabilities, an optional scope, and the label that the header shows.
///
/// ```
/// use threadline_diesel::Scope;
/// use threadline_surface::{Capability, Grant};
///
/// let admin = Grant::everything().without(Capability::Export).label("Admin");
/// let support = Grant::support(Scope::new().tables(["invoices".parse()?])).label("Support: Acme");
/// # let _ = (admin, support);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Grant {
    capabilities: CapabilitySet,
    scope: Option<Scope>,
    scope_key: Option<String>,
    label: Option<String>,
}

impl Grant {
    /// All capabilities, without a scope.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            capabilities: CapabilitySet::all(),
            scope: None,
            scope_key: None,
            label: None,
        }
    }

    /// Reads changes with their values within a scope, and saves private views; no downloads.
    #[must_use]
    pub fn support(scope: Scope) -> Self {
        Self {
            capabilities: CapabilitySet::EMPTY
                .with(Capability::Read)
                .with(Capability::Values)
                .with(Capability::Views),
            scope: Some(scope),
            scope_key: None,
            label: None,
        }
    }

    /// Adds a capability.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.capabilities = self.capabilities.with(capability);
        self
    }

    /// Removes a capability.
    #[must_use]
    pub fn without(mut self, capability: Capability) -> Self {
        self.capabilities = self.capabilities.without(capability);
        self
    }

    /// Sets the key of the scope, for background exports: the worker passes it to the host's scope resolver,
    /// which returns the scope of that time. A grant with a scope and without a key queues no exports.
    #[must_use]
    pub fn scope_key(mut self, key: impl Into<String>) -> Self {
        self.scope_key = Some(key.into());
        self
    }

    /// Sets the label that the header shows.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Whether the grant has a capability.
    #[must_use]
    pub fn allows(&self, capability: Capability) -> bool {
        self.capabilities.contains(capability)
    }

    /// The scope, if the grant has one.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The key of the scope, if the grant has one.
    #[must_use]
    pub fn key_of_scope(&self) -> Option<&str> {
        self.scope_key.as_deref()
    }

    pub(crate) fn shown_label(&self) -> Option<&str> {
        self.label.as_deref()
    }
}
