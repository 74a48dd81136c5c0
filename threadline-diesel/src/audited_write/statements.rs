//! The statements of an audited write. Unlike `sql_query`, which Diesel prepares at every call, they have
//! a static query id: a connection prepares each once, and then needs one round trip.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Jsonb, Nullable, Uuid as SqlUuid};
use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

/// Begins a nested write; returns the settings in force before it.
#[derive(Debug, QueryId)]
pub(crate) struct BeginWork {
    pub(crate) work: Value,
}

impl QueryFragment<Pg> for BeginWork {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".begin_audited_work(");
        out.push_bind_param::<Jsonb, _>(&self.work)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for BeginWork {
    type SqlType = Jsonb;
}

impl<Conn> RunQueryDsl<Conn> for BeginWork {}

/// Ends a write; returns the audit transaction.
#[derive(Debug, QueryId)]
pub(crate) struct EndWork {
    pub(crate) before: Option<Value>,
}

impl QueryFragment<Pg> for EndWork {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".end_audited_work(");
        out.push_bind_param::<Nullable<Jsonb>, _>(&self.before)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for EndWork {
    type SqlType = Nullable<SqlUuid>;
}

impl<Conn> RunQueryDsl<Conn> for EndWork {}

/// Counts the changes that the transaction captured, then ends the write; returns the audit transaction
/// and the numbers of changes and tables.
#[derive(Debug, QueryId)]
pub(crate) struct CountWork {
    pub(crate) before: Option<Value>,
    pub(crate) action: Option<Uuid>,
}

impl QueryFragment<Pg> for CountWork {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".end_audited_work(");
        out.push_bind_param::<Nullable<Jsonb>, _>(&self.before)?;
        out.push_sql("), counted.change_count, counted.table_count FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".count_audited_work(");
        out.push_bind_param::<Nullable<SqlUuid>, _>(&self.action)?;
        out.push_sql(") AS counted");
        Ok(())
    }
}

impl Query for CountWork {
    type SqlType = (Nullable<SqlUuid>, BigInt, BigInt);
}

impl<Conn> RunQueryDsl<Conn> for CountWork {}

/// Records an action; returns its id.
#[derive(Debug, QueryId)]
pub(crate) struct RecordAction {
    pub(crate) action: Value,
    pub(crate) actor: Option<Value>,
    pub(crate) context: Value,
}

impl QueryFragment<Pg> for RecordAction {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".record_action(");
        out.push_bind_param::<Jsonb, _>(&self.action)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Jsonb>, _>(&self.actor)?;
        out.push_sql(", ");
        out.push_bind_param::<Jsonb, _>(&self.context)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for RecordAction {
    type SqlType = SqlUuid;
}

impl<Conn> RunQueryDsl<Conn> for RecordAction {}
