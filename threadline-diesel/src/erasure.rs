//! Erasure of a person: values of rows, the actor, and parts of the context.
//!
//! A [`SubjectMap`] declares where the trail has data of a person. [`plan_erasure`] finds and counts them, which is
//! also the answer to an access request; [`erase`] replaces them in batches; [`erasure_report`] says what is done
//! and what is out of reach. After the restore of an older backup, [`replay_erasures`] applies recorded erasures
//! again. `guides/erasure.md` describes what stays.
//!
//! Values become `[ERASED]`. The id of the actor becomes a random pseudonym, the same everywhere, so that counts and
//! joins still work. Each batch is one statement, which also records the erasure in `audit_removals`. The migration
//! `threadline_0003` creates the two functions that this needs; no role may execute them unless it is granted.

mod plan;
mod replay;
mod report;
mod run;
mod statements;
mod subject_map;

use threadline_core::table::TableName;

pub use self::plan::{ErasurePlan, TablePlan, plan_erasure};
pub use self::replay::{ErasureRecord, Replay, erasure_records, replay_erasures};
pub use self::report::{ErasureReport, Reach, ReachState, erasure_report};
pub use self::run::{
    EraseOptions, ErasureReason, ErasureRun, ErasureStep, InvalidReason, erase, erasure_runs,
};
pub use self::subject_map::{InvalidSubject, SubjectId, SubjectMap};
use crate::query::KeyError;

/// The most changes of one table that a plan finds.
pub const MAX_SUBJECT_CHANGES: i64 = 1_000_000;

/// An error of erasure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureError {
    /// The migration that creates the functions is not applied.
    #[error("erasure of a person needs the migration threadline_0003: run `install` and apply it")]
    MigrationMissing,
    /// The table was never captured.
    #[error("table {0} was never captured: correct the subject map")]
    UnknownTable(TableName),
    /// The column was never captured, or is excluded.
    #[error("table {table} never had a captured column {column:?}: correct the subject map")]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// The column is part of the key: without its key, a change belongs to no row.
    #[error("column {column:?} of table {table} is part of its key and cannot be erased")]
    KeyColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// The subject has too many changes in a table.
    #[error(
        "the subject has more than {MAX_SUBJECT_CHANGES} changes in table {0}: erase values by SQL first"
    )]
    TooManyChanges(TableName),
    /// The id of the subject is not a key of a table.
    #[error("the id of the subject is not a key of table {table}")]
    Key {
        /// The table.
        table: TableName,
        /// What is wrong.
        #[source]
        source: Box<KeyError>,
    },
    /// The connection is in a transaction, but each batch is one.
    #[error("an erasure commits each batch: call it outside a transaction")]
    InTransaction,
    /// No run has this id.
    #[error("there is no erasure {0}")]
    NoSuchRun(uuid::Uuid),
    /// The database reported an error.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
