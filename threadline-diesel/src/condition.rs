//! Conditions that Diesel's DSL has no words for: pieces of SQL with bound values between them.

use chrono::{DateTime, Utc};
use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};

/// A condition over the trail's tables, which are in every query by their own names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Sql(String),
    Text(String),
    OptionalText(Option<String>),
    Number(i64),
    Instant(DateTime<Utc>),
}

impl Condition {
    pub(crate) fn sql(sql: impl Into<String>) -> Self {
        Self(vec![Part::Sql(sql.into())])
    }

    pub(crate) fn then(mut self, sql: impl Into<String>) -> Self {
        self.0.push(Part::Sql(sql.into()));
        self
    }

    pub(crate) fn text(mut self, value: impl Into<String>) -> Self {
        self.0.push(Part::Text(value.into()));
        self
    }

    pub(crate) fn optional_text(mut self, value: Option<String>) -> Self {
        self.0.push(Part::OptionalText(value));
        self
    }

    pub(crate) fn number(mut self, value: i64) -> Self {
        self.0.push(Part::Number(value));
        self
    }

    pub(crate) fn instant(mut self, value: DateTime<Utc>) -> Self {
        self.0.push(Part::Instant(value));
        self
    }
}

impl Expression for Condition {
    type SqlType = Bool;
}

impl<Source> AppearsOnTable<Source> for Condition {}
impl<Source> SelectableExpression<Source> for Condition {}

impl<Group> ValidGrouping<Group> for Condition {
    type IsAggregate = is_aggregate::Never;
}

impl QueryId for Condition {
    type QueryId = ();
    // The same type stands for any SQL.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Condition {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("(");
        for part in &self.0 {
            match part {
                Part::Sql(sql) => out.push_sql(sql),
                Part::Text(value) => out.push_bind_param::<Text, _>(value)?,
                Part::OptionalText(value) => out.push_bind_param::<Nullable<Text>, _>(value)?,
                Part::Number(value) => out.push_bind_param::<BigInt, _>(value)?,
                Part::Instant(value) => out.push_bind_param::<Timestamptz, _>(value)?,
            }
        }
        out.push_sql(")");
        Ok(())
    }
}
