//! The statements of a journey: what stands for the tables, the query with them in front, and what
//! PostgreSQL would do with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Json;
use serde_json::Value;
use threadline_core::identifier::quote_identifier;

use super::narrowing::keys_asked;
use super::plan::tables_read;
use super::sources::{FunctionsThatMayRead, SourceRow, TableOfKeys};
use super::{TimeTravel, TimeTravelError, UnknownColumns, Way};
use crate::as_of::{UnknownColumn, UnknownReason};
use crate::rewriting::{Renamed, Rewritten, renamed, rendered, significant};
use crate::sql_tokens::{Kind, tokens};

/// What stands for a table.
#[derive(Debug)]
struct Source {
    renamed: Renamed,
    unknown: BTreeMap<String, UnknownReason>,
    sql: String,
    /// Whether that reads the table as it is now, on purpose.
    rewound: bool,
    /// What stands for it while PostgreSQL is asked which keys a query is about, and their column.
    probe: Option<(String, String)>,
}

/// What stands for the tables of a journey.
#[derive(Debug)]
pub(crate) struct Journey {
    travel: TimeTravel,
    sources: Vec<Source>,
}

impl Journey {
    /// Puts together what the database said of each table.
    pub(crate) fn new(travel: &TimeTravel, rows: Vec<SourceRow>) -> Result<Self, TimeTravelError> {
        let mut sources = Vec::new();
        for (table, row) in travel.tables.iter().zip(rows) {
            let table = table.clone();
            let (problem, detail, horizon, unknown, sql, rewound, probe, column) = row;
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
            // A common table expression has no schema: tables of `public` are found by their names,
            // and those of other schemas by names that nobody else has.
            let name = if table.schema() == "public" {
                table.name().to_owned()
            } else {
                format!("as of {}", sources.len() + 1)
            };
            sources.push(Source {
                renamed: Renamed { table, name },
                unknown: unknown
                    .and_then(|unknown| unknown.read().ok())
                    .unwrap_or_default(),
                sql,
                rewound,
                probe: probe.zip(column),
            });
        }
        Ok(Self {
            travel: travel.clone(),
            sources,
        })
    }

    /// The query with the tables as they were in front of it.
    pub(crate) fn query<Q: QueryFragment<Pg>>(
        &self,
        query: Q,
    ) -> Result<AsOfQuery<Q>, TimeTravelError> {
        let original = rendered(&query)?;
        let names: Vec<_> = self.sources.iter().map(|one| one.renamed.clone()).collect();
        let changed = renamed(&original, &names);
        let sql = changed.as_deref().unwrap_or(&original);
        if self.travel.unknown == UnknownColumns::Refused {
            self.refuse_unknown(sql)?;
        }
        let mentions = names.iter().map(|one| mentions(sql, &one.name)).collect();
        let (with, changed) = merged(&original, changed);
        let functions = functions_in(&original);
        let rewritten = Rewritten::new(&original, changed).map_err(|_| TimeTravelError::Comment)?;
        let mut asked = AsOfQuery {
            prefix: String::new(),
            with,
            rewritten,
            query,
            functions,
            mentions,
        };
        asked.put_before(&self.expressions(|one| &one.sql));
        Ok(asked)
    }

    fn expressions<'s>(&'s self, sql: impl Fn(&'s Source) -> &'s str) -> String {
        let mut all = String::new();
        for (n, source) in self.sources.iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            let name = quote_identifier(&source.renamed.name);
            let _ = write!(all, "{separator}{name} AS ({})", sql(source));
        }
        all
    }

    /// Puts what asks for the keys of the query's tables in front of it, for a plan that tells
    /// them. Whether there is anything to ask for: a table must be named once, so that what its
    /// one place says holds for all of the table.
    pub(crate) fn probe<Q>(&self, asked: &mut AsOfQuery<Q>) -> bool {
        let worthwhile = self.probed(&asked.mentions).next().is_some();
        if worthwhile {
            asked.put_before(
                &self.expressions(|one| one.probe.as_ref().map_or(&one.sql, |(probe, _)| probe)),
            );
        }
        worthwhile
    }

    fn probed<'j>(&'j self, mentions: &'j [usize]) -> impl Iterator<Item = usize> + 'j {
        let sources = self.sources.iter().zip(mentions).enumerate();
        sources
            .filter(|(_, (source, mentions))| source.probe.is_some() && **mentions == 1)
            .map(|(place, _)| place)
    }

    /// The tables of which the plan of a probe says that only certain keys are asked for, by their
    /// places, with the question what stands for them then.
    pub(crate) fn narrower<Q>(
        &self,
        asked: &AsOfQuery<Q>,
        plan: &Value,
    ) -> Vec<(usize, TableOfKeys)> {
        self.probed(&asked.mentions)
            .filter_map(|place| {
                let source = &self.sources[place];
                let table = &source.renamed.table;
                let (_, column) = source.probe.as_ref()?;
                let question = TableOfKeys {
                    table: table.clone(),
                    instant: self.travel.instant(),
                    allow_unknown: self.travel.unknown == UnknownColumns::Allowed,
                    trail_only: self.travel.way == Way::TrailOnly,
                    keys: keys_asked(plan, table, column)?,
                };
                Some((place, question))
            })
            .collect()
    }

    /// Lets something narrower stand for a table. It may read the table as it is now.
    pub(crate) fn narrow(&mut self, place: usize, sql: String) {
        let source = &mut self.sources[place];
        source.sql = sql;
        source.rewound = self.travel.way != Way::TrailOnly;
    }

    /// Puts what stands for the tables in front of the query again.
    pub(crate) fn put_before<Q>(&self, asked: &mut AsOfQuery<Q>) {
        asked.put_before(&self.expressions(|one| &one.sql));
    }

    /// What the query would see as it is now, by its plan.
    pub(crate) fn present(&self, plan: &Value) -> Vec<String> {
        let rewound: Vec<_> = self
            .sources
            .iter()
            .filter(|source| source.rewound)
            .map(|source| &source.renamed.table)
            .collect();
        tables_read(plan, &rewound)
    }

    /// Refuses a query that names a column that was not captured. A column that is not found here,
    /// because an alias stands for its table, is not there for PostgreSQL either.
    fn refuse_unknown(&self, sql: &str) -> Result<(), TimeTravelError> {
        let all = tokens(sql);
        let counting = significant(&all);
        for Source {
            renamed, unknown, ..
        } in &self.sources
        {
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

/// How often a query may name a table: wherever the name stands alone.
fn mentions(sql: &str, table: &str) -> usize {
    let all = tokens(sql);
    let counting = significant(&all);
    let is_dot = |at: Option<usize>| {
        at.and_then(|at| counting.get(at))
            .is_some_and(|(_, token)| token.is_mark("."))
    };
    (0..counting.len())
        .filter(|at| counting[*at].1.name().as_deref() == Some(table))
        .filter(|at| !is_dot(at.checked_sub(1)) && !is_dot(at.checked_add(1)))
        .count()
}

/// A query over tables as they were.
#[derive(Debug)]
pub struct AsOfQuery<Q> {
    prefix: String,
    with: With,
    rewritten: Rewritten,
    query: Q,
    functions: Vec<String>,
    /// How often it names each table.
    mentions: Vec<usize>,
}

impl<Q> AsOfQuery<Q> {
    fn put_before(&mut self, expressions: &str) {
        self.prefix = if expressions.is_empty() {
            // What follows the query's own WITH was taken apart from it.
            let word = if self.with.has_own { "WITH " } else { "" };
            format!("{word}{}", self.with.recursive)
        } else {
            let separator = if self.with.has_own { ", " } else { " " };
            format!("WITH {}{expressions}{separator}", self.with.recursive)
        };
    }

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
    fn a_table_is_mentioned_where_its_name_stands_alone() {
        let sql = r#"SELECT "a"."a" FROM "a" WHERE "a"."b" IN (SELECT b.a FROM b, A)"#;
        assert_eq!(mentions(sql, "a"), 2);
    }

    #[test]
    fn functions_are_found_by_their_brackets() {
        assert_eq!(
            functions_in(r#"SELECT "Total"("a"."b"), count (*) FROM t WHERE x IN ('f(1)')"#),
            ["Total", "count", "in"]
        );
    }
}
