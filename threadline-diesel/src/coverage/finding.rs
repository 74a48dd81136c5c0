//! What coverage found: a code, how bad it is, what it means and what mends it.

use std::fmt;

use serde::Serialize;
use threadline_core::table::TableName;

use super::code::{FindingCode, RemedyKind};
use super::queries::FoundRow;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Changes are lost, can be lost or forged, or are not what they say.
    Error,
    /// Something should be done soon.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// As SQL and JSON write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// An unknown word comes from a newer trail, and is taken seriously.
    pub(crate) fn from_stored(text: &str) -> Self {
        match text {
            "info" => Self::Info,
            "warning" => Self::Warning,
            _ => Self::Error,
        }
    }
}

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Remedy {
    /// SQL, to be run as it stands by the owner of the trail (or, where it alters a table, of the
    /// table).
    Sql {
        /// One or more statements.
        sql: String,
    },
    /// A command of Threadline's command line; what it writes or prints is then applied.
    Command {
        /// What has to be done before, if anything.
        first: Option<String>,
        /// The command and its arguments, not quoted for any shell.
        arguments: Vec<String>,
    },
    /// Nothing that a command could do.
    Decide {
        /// What to look at.
        advice: String,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql { sql } => f.write_str(sql),
            Self::Decide { advice } => f.write_str(advice),
            Self::Command { first, arguments } => {
                if let Some(first) = first {
                    write!(f, "{first}; then ")?;
                }
                for (at, argument) in arguments.iter().enumerate() {
                    let space = if at == 0 { "" } else { " " };
                    write!(f, "{space}{}", shell_quoted(argument))?;
                }
                Ok(())
            }
        }
    }
}

/// An argument as a POSIX shell reads it back.
#[must_use]
pub fn shell_quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Something that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What kind.
    pub code: FindingCode,
    /// The table it is about, as the code names it; a table of the trail; or none.
    pub table: Option<TableName>,
    /// What is wrong, for a person.
    pub explanation: String,
    /// What mends it.
    pub remedy: Remedy,
}

impl Finding {
    /// A finding with the remedy that its code asks for. `advice` is the SQL to run, or what has to
    /// be done first.
    pub(crate) fn new(
        severity: Severity,
        code: FindingCode,
        table: Option<TableName>,
        explanation: String,
        advice: String,
    ) -> Self {
        let command = |first: Option<String>, arguments: &[&str]| Remedy::Command {
            first,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        };
        let named = table.as_ref().map(ToString::to_string).unwrap_or_default();
        // What comes before the command stands before it in SQL, too.
        let first = advice
            .split_once(", then ")
            .or_else(|| advice.split_once("; then "))
            .map(|(first, _)| first.to_owned());
        let kind = code.remedy_kind();
        let remedy = match kind {
            RemedyKind::Redeploy | RemedyKind::Generate
                if table.is_some()
                    && (kind == RemedyKind::Redeploy || advice.ends_with("--redeploy")) =>
            {
                command(first, &["gen-triggers", "--redeploy", &named])
            }
            RemedyKind::Retire => command(first, &["gen-triggers", "--retire", &named]),
            RemedyKind::Generate => command(first, &["gen-triggers"]),
            RemedyKind::Install => command(None, &["install"]),
            RemedyKind::Sql | RemedyKind::Redeploy => Remedy::Sql { sql: advice },
            RemedyKind::Decide => Remedy::Decide { advice },
        };
        Self {
            severity,
            code,
            table,
            explanation,
            remedy,
        }
    }
}

impl From<FoundRow> for Finding {
    fn from(row: FoundRow) -> Self {
        let table = match (row.table_schema, row.table_name) {
            (Some(schema), Some(name)) => Some(TableName::new(schema, name)),
            _ => None,
        };
        Self::new(
            Severity::from_stored(&row.severity),
            FindingCode::from_stored(&row.code),
            table,
            row.explanation,
            row.remedy,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back_as_they_are_written() {
        for code in FindingCode::ALL {
            assert_eq!(&FindingCode::from_stored(code.as_str()), code);
        }
        let newer = FindingCode::from_stored("of_tomorrow");
        assert_eq!(newer.as_str(), "of_tomorrow");
    }

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let table: TableName = r#""it's".t"#.parse().unwrap();
        let finding = Finding::new(
            Severity::Error,
            FindingCode::FunctionChanged,
            Some(table),
            String::new(),
            "find out who changed it, then gen-triggers --redeploy x".to_owned(),
        );
        assert_eq!(
            finding.remedy.to_string(),
            r#"find out who changed it; then gen-triggers --redeploy '"it'\''s".t'"#
        );
    }
}
