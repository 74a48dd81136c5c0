//! The statements of a journey: what stands for the tables, the query with them in front, and what
//! PostgreSQL would do with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Json, Jsonb, Nullable, Text, Timestamptz};
use threadline_core::identifier::quote_identifier;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::{TimeTravel, TimeTravelError, UnknownColumns};
use crate::as_of::{UnknownColumn, UnknownReason};
use crate::json::StoredJson;
use crate::rewriting::{Renamed, Rewritten, renamed, rendered, significant};
use crate::sql_tokens::{Kind, tokens};

/// Asks what stands for tables as of an instant, in the order in which they are named.
#[derive(Debug)]
pub(crate) struct TableSources {
    pub(crate) schemas: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) instant: DateTime<Utc>,
    pub(crate) allow_unknown: bool,
}

/// Problem, detail, horizon, unknown columns and SQL of a table.
pub(crate) type SourceRow = (
    Option<String>,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<StoredJson>,
    Option<String>,
);

impl QueryFragment<Pg> for TableSources {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT found.* FROM ROWS FROM (pg_catalog.unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.schemas)?;
        out.push_sql("), pg_catalog.unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.names)?;
        out.push_sql(")) WITH ORDINALITY AS given (schema, name, place) CROSS JOIN LATERAL ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".table_as_of(given.schema, given.name, ");
        out.push_bind_param::<Timestamptz, _>(&self.instant)?;
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(&self.allow_unknown)?;
        out.push_sql(") AS found ORDER BY given.place");
        Ok(())
    }
}

impl QueryId for TableSources {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for TableSources {
    type SqlType = (
        Nullable<Text>,
        Nullable<Text>,
        Nullable<Timestamptz>,
        Nullable<Jsonb>,
        Nullable<Text>,
    );
}

impl<Conn> RunQueryDsl<Conn> for TableSources {}

/// Asks which functions of some names may read tables.
#[derive(Debug)]
pub(crate) struct FunctionsThatMayRead(pub(crate) Vec<String>);

impl QueryFragment<Pg> for FunctionsThatMayRead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".functions_that_may_read(");
        out.push_bind_param::<Array<Text>, _>(&self.0)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for FunctionsThatMayRead {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for FunctionsThatMayRead {
    type SqlType = Array<Text>;
}

impl<Conn> RunQueryDsl<Conn> for FunctionsThatMayRead {}

/// What stands for the tables of a journey.
#[derive(Debug)]
pub(crate) struct Journey {
    renamed: Vec<Renamed>,
    unknown: Vec<BTreeMap<String, UnknownReason>>,
    expressions: String,
    unknown_allowed: bool,
}

impl Journey {
    /// Puts together what the database said of each table.
    pub(crate) fn new(travel: &TimeTravel, rows: Vec<SourceRow>) -> Result<Self, TimeTravelError> {
        let mut journey = Self {
            renamed: Vec::new(),
            unknown: Vec::new(),
            expressions: String::new(),
            unknown_allowed: travel.unknown == UnknownColumns::Allowed,
        };
        for (table, (problem, detail, horizon, unknown, sql)) in travel.tables.iter().zip(rows) {
            let table = table.clone();
            let (None, Some(sql)) = (&problem, sql) else {
                return Err(match problem.as_deref() {
                    Some("no_such_table") => TimeTravelError::NoSuchTable(table),
                    Some("before_horizon") => TimeTravelError::BeforeHorizon {
                        table,
                        instant: travel.instant(),
                        horizon,
                    },
                    _ => TimeTravelError::Inexact {
                        table,
                        detail: detail.unwrap_or_default(),
                    },
                });
            };
            journey.add(table, &sql);
            journey.unknown.push(
                unknown
                    .and_then(|unknown| unknown.read().ok())
                    .unwrap_or_default(),
            );
        }
        Ok(journey)
    }

    fn add(&mut self, table: TableName, sql: &str) {
        // A common table expression has no schema: tables of `public` are found by their names,
        // and those of other schemas by names that nobody else has.
        let name = if table.schema() == "public" {
            table.name().to_owned()
        } else {
            format!("as of {}", self.renamed.len() + 1)
        };
        let separator = if self.renamed.is_empty() { "" } else { ", " };
        let _ = write!(
            self.expressions,
            "{separator}{} AS ({sql})",
            quote_identifier(&name)
        );
        self.renamed.push(Renamed { table, name });
    }

    /// The query with the tables as they were in front of it.
    pub(crate) fn query<Q: QueryFragment<Pg>>(
        &self,
        query: Q,
    ) -> Result<AsOfQuery<Q>, TimeTravelError> {
        let original = rendered(&query)?;
        let changed = renamed(&original, &self.renamed);
        if !self.unknown_allowed {
            self.refuse_unknown(changed.as_deref().unwrap_or(&original))?;
        }
        let (word, changed) = merged(&original, changed);
        let functions = functions_in(&original);
        let rewritten = Rewritten::new(&original, changed).map_err(|_| TimeTravelError::Comment)?;
        let prefix = if self.renamed.is_empty() {
            String::new()
        } else {
            let separator = if word.has_own { ", " } else { " " };
            format!("WITH {}{}{separator}", word.recursive, self.expressions)
        };
        Ok(AsOfQuery {
            prefix,
            rewritten,
            query,
            functions,
        })
    }

    /// Refuses a query that names a column that was not captured. A column that is not found here,
    /// because an alias stands for its table, is not there for PostgreSQL either.
    fn refuse_unknown(&self, sql: &str) -> Result<(), TimeTravelError> {
        let all = tokens(sql);
        let counting = significant(&all);
        for (renamed, unknown) in self.renamed.iter().zip(&self.unknown) {
            let named: BTreeMap<String, UnknownReason> = counting
                .windows(3)
                .filter(|window| {
                    window[1].1.is_mark(".") && window[0].1.name().as_ref() == Some(&renamed.name)
                })
                .filter_map(|window| {
                    let column = window[2].1.name()?;
                    let reason = *unknown.get(&column)?;
                    Some((column, reason))
                })
                .collect();
            if !named.is_empty() {
                return Err(TimeTravelError::UnknownColumns {
                    table: renamed.table.clone(),
                    columns: UnknownColumn::list(named),
                });
            }
        }
        Ok(())
    }
}

/// How a query's own WITH goes together with ours.
#[derive(Debug, Default)]
struct With {
    has_own: bool,
    recursive: &'static str,
}

/// Takes the word WITH off a query that begins with it, so that its expressions follow ours.
fn merged(original: &str, changed: Option<String>) -> (With, Option<String>) {
    let sql = changed.as_deref().unwrap_or(original);
    let all = tokens(sql);
    let counting = significant(&all);
    let word = |at: usize, word: &str| {
        counting.get(at).is_some_and(|(_, token)| {
            token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
        })
    };
    if !word(0, "with") {
        return (With::default(), changed);
    }
    let recursive = word(1, "recursive");
    let from = counting
        .get(if recursive { 2 } else { 1 })
        .map_or(all.len(), |(at, _)| *at);
    let rest: String = all[from..].iter().map(|token| token.text).collect();
    let with = With {
        has_own: true,
        recursive: if recursive { "RECURSIVE " } else { "" },
    };
    (with, Some(rest))
}

/// The names before an opening bracket: of functions, among them.
fn functions_in(sql: &str) -> Vec<String> {
    let all = tokens(sql);
    let mut names: Vec<_> = significant(&all)
        .windows(2)
        .filter(|pair| pair[1].1.is_mark("("))
        .filter_map(|pair| pair[0].1.name())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A query over tables as they were.
#[derive(Debug)]
pub struct AsOfQuery<Q> {
    prefix: String,
    rewritten: Rewritten,
    query: Q,
    functions: Vec<String>,
}

impl<Q> AsOfQuery<Q> {
    pub(crate) fn functions(&self) -> FunctionsThatMayRead {
        FunctionsThatMayRead(self.functions.clone())
    }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for AsOfQuery<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql(&self.prefix);
        self.rewritten.walk(&self.query, out.reborrow())
    }
}

impl<Q> QueryId for AsOfQuery<Q> {
    type QueryId = ();
    // The same type stands for any instant.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for AsOfQuery<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, Conn> RunQueryDsl<Conn> for AsOfQuery<Q> {}

/// Asks what PostgreSQL would do with a query.
#[derive(Debug)]
pub(crate) struct Check<'a, Q>(pub(crate) &'a AsOfQuery<Q>);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Check<'_, Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("EXPLAIN (VERBOSE, FORMAT JSON) ");
        self.0.walk_ast(out)
    }
}

impl<Q> QueryId for Check<'_, Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q> Query for Check<'_, Q> {
    type SqlType = Json;
}

impl<Q, Conn> RunQueryDsl<Conn> for Check<'_, Q> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_querys_own_expressions_follow_ours() {
        let (with, rest) = merged("WITH RECURSIVE a AS (SELECT 1) SELECT * FROM a", None);
        assert_eq!((with.has_own, with.recursive), (true, "RECURSIVE "));
        assert_eq!(rest.unwrap(), "a AS (SELECT 1) SELECT * FROM a");
        assert!(!merged("SELECT 1", None).0.has_own);
    }

    #[test]
    fn functions_are_found_by_their_brackets() {
        assert_eq!(
            functions_in(r#"SELECT "Total"("a"."b"), count (*) FROM t WHERE x IN ('f(1)')"#),
            ["Total", "count", "in"]
        );
    }
}
