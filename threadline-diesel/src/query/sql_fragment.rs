//! Conditions that Diesel's DSL cannot express: SQL text with bound values.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Text, Timestamptz};
use uuid::Uuid;

/// A condition over the tables of the trail, which every query names without aliases.
#[derive(Debug, Clone, Default)]
pub struct SqlFragment(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Sql(String),
    Text(String),
    Texts(Vec<String>),
    Number(i64),
    Instant(DateTime<Utc>),
    Uuid(Uuid),
    Uuids(Vec<Uuid>),
    Instants(Vec<DateTime<Utc>>),
    Host(HostExpression),
    HiddenValue(Box<Self>),
    WithoutPlanCache,
}

/// A condition that the host wrote in Diesel over one table of the trail.
#[derive(Clone)]
pub(crate) struct HostExpression(Arc<dyn QueryFragment<Pg> + Send + Sync>);

impl HostExpression {
    pub(crate) fn new(condition: impl QueryFragment<Pg> + Send + Sync + 'static) -> Self {
        Self(Arc::new(condition))
    }
}

impl fmt::Debug for HostExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostExpression")
    }
}

impl SqlFragment {
    pub(crate) fn sql(sql: impl Into<String>) -> Self {
        Self(vec![Part::Sql(sql.into())])
    }

    pub(crate) fn push_sql(self, sql: impl Into<String>) -> Self {
        self.push(Part::Sql(sql.into()))
    }

    pub(crate) fn bind_text(self, value: impl Into<String>) -> Self {
        self.push(Part::Text(value.into()))
    }

    pub(crate) fn bind_texts(self, values: Vec<String>) -> Self {
        self.push(Part::Texts(values))
    }

    pub(crate) fn bind_number(self, value: i64) -> Self {
        self.push(Part::Number(value))
    }

    pub(crate) fn bind_instant(self, value: DateTime<Utc>) -> Self {
        self.push(Part::Instant(value))
    }

    pub(crate) fn bind_instants(self, values: Vec<DateTime<Utc>>) -> Self {
        self.push(Part::Instants(values))
    }

    pub(crate) fn bind_uuid(self, value: Uuid) -> Self {
        self.push(Part::Uuid(value))
    }

    pub(crate) fn bind_uuids(self, values: Vec<Uuid>) -> Self {
        self.push(Part::Uuids(values))
    }

    /// Appends a Diesel query.
    pub(crate) fn push_query(self, query: impl QueryFragment<Pg> + Send + Sync + 'static) -> Self {
        self.push_host(&HostExpression::new(query))
    }

    pub(crate) fn push_host(self, expression: &HostExpression) -> Self {
        self.push(Part::Host(expression.clone()))
    }

    fn push(mut self, part: Part) -> Self {
        self.0.push(part);
        self
    }

    /// Appends another fragment in parentheses.
    pub(crate) fn push_group(self, inner: &Self) -> Self {
        self.push_sql("(").append(inner).push_sql(")")
    }

    /// Appends another fragment without parentheses.
    pub(crate) fn append(mut self, inner: &Self) -> Self {
        self.0.extend(inner.0.iter().cloned());
        self
    }

    /// Both conditions.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self::default()
            .push_group(&self)
            .push_sql(" AND ")
            .push_group(other)
    }

    /// Marks the statement as not to be kept as a prepared statement, so that PostgreSQL plans it
    /// with its values: they decide which partitions are read and how many rows are expected.
    pub(crate) fn without_plan_cache(self) -> Self {
        self.push(Part::WithoutPlanCache)
    }

    /// Wraps each bound value in a scalar sub-select, so that the planner does not see it.
    ///
    /// PostgreSQL plans a prepared statement at each execution as long as the plan for known values looks cheaper
    /// than the generic one, and planning for the partitions of every month takes longer than reading
    /// them. With hidden values it settles on the generic plan.
    pub(crate) fn hide_from_planner(self) -> Self {
        let hide = |part: Part| {
            if part.is_value() {
                Part::HiddenValue(Box::new(part))
            } else {
                part
            }
        };
        Self(self.0.into_iter().map(hide).collect())
    }

    /// Wraps a condition that no index serves in `COALESCE(…, false)`, so that the planner expects
    /// many rows to match. It then reads in the order of the list and stops when the page is full,
    /// instead of reading everything and sorting.
    pub(crate) fn into_filter_only(self) -> Self {
        Self::sql("COALESCE(")
            .push_group(&self)
            .push_sql(", false)")
    }

    /// SQL and values as text: equal for equal conditions.
    pub(crate) fn fingerprint(&self) -> String {
        diesel::debug_query::<Pg, _>(self).to_string()
    }

    /// Writes the SQL without parentheses around it.
    pub(crate) fn walk_bare<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0
            .iter()
            .try_for_each(|part| part.walk_ast(out.reborrow()))
    }
}

impl Expression for SqlFragment {
    type SqlType = Bool;
}

impl<Source> AppearsOnTable<Source> for SqlFragment {}
impl<Source> SelectableExpression<Source> for SqlFragment {}

impl<Group> ValidGrouping<Group> for SqlFragment {
    type IsAggregate = is_aggregate::Never;
}

impl QueryId for SqlFragment {
    type QueryId = ();
    // Values of this type have different SQL, so there is no static query id.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for SqlFragment {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(");
        self.walk_bare(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl Part {
    fn is_value(&self) -> bool {
        matches!(
            self,
            Self::Text(_)
                | Self::Number(_)
                | Self::Instant(_)
                | Self::Uuid(_)
                | Self::Uuids(_)
                | Self::Instants(_)
        )
    }
}

impl QueryFragment<Pg> for Part {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Sql(sql) => out.push_sql(sql),
            Self::Text(value) => out.push_bind_param::<Text, _>(value)?,
            Self::Texts(value) => out.push_bind_param::<Array<Text>, _>(value)?,
            Self::Uuid(value) => out.push_bind_param::<diesel::sql_types::Uuid, _>(value)?,
            Self::Uuids(value) => {
                out.push_bind_param::<Array<diesel::sql_types::Uuid>, _>(value)?;
            }
            Self::Instants(value) => out.push_bind_param::<Array<Timestamptz>, _>(value)?,
            Self::HiddenValue(value) => {
                out.push_sql("(SELECT ");
                value.walk_ast(out.reborrow())?;
                out.push_sql(")");
            }
            Self::WithoutPlanCache => out.unsafe_to_cache_prepared(),
            Self::Host(condition) => condition.0.walk_ast(out)?,
            Self::Number(value) => out.push_bind_param::<BigInt, _>(value)?,
            Self::Instant(value) => out.push_bind_param::<Timestamptz, _>(value)?,
        }
        Ok(())
    }
}

/// A statement whose SQL is a fragment. `ST` is the SQL type of its rows.
pub(crate) struct FragmentQuery<ST> {
    sql: SqlFragment,
    row: PhantomData<fn() -> ST>,
}

impl<ST> FragmentQuery<ST> {
    pub(crate) fn new(sql: SqlFragment) -> Self {
        Self {
            sql,
            row: PhantomData,
        }
    }
}

impl<ST> QueryFragment<Pg> for FragmentQuery<ST> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.sql.walk_bare(out)
    }
}

impl<ST> Query for FragmentQuery<ST> {
    type SqlType = ST;
}

impl<ST> QueryId for FragmentQuery<ST> {
    type QueryId = ();
    // Values of this type have different SQL, so there is no static query id.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST, Conn> RunQueryDsl<Conn> for FragmentQuery<ST> {}

/// The SQL of a Diesel query, with placeholders for its values.
pub(crate) fn render_sql<F: QueryFragment<Pg>>(fragment: &F) -> QueryResult<String> {
    let mut builder = PgQueryBuilder::default();
    fragment.to_sql(&mut builder, &Pg)?;
    Ok(builder.finish())
}
