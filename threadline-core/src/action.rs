//! The action that the application records for its changes: what it did, and why.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The maximum length of an action name in bytes.
pub const MAX_ACTION_NAME_BYTES: usize = 128;

/// The name of an action, for example `invoice.refund`: 1 to [`MAX_ACTION_NAME_BYTES`] bytes
/// without control characters or surrounding white space.
///
/// Names that are known at compile time are constants and need no error handling:
///
/// ```
/// use threadline_core::action::ActionName;
///
/// const REFUND: ActionName = ActionName::from_static("invoice.refund");
/// assert_eq!(REFUND.as_str(), "invoice.refund");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActionName(Cow<'static, str>);

/// The error for a text that is not an action name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an action name: use 1 to {MAX_ACTION_NAME_BYTES} bytes without control \
     characters, for example `invoice.refund`"
)]
pub struct InvalidActionName(pub String);

impl ActionName {
    /// Trims and validates a name.
    ///
    /// # Errors
    /// [`InvalidActionName`] if the name is empty, too long or has control characters.
    ///
    /// ```
    /// use threadline_core::action::ActionName;
    ///
    /// assert_eq!(ActionName::new(" invoice.refund ")?.as_str(), "invoice.refund");
    /// assert!(ActionName::new("").is_err());
    /// # Ok::<(), threadline_core::action::InvalidActionName>(())
    /// ```
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidActionName> {
        let trimmed = name.as_ref().trim();
        let is_valid = (1..=MAX_ACTION_NAME_BYTES).contains(&trimmed.len())
            && !trimmed.chars().any(char::is_control);
        if is_valid {
            Ok(Self(Cow::Owned(trimmed.to_owned())))
        } else {
            Err(InvalidActionName(name.as_ref().to_owned()))
        }
    }

    /// The name of a literal of printable ASCII characters without surrounding spaces; for other
    /// names use [`ActionName::new`].
    ///
    /// # Panics
    /// If the literal is not such a name. In a `const`, and so in [`action!`](macro@crate::action),
    /// that is a compile error:
    ///
    /// ```compile_fail
    /// use threadline_core::action::ActionName;
    ///
    /// const EMPTY: ActionName = ActionName::from_static("");
    /// ```
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "an action name must not be empty");
        assert!(
            bytes.len() <= MAX_ACTION_NAME_BYTES,
            "an action name must have at most 128 bytes"
        );
        assert!(
            bytes[0] != b' ' && bytes[bytes.len() - 1] != b' ',
            "an action name must not begin or end with a space"
        );
        let mut index = 0;
        while index < bytes.len() {
            assert!(
                matches!(bytes[index], b' '..=b'~'),
                "a literal action name must consist of printable ASCII characters"
            );
            index += 1;
        }
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
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
        name.0.into_owned()
    }
}

/// The outcome of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionStatus {
    /// The action succeeded.
    #[default]
    Ok,
    /// The action failed.
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

/// A text is not a status of an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a status of an action; write ok or error")]
pub struct InvalidActionStatus(pub String);

impl std::str::FromStr for ActionStatus {
    type Err = InvalidActionStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Ok, Self::Error]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| InvalidActionStatus(text.to_owned()))
    }
}

/// What the application did, and why. An audited write records it beside its changes.
///
/// ```
/// use threadline_core::action;
///
/// let action = action!("invoice.refund")
///     .verb("refund")
///     .reason("duplicate_payment")
///     .comment("customer called");
/// assert_eq!(action.name().as_str(), "invoice.refund");
/// ```
///
/// [`Action::new`] takes names that are known only at run time:
///
/// ```
/// use threadline_core::action::Action;
///
/// let job = "cleanup";
/// let action = Action::new(format!("job.{job}"))?;
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
    /// Creates a successful action with a name from run time.
    ///
    /// # Errors
    /// [`InvalidActionName`] if the name is invalid.
    pub fn new<N>(name: N) -> Result<Self, InvalidActionName>
    where
        ActionName: TryFrom<N, Error = InvalidActionName>,
    {
        Ok(Self::with_name(ActionName::try_from(name)?))
    }

    /// Creates a successful action with a validated name.
    ///
    /// ```
    /// use threadline_core::action::{Action, ActionName};
    ///
    /// const REFUND: ActionName = ActionName::from_static("invoice.refund");
    /// let action = Action::with_name(REFUND).reason("duplicate_payment");
    /// ```
    #[must_use]
    pub fn with_name(name: ActionName) -> Self {
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

    /// Sets the outcome.
    #[must_use]
    pub fn status(mut self, status: ActionStatus) -> Self {
        self.status = status;
        self
    }

    /// Sets the verb, for example `update` or `refund`.
    #[must_use]
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Sets the category, for example `billing`.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Sets the reason as a code for programs, for example `duplicate_payment`.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets the reason as free text.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Adds an application-defined value.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// The outcome.
    #[must_use]
    pub fn get_status(&self) -> ActionStatus {
        self.status
    }

    /// Whether the action has a reason.
    #[must_use]
    pub fn has_reason(&self) -> bool {
        self.reason.is_some()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &ActionName {
        &self.name
    }
}

/// Creates an [`Action`](crate::action::Action) whose name is a literal, checked at compile time.
///
/// ```
/// use threadline_core::action;
///
/// let action = action!("member.change_address").reason("moved");
/// assert_eq!(action.name().as_str(), "member.change_address");
/// ```
///
/// An invalid name does not compile:
///
/// ```compile_fail
/// let action = threadline_core::action!(" member.change_address");
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __action {
    ($name:expr $(,)?) => {
        $crate::action::Action::with_name(const { $crate::action::ActionName::from_static($name) })
    };
}

/// The id of a recorded action, a version 7 UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(Uuid);

impl ActionId {
    /// Generates an id from the current time.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_literals_and_from_run_time_are_equal() {
        const PAY: ActionName = ActionName::from_static("invoice.pay");
        assert_eq!(ActionName::new(" invoice.pay\n"), Ok(PAY));
        assert_eq!(crate::action!("invoice.pay").name(), &PAY);
        let json = serde_json::to_string(&PAY).unwrap();
        assert_eq!(json, r#""invoice.pay""#);
        assert_eq!(serde_json::from_str::<ActionName>(&json).unwrap(), PAY);
    }

    #[test]
    fn invalid_names_are_rejected() {
        for name in ["", "  ", "a\nb", "a\u{85}b", &"x".repeat(129)] {
            assert!(ActionName::new(name).is_err(), "{name:?}");
        }
        assert!(ActionName::new("rechnung.zurück").is_ok());
    }
}
