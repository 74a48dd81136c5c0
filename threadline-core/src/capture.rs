//! The capture SQL of a table: pure, deterministic, readable.
//!
//! An [`AuditedTable`](crate::table::AuditedTable) goes in, SQL comes out; the same table gives the
//! same bytes. The shapes of the functions are in `sql/capture`, the expressions that depend on
//! columns are built in `capture/expressions.rs`, and [`CaptureSql`] puts them together as one statement
//! a table, so that everything about a table takes effect together or not at all.
//!
//! What the table looks like at run time (partitioned, inherited from, with triggers of its own) is
//! found out when the migration is applied, by functions of the base schema (`sql/install`).

mod changes;
mod expressions;
mod functions;
mod image;
mod migration;
mod probe;
mod template;

pub use migration::{
    CaptureMigration, CaptureSql, GENERATOR_VERSION, GeneratedPolicy, policies_in,
};
