//! The request that the host authorizes.

use axum::http::request::Parts;
use threadline_core::actor::ActorRef;

use super::capability::Capability;

/// A request for a screen, before it is authorized.
#[derive(Debug, Clone)]
pub struct Visit {
    pub(crate) parts: Parts,
    pub(crate) actor: Option<ActorRef>,
    pub(crate) screen: &'static str,
    pub(crate) capability: Option<Capability>,
}

impl Visit {
    /// The head of the request: its headers, and the extensions that the host's layers added.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The actor, from the context of the request.
    #[must_use]
    pub fn actor(&self) -> Option<&ActorRef> {
        self.actor.as_ref()
    }

    /// The name of the screen: `change`, for instance.
    #[must_use]
    pub fn screen(&self) -> &'static str {
        self.screen
    }

    /// The capability that the screen needs; none for files and settings that every grant may use.
    #[must_use]
    pub fn capability(&self) -> Option<Capability> {
        self.capability
    }
}
