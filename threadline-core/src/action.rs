//! What the application says it did, and why.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The longest action name, in bytes.
pub const MAX_ACTION_NAME_BYTES: usize = 128;

/// The name of an action: `invoice.refund`. Trimmed, not empty, at most
/// [`MAX_ACTION_NAME_BYTES`] long, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionName(String);

/// A text that cannot name an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no action name: use 1 to {MAX_ACTION_NAME_BYTES} bytes without control characters, \
     for instance `invoice.refund`"
)]
pub struct InvalidActionName(pub String);

impl ActionName {
    /// Checks and trims a name.
    ///
    /// # Errors
    /// [`InvalidActionName`] as described there.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidActionName> {
        let trimmed = name.as_ref().trim();
        let usable = (1..=MAX_ACTION_NAME_BYTES).contains(&trimmed.len())
            && !trimmed.chars().any(char::is_control);
        if usable {
            Ok(Self(trimmed.to_owned()))
        } else {
            Err(InvalidActionName(name.as_ref().to_owned()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ActionName {
    type Error = InvalidActionName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl TryFrom<&str> for ActionName {
    type Error = InvalidActionName;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<ActionName> for String {
    fn from(name: ActionName) -> Self {
        name.0
    }
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionStatus {
    /// It was done.
    #[default]
    Ok,
    /// It was tried, and failed.
    Error,
}

impl ActionStatus {
    /// The name used in SQL, JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// What the application says it did, and why.
///
/// ```
/// use threadline_core::action::Action;
/// let action = Action::new("invoice.refund")?
///     .verb("refund")
///     .reason("duplicate_payment")
///     .comment("customer called");
/// assert_eq!(action.name().as_str(), "invoice.refund");
/// # Ok::<(), threadline_core::action::InvalidActionName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    name: ActionName,
    #[serde(default)]
    status: ActionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    meta: Map<String, Value>,
}

impl Action {
    /// An action that was done.
    ///
    /// # Errors
    /// [`InvalidActionName`] when the name is unusable.
    pub fn new<N>(name: N) -> Result<Self, InvalidActionName>
    where
        ActionName: TryFrom<N, Error = InvalidActionName>,
    {
        Ok(Self::named(ActionName::try_from(name)?))
    }

    /// An action by a name that was checked before.
    #[must_use]
    pub fn named(name: ActionName) -> Self {
        Self {
            name,
            status: ActionStatus::Ok,
            verb: None,
            category: None,
            reason: None,
            comment: None,
            meta: Map::new(),
        }
    }

    /// How it ended.
    #[must_use]
    pub fn status(mut self, status: ActionStatus) -> Self {
        self.status = status;
        self
    }

    /// What kind of deed it was: `update`, `refund`.
    #[must_use]
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// What it belongs to: `billing`.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Why, in a word a program can compare.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Why, in words for people.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Adds a fact of the host's own.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// How it ended.
    #[must_use]
    pub fn ended_as(&self) -> ActionStatus {
        self.status
    }

    /// Whether nobody has said why yet.
    #[must_use]
    pub fn has_no_reason(&self) -> bool {
        self.reason.is_none()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &ActionName {
        &self.name
    }
}

/// The id of a recorded action, a version 7 uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(Uuid);

impl ActionId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as it is stored.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ActionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
