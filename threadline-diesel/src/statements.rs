//! The statements around audited work. Not `sql_query`, which Diesel prepares anew at every call:
//! these have an id, so a connection prepares each once and then needs one round trip.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Jsonb, Nullable, Uuid as SqlUuid};
use serde_json::Value;
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

/// Opens nested work; gives what was in force before.
#[derive(Debug, QueryId)]
pub(crate) struct OpenWork {
    pub(crate) work: Value,
}

impl QueryFragment<Pg> for OpenWork {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".open_audited_work(");
        out.push_bind_param::<Jsonb, _>(&self.work)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for OpenWork {
    type SqlType = Jsonb;
}

impl<Conn> RunQueryDsl<Conn> for OpenWork {}

/// Leaves work; gives the audit transaction.
#[derive(Debug, QueryId)]
pub(crate) struct LeaveWork {
    pub(crate) before: Option<Value>,
}

impl QueryFragment<Pg> for LeaveWork {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".leave_audited_work(");
        out.push_bind_param::<Nullable<Jsonb>, _>(&self.before)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for LeaveWork {
    type SqlType = Nullable<SqlUuid>;
}

impl<Conn> RunQueryDsl<Conn> for LeaveWork {}

/// Closes work; gives the audit transaction, and how many changes of how many tables.
#[derive(Debug, QueryId)]
pub(crate) struct CloseWork {
    pub(crate) before: Option<Value>,
    pub(crate) action: Option<Uuid>,
}

impl QueryFragment<Pg> for CloseWork {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT transaction_id, changes, tables FROM ");
        out.push_sql(STORAGE_SCHEMA);
        out.push_sql(".close_audited_work(");
        out.push_bind_param::<Nullable<Jsonb>, _>(&self.before)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<SqlUuid>, _>(&self.action)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for CloseWork {
    type SqlType = (Nullable<SqlUuid>, BigInt, BigInt);
}

impl<Conn> RunQueryDsl<Conn> for CloseWork {}

/// Records an action; gives its id.
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
