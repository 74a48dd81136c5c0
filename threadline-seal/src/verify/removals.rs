//! What the removals of an export explain: removed records and erased fields.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::field::{ERASED, ERASED_MEMBER, Fields};
use crate::instant::parse_micros;
use crate::record::{Entry, RecordKind, TableTag};
use crate::sealed_line::{Body, SealedLine};

/// All removals of an export. The memory depends on the number of tables and of erased records.
#[derive(Debug, Default)]
pub(super) struct Removals {
    cutoffs: HashMap<Removable, Vec<Cutoff>>,
    erasures: HashMap<u64, Vec<Erasure>>,
}

/// A class of records that retention removes by a cut-off of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Removable {
    ChangesOf(TableTag),
    Transactions,
    Actions,
}

#[derive(Debug, Clone, Copy)]
struct Cutoff {
    /// The leaf of the removal.
    leaf: u64,
    micros: i64,
}

#[derive(Debug)]
struct Erasure {
    /// The leaf of the removal.
    leaf: u64,
    paths: Vec<String>,
    pseudonym: Option<String>,
}

/// The members of a removal's scope that explain something.
#[derive(Debug, Deserialize)]
struct Scope {
    #[serde(default)]
    cutoffs: BTreeMap<String, String>,
    before: Option<String>,
    #[serde(default)]
    transactions: u64,
    #[serde(default)]
    actions: u64,
    #[serde(default)]
    leaves: BTreeMap<u64, Vec<String>>,
    pseudonym: Option<String>,
}

impl Removals {
    /// Adds a removal. One with a malformed scope explains nothing.
    pub(super) fn add(&mut self, line: SealedLine) {
        let Body::Complete { fields, .. } = line.body else {
            return;
        };
        let Some(scope) = fields
            .get("scope")
            .and_then(|scope| serde_json::from_str::<Scope>(scope).ok())
        else {
            return;
        };
        match fields.get("kind").map(String::as_str) {
            Some("retention") => self.add_cutoffs(line.leaf, &scope),
            Some("erasure") => {
                for (leaf, paths) in scope.leaves {
                    self.erasures.entry(leaf).or_default().push(Erasure {
                        leaf: line.leaf,
                        paths,
                        pseudonym: scope.pseudonym.clone(),
                    });
                }
            }
            _ => {}
        }
    }

    fn add_cutoffs(&mut self, leaf: u64, scope: &Scope) {
        for (name, cutoff) in &scope.cutoffs {
            if let Some((schema, table)) = split_name(name) {
                self.add_cutoff(
                    Removable::ChangesOf(TableTag::of(&schema, &table)),
                    leaf,
                    cutoff,
                );
            }
        }
        if let Some(before) = &scope.before {
            if scope.transactions > 0 {
                self.add_cutoff(Removable::Transactions, leaf, before);
            }
            if scope.actions > 0 {
                self.add_cutoff(Removable::Actions, leaf, before);
            }
        }
    }

    /// Adds a cut-off. Earlier removals with an earlier cut-off explain nothing more than this one.
    fn add_cutoff(&mut self, removable: Removable, leaf: u64, instant: &str) {
        if let Some(micros) = parse_micros(instant) {
            let cutoffs = self.cutoffs.entry(removable).or_default();
            cutoffs.retain(|known| known.micros > micros);
            cutoffs.push(Cutoff { leaf, micros });
        }
    }

    /// Whether a later removal has a cut-off after the time of a record.
    pub(super) fn explain_removal(&self, leaf: u64, entry: &Entry) -> bool {
        let removable = match entry.kind {
            RecordKind::Change => Removable::ChangesOf(entry.table),
            RecordKind::Transaction => Removable::Transactions,
            RecordKind::Action => Removable::Actions,
            _ => return false,
        };
        let covers = |cutoff: &Cutoff| cutoff.leaf > leaf && cutoff.micros > entry.micros;
        self.cutoffs
            .get(&removable)
            .is_some_and(|cutoffs| cutoffs.iter().any(covers))
    }

    /// Whether a later removal names an erased field, and the field has no value but a placeholder or an actor with
    /// the pseudonym of the removal.
    pub(super) fn explain_erasure(&self, leaf: u64, fields: &Fields, path: &str) -> bool {
        let covers = |erasure: &Erasure| {
            let is_replaced = fields.get(path).is_none_or(|value| {
                value == ERASED
                    || value == ERASED_MEMBER
                    || is_pseudonymous(value, erasure.pseudonym.as_deref())
            });
            erasure.leaf > leaf && is_replaced && erasure.paths.iter().any(|erased| erased == path)
        };
        self.erasures
            .get(&leaf)
            .is_some_and(|erasures| erasures.iter().any(covers))
    }
}

/// Whether a value is an actor of any type with a pseudonym.
fn is_pseudonymous(actor: &str, pseudonym: Option<&str>) -> bool {
    let id = actor.split_once(':').map(|(_, id)| id);
    id.is_some() && id == pseudonym
}

/// Splits `schema.table`, each quoted where PostgreSQL's `quote_ident` quotes it.
fn split_name(name: &str) -> Option<(String, String)> {
    let (schema, rest) = take_identifier(name)?;
    let (table, end) = take_identifier(rest.strip_prefix('.')?)?;
    end.is_empty().then_some((schema, table))
}

/// The first identifier of a text, and the rest.
fn take_identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut identifier = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        identifier.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                identifier.push('"');
                rest = more;
            }
            None => return Some((identifier, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_names_are_split_into_schema_and_table() {
        let split = |name| split_name(name).map(|(schema, table)| format!("{schema}|{table}"));
        assert_eq!(split("public.members").as_deref(), Some("public|members"));
        assert_eq!(
            split("\"a.b\".\"Ab/c\"\"d\"").as_deref(),
            Some("a.b|Ab/c\"d")
        );
        for name in ["members", "public.", ".members", "\"a.b", "a.b.c"] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
