//! Who did it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of actor it was. A closed set: a host's own kinds go into the id or into meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    /// A person using the application.
    User,
    /// A person operating it.
    Admin,
    /// Another program, with credentials of its own.
    ServiceAccount,
    /// A background job.
    Job,
    /// The application itself.
    System,
    /// Somebody who did not say who they are.
    Anonymous,
}

impl ActorType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::User,
        Self::Admin,
        Self::ServiceAccount,
        Self::Job,
        Self::System,
        Self::Anonymous,
    ];

    /// The name used in SQL, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::ServiceAccount => "service_account",
            Self::Job => "job",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for ActorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ActorType {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| InvalidActor::UnknownType(text.to_owned()))
    }
}

/// Who: a type and, for everyone but the anonymous, an id.
///
/// In JSON `{"type": "user", "id": "42"}`, in short `user:42`.
///
/// ```
/// use threadline_core::actor::ActorRef;
/// let actor = ActorRef::user("42")?;
/// assert_eq!(actor.to_string(), "user:42");
/// assert_eq!("user:42".parse::<ActorRef>()?, actor);
/// assert!(ActorRef::user("").is_err());
/// # Ok::<(), threadline_core::actor::InvalidActor>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "ActorFields", into = "ActorFields")]
pub struct ActorRef {
    actor_type: ActorType,
    id: Option<String>,
}

/// The longest actor id, in bytes.
pub const MAX_ACTOR_ID_BYTES: usize = 512;

#[derive(Serialize, Deserialize)]
struct ActorFields {
    #[serde(rename = "type")]
    actor_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl TryFrom<ActorFields> for ActorRef {
    type Error = InvalidActor;

    fn try_from(fields: ActorFields) -> Result<Self, Self::Error> {
        let actor_type: ActorType = fields.actor_type.parse()?;
        match (actor_type, fields.id) {
            (ActorType::Anonymous, _) => Ok(Self::anonymous()),
            (_, Some(id)) => Self::new(actor_type, id),
            (_, None) => Err(InvalidActor::MissingId(actor_type)),
        }
    }
}

impl From<ActorRef> for ActorFields {
    fn from(actor: ActorRef) -> Self {
        Self {
            actor_type: actor.actor_type.as_str().to_owned(),
            id: actor.id,
        }
    }
}

/// A text or value that names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidActor {
    /// The type is none of the six.
    #[error("`{0}` is no actor type: use user, admin, service_account, job, system or anonymous")]
    UnknownType(String),
    /// The id is missing or empty.
    #[error("an actor of type {0} needs an id that is not empty")]
    MissingId(ActorType),
    /// The id is longer than [`MAX_ACTOR_ID_BYTES`], or holds a NUL, which PostgreSQL cannot store.
    #[error(
        "an actor id has at most {MAX_ACTOR_ID_BYTES} bytes and no NUL, this one has {0} bytes"
    )]
    UnusableId(usize),
    /// An id was given for somebody anonymous.
    #[error("an anonymous actor has no id, but `{0}` was given")]
    IdForAnonymous(String),
}

impl ActorRef {
    /// An actor of a type that has an id.
    ///
    /// # Errors
    /// [`InvalidActor`] when the id is empty or unusable, or the type is anonymous.
    pub fn new(actor_type: ActorType, id: impl Into<String>) -> Result<Self, InvalidActor> {
        let id = id.into();
        if actor_type == ActorType::Anonymous {
            return Err(InvalidActor::IdForAnonymous(id));
        }
        if id.trim().is_empty() {
            return Err(InvalidActor::MissingId(actor_type));
        }
        if id.len() > MAX_ACTOR_ID_BYTES || id.contains('\0') {
            return Err(InvalidActor::UnusableId(id.len()));
        }
        Ok(Self {
            actor_type,
            id: Some(id),
        })
    }

    /// A person using the application.
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn user(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::User, id)
    }

    /// A person operating the application.
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn admin(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::Admin, id)
    }

    /// Another program.
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn service_account(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::ServiceAccount, id)
    }

    /// A background job.
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn job(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::Job, id)
    }

    /// The application itself.
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn system(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::System, id)
    }

    /// Somebody unknown.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            actor_type: ActorType::Anonymous,
            id: None,
        }
    }

    /// What kind of actor it is.
    #[must_use]
    pub fn actor_type(&self) -> ActorType {
        self.actor_type
    }

    /// The id; none for the anonymous.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl fmt::Display for ActorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{}:{id}", self.actor_type),
            None => write!(f, "{}", self.actor_type),
        }
    }
}

impl std::str::FromStr for ActorRef {
    type Err = InvalidActor;

    /// Reads `type:id`, or `anonymous`. The id may hold colons.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((actor_type, id)) => Self::new(actor_type.parse()?, id),
            None => match text.parse()? {
                ActorType::Anonymous => Ok(Self::anonymous()),
                actor_type => Err(InvalidActor::MissingId(actor_type)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_two_fields_and_is_validated() {
        let actor = ActorRef::service_account("billing:eu").unwrap();
        let json = serde_json::to_string(&actor).unwrap();
        assert_eq!(json, r#"{"type":"service_account","id":"billing:eu"}"#);
        assert_eq!(serde_json::from_str::<ActorRef>(&json).unwrap(), actor);
        for wrong in [
            r#"{"type":"robot","id":"1"}"#,
            r#"{"type":"user"}"#,
            r#"{"type":"user","id":""}"#,
        ] {
            assert!(serde_json::from_str::<ActorRef>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_anonymous_have_no_id() {
        let json = serde_json::to_string(&ActorRef::anonymous()).unwrap();
        assert_eq!(json, r#"{"type":"anonymous"}"#);
        assert!(ActorRef::new(ActorType::Anonymous, "x").is_err());
    }

    #[test]
    fn short_forms_read_back() {
        for text in ["user:42", "job:a:b", "anonymous"] {
            assert_eq!(text.parse::<ActorRef>().unwrap().to_string(), text);
        }
        for wrong in ["", "user", "user:", "42", "anonymous:1"] {
            assert!(wrong.parse::<ActorRef>().is_err(), "{wrong}");
        }
    }
}
