//! Findings: code, severity, explanation and remedy.

use std::fmt;

use serde::Serialize;
use threadline_core::table::TableName;

use super::code::{FindingCode, RemedyKind};
use super::queries::FoundRow;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Changes are lost or wrong, or can be lost or forged.
    Error,
    /// Action is needed soon.
    Warning,
    /// For information.
    Info,
}

impl Severity {
    /// The severity in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// An unknown text, of a newer trail, is an error.
    pub(crate) fn from_stored(text: &str) -> Self {
        match text {
            "info" => Self::Info,
            "warning" => Self::Warning,
            _ => Self::Error,
        }
    }
}

/// How to resolve a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Remedy {
    /// SQL to run as the owner of the trail, or as the owner of the table that it alters.
    Sql {
        /// One or more statements.
        sql: String,
    },
    /// A command of Threadline's command line, whose output is then applied.
    Command {
        /// The steps to take before; none if there are none.
        first: Option<String>,
        /// The command and its arguments, unquoted.
        arguments: Vec<String>,
    },
    /// A decision that no command can make.
    Decide {
        /// What to consider.
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

/// Quotes an argument for a POSIX shell.
#[must_use]
pub fn shell_quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The code.
    pub code: FindingCode,
    /// The table of the host or of the trail; none if the finding is not about a table.
    pub table: Option<TableName>,
    /// The explanation.
    pub explanation: String,
    /// The remedy.
    pub remedy: Remedy,
}

impl Finding {
    /// A finding with the kind of remedy of its code. `advice` is the SQL to run, or the steps to take first.
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
        // The steps to take first precede the command in SQL, too.
        let first = advice
            .split_once(", then ")
            .or_else(|| advice.split_once("; then "))
            .map(|(first, _)| first.to_owned());
        let kind = code.remedy_kind();
        let remedy = match kind {
            RemedyKind::Redeploy | RemedyKind::Generate
                if table.is_some()
                    && (kind == RemedyKind::Redeploy || advice.ends_with("redeploy-triggers")) =>
            {
                command(first, &["redeploy-triggers", &named])
            }
            RemedyKind::Retire => command(first, &["disable-capture", &named]),
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
    fn finding_codes_parse_from_their_text() {
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
            "find out who changed it, then redeploy-triggers x".to_owned(),
        );
        assert_eq!(
            finding.remedy.to_string(),
            r#"find out who changed it; then redeploy-triggers '"it'\''s".t'"#
        );
    }
}
