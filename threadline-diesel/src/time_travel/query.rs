//! The host's query, prefixed with the tables as of the instant.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A query on tables as of an instant.
#[derive(Debug)]
pub struct AsOfQuery<Q> {
    expressions: String,
    has_own_with: bool,
    query: Q,
}

impl<Q> AsOfQuery<Q> {
    /// `sql` is the query as Diesel writes it.
    pub(crate) fn new(expressions: &[String], sql: &str, query: Q) -> Self {
        let mut words = sql.split_whitespace();
        Self {
            expressions: expressions.join(", "),
            has_own_with: words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("with")),
            query,
        }
    }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for AsOfQuery<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        if self.expressions.is_empty() {
            return self.query.walk_ast(out);
        }
        out.push_sql("WITH ");
        out.push_sql(&self.expressions);
        out.push_sql(" ");
        if !self.has_own_with {
            return self.query.walk_ast(out);
        }
        out.push_sql("SELECT * FROM (");
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(") AS \"as of\"");
        Ok(())
    }
}

impl<Q> QueryId for AsOfQuery<Q> {
    type QueryId = ();
    // Values of this type have different SQL, so there is no static query id.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for AsOfQuery<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, Conn> RunQueryDsl<Conn> for AsOfQuery<Q> {}
