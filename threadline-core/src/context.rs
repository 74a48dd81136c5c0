//! The context of audited work: its actor, request, correlation, job and origin.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::ActorRef;

/// The maximum length of a request, correlation or job id in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// A request, correlation or job id: 1 to [`MAX_ID_BYTES`] bytes without control characters or
/// surrounding white space.
///
/// ```
/// use threadline_core::context::ContextId;
///
/// let id: ContextId = " req-1 ".parse()?;
/// assert_eq!(id.as_str(), "req-1");
/// # Ok::<(), threadline_core::context::InvalidContextId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextId(String);

/// The error for a text that is not a request, correlation or job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContextId {
    /// The text is empty after trimming.
    #[error("an id must not be empty")]
    Empty,
    /// The id has this many bytes, more than [`MAX_ID_BYTES`].
    #[error("an id must have at most {MAX_ID_BYTES} bytes; this one has {0}")]
    TooLong(usize),
    /// The id has a control character.
    #[error("an id must not have control characters: {0:?}")]
    ControlCharacter(String),
}

impl ContextId {
    /// Trims and validates an id.
    ///
    /// # Errors
    /// [`InvalidContextId`] if the id is empty, too long or has control characters.
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

    /// The id as text.
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

/// Who does a piece of work, and in which request, correlation or job. An audited write stores the
/// context in the row of its transaction.
///
/// A setter has the name of its value; the getter has the prefix `get_`, except for the actor
/// (`with_actor`, `actor`).
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
    /// Creates the context of work done by an actor.
    #[must_use]
    pub fn new(actor: ActorRef) -> Self {
        Self {
            actor_ref: Some(actor),
            ..Self::default()
        }
    }

    /// Creates a context without an actor. An audited write rejects it unless it allows
    /// unattributed work.
    #[must_use]
    pub fn unattributed() -> Self {
        Self::default()
    }

    /// Sets the actor.
    #[must_use]
    pub fn with_actor(mut self, actor: ActorRef) -> Self {
        self.actor_ref = Some(actor);
        self
    }

    /// Sets the actor that is represented, for example the user whom an admin impersonates.
    #[must_use]
    pub fn on_behalf_of(mut self, actor: ActorRef) -> Self {
        self.on_behalf_of = Some(actor);
        self
    }

    /// Sets the id of the request.
    #[must_use]
    pub fn request_id(mut self, id: ContextId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// Sets the correlation id, which connects work across requests, jobs and services.
    #[must_use]
    pub fn correlation_id(mut self, id: ContextId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Sets the id of the background job.
    #[must_use]
    pub fn job_id(mut self, id: ContextId) -> Self {
        self.job_id = Some(id);
        self
    }

    /// Sets the entry point of the work, for example `web`, `cron` or `import`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets the client's address.
    #[must_use]
    pub fn remote_addr(mut self, address: impl Display) -> Self {
        self.remote_addr = Some(address.to_string());
        self
    }

    /// Adds an application-defined value.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// The actor.
    #[must_use]
    pub fn actor(&self) -> Option<&ActorRef> {
        self.actor_ref.as_ref()
    }

    /// The represented actor.
    #[must_use]
    pub fn get_on_behalf_of(&self) -> Option<&ActorRef> {
        self.on_behalf_of.as_ref()
    }

    /// The request id.
    #[must_use]
    pub fn get_request_id(&self) -> Option<&ContextId> {
        self.request_id.as_ref()
    }

    /// The correlation id.
    #[must_use]
    pub fn get_correlation_id(&self) -> Option<&ContextId> {
        self.correlation_id.as_ref()
    }

    /// The job id.
    #[must_use]
    pub fn get_job_id(&self) -> Option<&ContextId> {
        self.job_id.as_ref()
    }

    /// The entry point of the work.
    #[must_use]
    pub fn get_source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The client's address.
    #[must_use]
    pub fn get_remote_addr(&self) -> Option<&str> {
        self.remote_addr.as_deref()
    }

    /// The application-defined values.
    #[must_use]
    pub fn get_meta(&self) -> &Map<String, Value> {
        &self.meta
    }

    /// The value of the setting `threadline.context`: all fields but the actor, which is in
    /// `threadline.actor_ref`.
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
    fn ids_are_trimmed_and_validated() {
        assert_eq!(ContextId::new("  a b ").unwrap().as_str(), "a b");
        assert_eq!(ContextId::new(" \t"), Err(InvalidContextId::Empty));
        assert_eq!(
            ContextId::new("é".repeat(129)),
            Err(InvalidContextId::TooLong(258))
        );
        assert!(ContextId::new("a\nb").is_err());
    }

    #[test]
    fn getters_return_the_values_that_were_set() {
        let context = AuditContext::unattributed()
            .source("web")
            .remote_addr("::1")
            .meta("plan", "gold");
        assert_eq!(context.get_source(), Some("web"));
        assert_eq!(context.get_remote_addr(), Some("::1"));
        assert_eq!(context.get_meta()["plan"], "gold");
        assert!(AuditContext::unattributed().get_meta().is_empty());
    }

    #[test]
    fn contexts_round_trip_through_json() {
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
