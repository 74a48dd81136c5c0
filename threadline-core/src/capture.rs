//! The capture SQL of a table: pure, deterministic, readable.
//!
//! An [`AuditedTable`](crate::table::AuditedTable) goes in, SQL comes out; the same table gives the
//! same bytes. The shape of the function is in `sql/capture`, the expressions that depend on columns are
//! in `capture/expressions.rs`. What the table looks like when the migration is applied (partitioned,
//! inherited from) is found out by `enable_capture` of the base schema.

mod expressions;
mod function;
mod migration;
mod template;

pub use expressions::RowExpressions;
pub use migration::{
    CaptureMigration, CaptureSql, DeployedFunction, GENERATOR_VERSION, GeneratedPolicy, policies_in,
};
