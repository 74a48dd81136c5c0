//! Everything known at the edge: who, on whose behalf, in which request, job and correlation.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::ActorRef;

/// The longest request, correlation or job id, in bytes after trimming.
pub const MAX_ID_BYTES: usize = 256;

/// An id that strings work together: trimmed, not empty, at most [`MAX_ID_BYTES`] long, without
/// control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextId(String);

/// A text that cannot be a request, correlation or job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContextId {
    /// Nothing is left after trimming.
    #[error("an id must not be empty")]
    Empty,
    /// It is longer than [`MAX_ID_BYTES`].
    #[error("an id has at most {MAX_ID_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// It holds a control character.
    #[error("an id holds no control characters, this one does: {0:?}")]
    ControlCharacter(String),
}

impl ContextId {
    /// Checks and trims an id.
    ///
    /// # Errors
    /// [`InvalidContextId`] as described there.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidContextId> {
        let text = text.as_ref().trim();
        if text.is_empty() {
            return Err(InvalidContextId::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(InvalidContextId::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidContextId::ControlCharacter(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ContextId {
    type Err = InvalidContextId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for ContextId {
    type Error = InvalidContextId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<ContextId> for String {
    fn from(id: ContextId) -> Self {
        id.0
    }
}

/// Everything known at the edge about a piece of work. All of it is stored on the audit
/// transaction.
///
/// ```
/// use threadline_core::actor::ActorRef;
/// use threadline_core::context::{AuditContext, ContextId};
///
/// let context = AuditContext::new(ActorRef::admin("7")?)
///     .on_behalf_of(ActorRef::user("42")?)
///     .request_id(ContextId::new("req-1")?)
///     .source("web");
/// assert_eq!(context.actor().unwrap().to_string(), "admin:7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AuditContext {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor_ref: Option<ActorRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<ActorRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<ContextId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<ContextId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_id: Option<ContextId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remote_addr: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    meta: Map<String, Value>,
}

impl AuditContext {
    /// Work done by somebody known.
    #[must_use]
    pub fn new(actor: ActorRef) -> Self {
        Self {
            actor_ref: Some(actor),
            ..Self::default()
        }
    }

    /// Work done by nobody in particular. An audited write refuses it unless told otherwise.
    #[must_use]
    pub fn unattributed() -> Self {
        Self::default()
    }

    /// The same work, done by this actor.
    #[must_use]
    pub fn with_actor(mut self, actor: ActorRef) -> Self {
        self.actor_ref = Some(actor);
        self
    }

    /// Whom the actor acts for, when an admin impersonates a user, for instance.
    #[must_use]
    pub fn on_behalf_of(mut self, actor: ActorRef) -> Self {
        self.on_behalf_of = Some(actor);
        self
    }

    /// The request the work is part of.
    #[must_use]
    pub fn request_id(mut self, id: ContextId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// What strings the work together with other work, across requests, jobs and services.
    #[must_use]
    pub fn correlation_id(mut self, id: ContextId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// The background job the work is part of.
    #[must_use]
    pub fn job_id(mut self, id: ContextId) -> Self {
        self.job_id = Some(id);
        self
    }

    /// Where the work came in: `web`, `cron`, `import`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The peer's address, as the host knows it.
    #[must_use]
    pub fn remote_addr(mut self, address: impl Display) -> Self {
        self.remote_addr = Some(format!("{address}"));
        self
    }

    /// Adds a fact of the host's own.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// Who.
    #[must_use]
    pub fn actor(&self) -> Option<&ActorRef> {
        self.actor_ref.as_ref()
    }

    /// On whose behalf.
    #[must_use]
    pub fn represented(&self) -> Option<&ActorRef> {
        self.on_behalf_of.as_ref()
    }

    /// The request's id.
    #[must_use]
    pub fn request(&self) -> Option<&ContextId> {
        self.request_id.as_ref()
    }

    /// The correlation's id.
    #[must_use]
    pub fn correlation(&self) -> Option<&ContextId> {
        self.correlation_id.as_ref()
    }

    /// The job's id.
    #[must_use]
    pub fn job(&self) -> Option<&ContextId> {
        self.job_id.as_ref()
    }

    /// Where the work came in, as [`source`](Self::source) was told.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The peer's address, as [`remote_addr`](Self::remote_addr) was told.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.remote_addr.as_deref()
    }

    /// The host's own facts, as [`meta`](Self::meta) was told.
    #[must_use]
    pub fn facts(&self) -> &Map<String, Value> {
        &self.meta
    }

    /// What `threadline.context` holds: everything but the actor, which has a setting of its own.
    #[must_use]
    pub(crate) fn setting(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("actor_ref");
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_trimmed_and_bounded() {
        assert_eq!(ContextId::new("  a b ").unwrap().as_str(), "a b");
        assert_eq!(ContextId::new(" \t"), Err(InvalidContextId::Empty));
        assert_eq!(
            ContextId::new("é".repeat(129)),
            Err(InvalidContextId::TooLong(258))
        );
        assert!(ContextId::new("a\nb").is_err());
    }

    #[test]
    fn a_context_tells_what_it_was_told() {
        let context = AuditContext::unattributed()
            .source("web")
            .remote_addr("::1")
            .meta("plan", "gold");
        assert_eq!(context.origin(), Some("web"));
        assert_eq!(context.address(), Some("::1"));
        assert_eq!(context.facts()["plan"], "gold");
        assert!(AuditContext::unattributed().facts().is_empty());
    }

    #[test]
    fn a_context_survives_serialization() {
        let context = AuditContext::new(ActorRef::user("1").unwrap())
            .correlation_id(ContextId::new("c").unwrap())
            .meta("plan", "gold");
        let json = serde_json::to_string(&context).unwrap();
        assert_eq!(
            serde_json::from_str::<AuditContext>(&json).unwrap(),
            context
        );
        assert!(context.setting().get("actor_ref").is_none());
    }
}
