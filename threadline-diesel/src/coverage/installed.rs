//! The functions, guards, indexes and grants that the base schema creates, parsed from its SQL.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use threadline_core::install;
use threadline_core::storage::STORAGE_SCHEMA;

/// The objects that the base schema creates.
#[derive(Debug, Default)]
pub(crate) struct InstalledObjects {
    /// Functions by name; overloads share one.
    pub(crate) functions: BTreeMap<String, Vec<InstalledFunction>>,
    /// The names of functions that every role may execute.
    pub(crate) public: BTreeSet<String>,
    triggers: Vec<Value>,
    indexes: Vec<Value>,
}

/// A function as its statement creates it.
#[derive(Debug)]
pub(crate) struct InstalledFunction {
    /// The statement up to the body.
    header: String,
    /// Its `pg_proc.prosrc`; empty for a body that PostgreSQL stores parsed.
    pub(crate) body: String,
    /// The statement, with OR REPLACE.
    pub(crate) statement: String,
}

impl InstalledFunction {
    /// Whether it is SECURITY DEFINER.
    pub(crate) fn is_definer(&self) -> bool {
        self.header.contains("SECURITY DEFINER")
    }

    /// Whether it has this number of SET clauses, one of them for the search path.
    pub(crate) fn has_settings(&self, found: &[String]) -> bool {
        let wanted = self.header.split_whitespace().filter(|word| *word == "SET");
        wanted.count() == found.len()
            && self
                .header
                .contains("SET search_path = pg_catalog, pg_temp")
                == found
                    .iter()
                    .any(|setting| setting == "search_path=pg_catalog, pg_temp")
    }
}

impl InstalledObjects {
    /// The objects of a schema version; of the newest if the version is not known.
    pub(crate) fn of_version(version: Option<i32>) -> Self {
        let is_deployed = |migration: &install::SchemaMigration| {
            version.is_none_or(|version| i64::from(migration.version) <= i64::from(version).max(1))
        };
        let migrations = install::migrations().into_iter().filter(is_deployed);
        let scripts: Vec<_> = migrations.map(|migration| migration.up).collect();
        Self::read(&scripts.join("\n"))
    }

    /// Parses the SQL, whose statements begin at the start of a line.
    fn read(sql: &str) -> Self {
        let mut read = Self::default();
        for (at, line) in lines(sql) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
                | ["CREATE", "FUNCTION" | "PROCEDURE", ..] => read.function(&sql[at..]),
                ["CREATE", "TRIGGER" | "INDEX", name, ..]
                | ["CREATE", "UNIQUE", "INDEX", name, ..] => {
                    let statement = until(&sql[at..], ";");
                    let object = json!({
                        "name": name, "sql": statement, "table_name": after(statement, " ON "),
                    });
                    if words[1] == "TRIGGER" {
                        read.triggers.push(object);
                    } else {
                        read.indexes.push(object);
                    }
                }
                ["GRANT", "EXECUTE", "ON", ..] => {
                    let statement = until(&sql[at..], ";");
                    if statement.ends_with("TO PUBLIC") {
                        read.public.extend(names_of_functions(statement));
                    }
                }
                _ => {}
            }
        }
        read
    }

    /// The guards and indexes, as a parameter of `findings/objects.sql`.
    pub(crate) fn guards_and_indexes(&self) -> Value {
        json!({"triggers": self.triggers, "indexes": self.indexes})
    }

    fn function(&mut self, sql: &str) {
        let Some(name) = name_of_function(sql) else {
            return;
        };
        let (header, body, end) = split_body(sql);
        let statement = &sql[..end];
        let overloads = self.functions.entry(name).or_default();
        let statement = if statement.starts_with("CREATE OR REPLACE") {
            // A later migration replaces a function of an earlier one, which has no overloads then.
            overloads.clear();
            statement.to_owned()
        } else {
            statement.replacen("CREATE", "CREATE OR REPLACE", 1)
        };
        overloads.push(InstalledFunction {
            header: header.to_owned(),
            body: body.to_owned(),
            statement,
        });
    }
}

/// The lines with their offsets.
fn lines(sql: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    sql.split_inclusive('\n').map(move |line| {
        let begins = at;
        at += line.len();
        (begins, line.trim_end())
    })
}

fn until<'a>(sql: &'a str, end: &str) -> &'a str {
    sql.find(end).map_or(sql, |at| &sql[..at])
}

/// The name of the trail's table that follows a word.
fn after<'a>(statement: &'a str, word: &str) -> &'a str {
    let rest = statement.split_once(word).map_or("", |(_, rest)| rest);
    let name = rest.split_whitespace().next().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default()
}

/// The name before the first parenthesis, without its schema.
fn name_of_function(sql: &str) -> Option<String> {
    let schema = format!(" {STORAGE_SCHEMA}.");
    let (_, rest) = until(sql, "(").split_once(&schema)?;
    Some(rest.trim().to_owned())
}

/// The names of the functions that a GRANT lists, without their schema.
fn names_of_functions(grant: &str) -> Vec<String> {
    let schema = format!("{STORAGE_SCHEMA}.");
    let names = grant.split(&schema).skip(1);
    names.map(|rest| until(rest, "(").to_owned()).collect()
}

/// The part of a function's statement before its body, the body if it is a string, and the end of the statement.
fn split_body(sql: &str) -> (&str, &str, usize) {
    let first_end = sql.find(";\n").unwrap_or(sql.len());
    if let Some(begin) = sql.find(" AS $").filter(|begin| *begin < first_end) {
        let tag_at = begin + " AS ".len();
        let tag = sql[tag_at + 1..]
            .find('$')
            .map_or("", |end| &sql[tag_at..=tag_at + 1 + end]);
        let body_at = tag_at + tag.len();
        if let Some(length) = sql[body_at..].find(tag).filter(|_| !tag.is_empty()) {
            let end = body_at + length + tag.len();
            let rest = until(&sql[end..], ";").len();
            return (&sql[..begin], &sql[body_at..body_at + length], end + rest);
        }
    }
    let atomic = sql[..first_end].find("BEGIN ATOMIC");
    let header = until(&sql[..first_end], "RETURN ");
    match atomic {
        Some(begin) => (
            &sql[..begin],
            "",
            sql.find("\nEND;").map_or(sql.len(), |at| at + 4),
        ),
        None => (header, "", first_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_of_the_base_schema_are_read_from_its_sql() {
        let read = InstalledObjects::of_version(None);
        let functions: Vec<_> = read.functions.values().flatten().collect();
        assert!(functions.len() > 20, "{}", functions.len());
        for function in functions {
            assert!(
                function.statement.starts_with("CREATE OR REPLACE "),
                "{function:?}"
            );
            assert!(!function.header.contains('$'), "{function:?}");
        }
        assert!(
            read.functions["guard_record"][0]
                .body
                .contains("append-only")
        );
        assert!(read.functions["suspend_capture"][0].is_definer());
        assert!(!read.functions["guard_record"][0].is_definer());
        for name in ["record_action", "trail_partitions", "action_recorded_at"] {
            assert!(read.public.contains(name), "{name}: {:?}", read.public);
        }
        let objects = read.guards_and_indexes().to_string();
        assert!(objects.contains(r#""name":"guard_row""#), "{objects}");
        assert!(
            objects.contains(r#""table_name":"audit_changes""#),
            "{objects}"
        );
    }
}
