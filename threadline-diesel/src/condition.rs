//! Conditions that Diesel's DSL has no words for: pieces of SQL with bound values between them.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Text, Timestamptz};
use uuid::Uuid;

/// A condition over the trail's tables, which are in every query by their own names.
#[derive(Debug, Clone, Default)]
pub struct Condition(Vec<Part>);

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
    Host(HostCondition),
    Unseen(Box<Self>),
    PlannedAnew,
}

/// A condition that the host wrote in Diesel over one table of the trail.
#[derive(Clone)]
pub(crate) struct HostCondition(Arc<dyn QueryFragment<Pg> + Send + Sync>);

impl HostCondition {
    pub(crate) fn new(condition: impl QueryFragment<Pg> + Send + Sync + 'static) -> Self {
        Self(Arc::new(condition))
    }
}

impl fmt::Debug for HostCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostCondition")
    }
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

    pub(crate) fn texts(mut self, values: Vec<String>) -> Self {
        self.0.push(Part::Texts(values));
        self
    }

    pub(crate) fn uuid(mut self, value: Uuid) -> Self {
        self.0.push(Part::Uuid(value));
        self
    }

    pub(crate) fn uuids(mut self, values: Vec<Uuid>) -> Self {
        self.0.push(Part::Uuids(values));
        self
    }

    pub(crate) fn instants(mut self, values: Vec<DateTime<Utc>>) -> Self {
        self.0.push(Part::Instants(values));
        self
    }

    /// The same condition, in a query that is planned for its values at every call: its values say
    /// which partitions there is nothing to look for in, and how much there is to find.
    pub(crate) fn planned_anew(mut self) -> Self {
        self.0.push(Part::PlannedAnew);
        self
    }

    /// The same condition, in a statement whose plan is worth keeping. PostgreSQL plans anew for values
    /// that it sees, as long as it hopes for a cheaper plan, and planning for every month takes longer
    /// than to look into them. These values it does not see.
    pub(crate) fn unseen(self) -> Self {
        let hide = |part: Part| {
            if part.is_value() {
                Part::Unseen(Box::new(part))
            } else {
                part
            }
        };
        Self(self.0.into_iter().map(hide).collect())
    }

    pub(crate) fn host(mut self, condition: &HostCondition) -> Self {
        self.0.push(Part::Host(condition.clone()));
        self
    }

    /// Another condition, in parentheses.
    pub(crate) fn with(mut self, inner: &Self) -> Self {
        self.0.push(Part::Sql("(".into()));
        self.0.extend(inner.0.iter().cloned());
        self.0.push(Part::Sql(")".into()));
        self
    }

    /// Another condition's SQL, as it is.
    pub(crate) fn embed(mut self, inner: &Self) -> Self {
        self.0.extend(inner.0.iter().cloned());
        self
    }

    /// Both.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self::default().with(&self).then(" AND ").with(other)
    }

    /// The same condition, where no index answers it: it must not look rare to the planner, which
    /// would then read everything and sort, instead of following the order of the list and stopping
    /// when the page is full.
    pub(crate) fn on_the_way(self) -> Self {
        Self::sql("COALESCE(").with(&self).then(", false)")
    }

    /// SQL and values, as a text that tells conditions apart.
    pub(crate) fn fingerprint(&self) -> String {
        diesel::debug_query::<Pg, _>(self).to_string()
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
        out.push_sql("(");
        self.walk_bare(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl Condition {
    /// Without the parentheses around it.
    pub(crate) fn walk_bare<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0
            .iter()
            .try_for_each(|part| part.walk_ast(out.reborrow()))
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
            Self::Unseen(value) => {
                out.push_sql("(SELECT ");
                value.walk_ast(out.reborrow())?;
                out.push_sql(")");
            }
            Self::PlannedAnew => out.unsafe_to_cache_prepared(),
            Self::Host(condition) => condition.0.walk_ast(out)?,
            Self::Number(value) => out.push_bind_param::<BigInt, _>(value)?,
            Self::Instant(value) => out.push_bind_param::<Timestamptz, _>(value)?,
        }
        Ok(())
    }
}
