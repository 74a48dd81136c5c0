//! The major version of a server.

use std::fmt;
use std::str::FromStr;

use crate::BinariesError;

/// A PostgreSQL major version, such as 16.
///
/// ```
/// use threadline_testdb::MajorVersion;
///
/// let sixteen: MajorVersion = "16".parse()?;
/// assert_eq!(sixteen, MajorVersion::new(16));
/// assert_eq!(sixteen.to_string(), "16");
/// # Ok::<(), threadline_testdb::BinariesError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MajorVersion(u16);

impl MajorVersion {
    /// Creates a version from its number. Any number is accepted.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number: 16 for PostgreSQL 16.4.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Parses the output of `postgres --version`: `postgres (PostgreSQL) 15.18 (Debian …)`.
    /// Development versions (`19devel`, `18beta1`) count as their major version.
    pub(crate) fn from_version_line(line: &str) -> Option<Self> {
        let after_name = line.split("(PostgreSQL)").nth(1)?.trim_start();
        let digits: String = after_name
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok().map(Self)
    }
}

impl fmt::Display for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MajorVersion {
    type Err = BinariesError;

    /// Parses a bare number.
    ///
    /// # Errors
    ///
    /// [`BinariesError::NotAVersion`] for any other text, such as `16.4`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| BinariesError::NotAVersion {
                text: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_lines_of_distributions_are_parsed() {
        for (line, number) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15),
            ("postgres (PostgreSQL) 18.4", 18),
            ("postgres (PostgreSQL) 19devel", 19),
        ] {
            assert_eq!(
                MajorVersion::from_version_line(line),
                Some(MajorVersion(number)),
                "{line}"
            );
        }
    }

    #[test]
    fn the_version_line_of_another_program_is_rejected() {
        assert_eq!(MajorVersion::from_version_line("postgrey 1.37"), None);
    }

    #[test]
    fn a_minor_version_is_rejected_by_name() {
        let error = "16.4".parse::<MajorVersion>().unwrap_err();
        assert!(error.to_string().contains("16.4"), "{error}");
    }
}
