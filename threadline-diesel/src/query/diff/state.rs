//! What is known of a value.

use serde::{Deserialize, Serialize};

use crate::json::StoredJson;

/// What is known of a value, before or after a change.
///
/// As JSON: `{"state": "value", "value": 1.10}`; the other states stand alone, `{"state": "null"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StateDocument", into = "StateDocument")]
#[non_exhaustive]
pub enum FieldState {
    /// It is stored.
    Value(StoredJson),
    /// It was null.
    Null,
    /// A placeholder is stored: the column is masked.
    Masked,
    /// Nothing is stored: the column is excluded.
    Excluded,
    /// It is not known.
    Unknown,
    /// Nothing was there: no row, or no such column or path in what is stored of it.
    Absent,
}

impl FieldState {
    /// The state of a value that is stored as it was.
    #[must_use]
    pub fn of(stored: &StoredJson) -> Self {
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

    /// The value as JSON, null included; none where it is not known or was not there.
    #[must_use]
    pub fn json(&self) -> Option<StoredJson> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Null => serde_json::from_str("null").ok(),
            _ => None,
        }
    }

    /// The state's name in documents.
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

/// A state as a document has it.
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
            (other, _) => return Err(format!("`{other}` is no state of a value, or has no value")),
        })
    }
}
