//! The state of a field before or after a change.

use serde::{Deserialize, Serialize};

use crate::json::StoredJson;

/// The state of a field before or after a change.
///
/// As JSON: `{"state": "value", "value": 1.10}`; other states have no `value`: `{"state": "null"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StateDocument", into = "StateDocument")]
#[non_exhaustive]
pub enum FieldState {
    /// The value is stored.
    Value(StoredJson),
    /// The value was NULL.
    Null,
    /// The column is masked: a placeholder is stored.
    Masked,
    /// The column is excluded: nothing is stored.
    Excluded,
    /// The value is not known.
    Unknown,
    /// There was no row, or no such column or path in its image.
    Absent,
}

impl FieldState {
    /// The state of a stored value.
    #[must_use]
    pub fn from_stored(stored: &StoredJson) -> Self {
        if stored.is_null() {
            Self::Null
        } else {
            Self::Value(stored.clone())
        }
    }

    /// The value, if it is stored and not null.
    #[must_use]
    pub fn value(&self) -> Option<&StoredJson> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value as JSON, also null; none in the other states.
    #[must_use]
    pub fn json(&self) -> Option<StoredJson> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Null => serde_json::from_str("null").ok(),
            _ => None,
        }
    }

    /// The name of the state in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Value(_) => "value",
            Self::Null => "null",
            Self::Masked => "masked",
            Self::Excluded => "excluded",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
        }
    }
}

/// A state as JSON.
#[derive(Serialize, Deserialize)]
struct StateDocument {
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<StoredJson>,
}

impl From<FieldState> for StateDocument {
    fn from(state: FieldState) -> Self {
        Self {
            state: state.as_str().to_owned(),
            value: match state {
                FieldState::Value(value) => Some(value),
                _ => None,
            },
        }
    }
}

impl TryFrom<StateDocument> for FieldState {
    type Error = String;

    fn try_from(document: StateDocument) -> Result<Self, String> {
        Ok(match (document.state.as_str(), document.value) {
            ("value", Some(value)) => Self::Value(value),
            ("null", None) => Self::Null,
            ("masked", None) => Self::Masked,
            ("excluded", None) => Self::Excluded,
            ("unknown", None) => Self::Unknown,
            ("absent", None) => Self::Absent,
            (other, _) => {
                return Err(format!(
                    "`{other}` is not a state of a field, or has no value"
                ));
            }
        })
    }
}
