//! Names of saved views.

use std::fmt;
use std::str::FromStr;

/// The longest name of a view, in bytes.
pub const MAX_VIEW_NAME_BYTES: usize = 128;

/// The name of a saved view: 1 to 128 bytes without control characters, trimmed.
///
/// ```
/// use threadline_diesel::saved_views::ViewName;
///
/// assert_eq!(" Deleted invoices ".parse::<ViewName>()?.as_str(), "Deleted invoices");
/// assert!("a\nb".parse::<ViewName>().is_err());
/// # Ok::<(), threadline_diesel::saved_views::InvalidViewName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewName(String);

/// A text is not the name of a view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name of a view: use 1 to {MAX_VIEW_NAME_BYTES} bytes without control characters"
)]
pub struct InvalidViewName(pub String);

impl ViewName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ViewName {
    type Err = InvalidViewName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        let is_valid =
            (1..=MAX_VIEW_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
        if is_valid {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidViewName(
                text.chars().take(MAX_VIEW_NAME_BYTES).collect(),
            ))
        }
    }
}

impl fmt::Display for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
