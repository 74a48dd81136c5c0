//! Actors: who changed something.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of an actor. The set is closed; an application's own types go into the id or into the
/// context's `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum ActorType {
    /// A user of the application.
    User,
    /// An operator of the application.
    Admin,
    /// Another program with credentials of its own.
    ServiceAccount,
    /// A background job.
    Job,
    /// The application itself.
    System,
    /// A client that is not authenticated.
    Anonymous,
}

impl ActorType {
    /// All types, in the order of the documentation.
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
    pub const fn as_str(self) -> &'static str {
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

impl TryFrom<String> for ActorType {
    type Error = InvalidActor;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ActorType> for &'static str {
    fn from(actor_type: ActorType) -> Self {
        actor_type.as_str()
    }
}

/// An actor: a type, and an id unless the actor is anonymous.
///
/// The JSON form is `{"type": "user", "id": "42"}`, the text form `user:42`.
///
/// ```
/// use threadline_core::actor::ActorRef;
///
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

/// The maximum length of an actor id in bytes.
pub const MAX_ACTOR_ID_BYTES: usize = 512;

/// The JSON form of [`ActorRef`].
#[derive(Serialize, Deserialize)]
struct ActorFields {
    #[serde(rename = "type")]
    actor_type: ActorType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl TryFrom<ActorFields> for ActorRef {
    type Error = InvalidActor;

    fn try_from(fields: ActorFields) -> Result<Self, Self::Error> {
        Self::from_parts(fields.actor_type, fields.id)
    }
}

impl From<ActorRef> for ActorFields {
    fn from(actor: ActorRef) -> Self {
        Self {
            actor_type: actor.actor_type,
            id: actor.id,
        }
    }
}

/// The error for a text or value that is not an actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidActor {
    /// The type is not in [`ActorType::ALL`].
    #[error("`{0}` is not an actor type: use one of {types}", types = actor_type_names())]
    UnknownType(String),
    /// The id is missing or empty.
    #[error("an actor of type `{0}` needs a non-empty id, for example `{0}:42`")]
    MissingId(ActorType),
    /// The id has this many bytes, more than [`MAX_ACTOR_ID_BYTES`], or contains a NUL character,
    /// which PostgreSQL cannot store.
    #[error(
        "an actor id must have at most {MAX_ACTOR_ID_BYTES} bytes and no NUL character; this one \
         has {0} bytes"
    )]
    InvalidId(usize),
    /// An anonymous actor has an id.
    #[error("an anonymous actor has no id; remove `{0}`")]
    IdForAnonymous(String),
}

fn actor_type_names() -> String {
    ActorType::ALL.map(ActorType::as_str).join(", ")
}

impl ActorRef {
    /// Creates an actor of any type but anonymous.
    ///
    /// # Errors
    /// [`InvalidActor`] if the id is empty or invalid, or the type is anonymous.
    pub fn new(actor_type: ActorType, id: impl Into<String>) -> Result<Self, InvalidActor> {
        let id = id.into();
        if actor_type == ActorType::Anonymous {
            return Err(InvalidActor::IdForAnonymous(id));
        }
        if id.trim().is_empty() {
            return Err(InvalidActor::MissingId(actor_type));
        }
        if id.len() > MAX_ACTOR_ID_BYTES || id.contains('\0') {
            return Err(InvalidActor::InvalidId(id.len()));
        }
        Ok(Self {
            actor_type,
            id: Some(id),
        })
    }

    /// Creates an actor from the fields of its JSON form. The id of an anonymous actor is ignored.
    ///
    /// # Errors
    /// [`InvalidActor`] if an actor of another type has no id or an invalid one.
    pub fn from_parts(actor_type: ActorType, id: Option<String>) -> Result<Self, InvalidActor> {
        match actor_type {
            ActorType::Anonymous => Ok(Self::anonymous()),
            _ => Self::new(actor_type, id.unwrap_or_default()),
        }
    }

    /// Creates an actor of type [`User`](ActorType::User).
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn user(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::User, id)
    }

    /// Creates an actor of type [`Admin`](ActorType::Admin).
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn admin(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::Admin, id)
    }

    /// Creates an actor of type [`ServiceAccount`](ActorType::ServiceAccount).
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn service_account(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::ServiceAccount, id)
    }

    /// Creates an actor of type [`Job`](ActorType::Job).
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn job(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::Job, id)
    }

    /// Creates an actor of type [`System`](ActorType::System).
    ///
    /// # Errors
    /// As [`ActorRef::new`].
    pub fn system(id: impl Into<String>) -> Result<Self, InvalidActor> {
        Self::new(ActorType::System, id)
    }

    /// Creates an anonymous actor.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            actor_type: ActorType::Anonymous,
            id: None,
        }
    }

    /// The type.
    #[must_use]
    pub fn actor_type(&self) -> ActorType {
        self.actor_type
    }

    /// The id, or `None` for an anonymous actor.
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

    /// Parses `type:id` or `anonymous`. The first colon ends the type, so an id can contain colons.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((actor_type, id)) => Self::new(actor_type.parse()?, id),
            None => Self::from_parts(text.parse()?, None),
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
        for invalid in [
            r#"{"type":"robot","id":"1"}"#,
            r#"{"type":"user"}"#,
            r#"{"type":"user","id":""}"#,
        ] {
            let read = serde_json::from_str::<ActorRef>(invalid);
            assert!(read.is_err(), "{invalid}");
        }
    }

    #[test]
    fn anonymous_actors_have_no_id() {
        let json = serde_json::to_string(&ActorRef::anonymous()).unwrap();
        assert_eq!(json, r#"{"type":"anonymous"}"#);
        assert!(ActorRef::new(ActorType::Anonymous, "x").is_err());
    }

    #[test]
    fn text_forms_round_trip() {
        for text in ["user:42", "job:a:b", "anonymous"] {
            assert_eq!(text.parse::<ActorRef>().unwrap().to_string(), text);
        }
        for invalid in ["", "user", "user:", "42", "anonymous:1"] {
            assert!(invalid.parse::<ActorRef>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn an_unknown_type_is_named_with_all_known_types() {
        assert_eq!(
            "robot:1".parse::<ActorRef>().unwrap_err().to_string(),
            "`robot` is not an actor type: use one of user, admin, service_account, job, system, \
             anonymous"
        );
    }
}
