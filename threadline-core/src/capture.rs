//! The generator of capture functions and their migrations.
//!
//! It converts an [`AuditedTable`](crate::table::AuditedTable) to SQL. It is pure: the same declaration
//! gives the same bytes. The template of the function is in `sql/capture`, the expressions that depend on
//! columns are in `capture/expressions.rs`. `enable_capture` of the base schema finds partitions and
//! inheritance children when the migration is applied.

mod expressions;
mod function;
mod migration;
mod template;

pub use expressions::RowExpressions;
pub use migration::{
    CaptureMigration, CaptureSql, DeployedFunction, GENERATOR_VERSION, GeneratedPolicy, policies_in,
};
