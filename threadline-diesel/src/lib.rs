#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "async"),
    allow(
        dead_code,
        reason = "some statements are executed on async connections only"
    )
)]

#[cfg(any(feature = "sync", feature = "async"))]
pub mod audited_write;
pub mod baseline;
pub mod blocking;
pub mod capture_start;
#[cfg(feature = "async")]
mod capture_status;
#[cfg(feature = "async")]
mod captured_table;
pub mod coverage;
#[cfg(feature = "async")]
mod deployed_tables;
pub mod doctor;
pub mod documents;
#[cfg(feature = "async")]
pub mod erasure;
#[cfg(feature = "async")]
pub mod evidence;
#[cfg(feature = "async")]
pub mod feed;
#[cfg(feature = "async")]
pub mod follow;
pub mod introspection;
pub mod json;
pub mod migrations;
pub mod models;
pub mod policy;
#[cfg(feature = "async")]
mod pooler_probe;
pub mod query;
#[cfg(feature = "async")]
pub mod restore;
#[cfg(feature = "async")]
pub mod retention;
#[cfg(feature = "async")]
pub mod saved_views;
pub mod schema;
#[cfg(feature = "async")]
pub mod time_travel;
#[cfg(feature = "async")]
mod transaction_state;

#[cfg(any(feature = "sync", feature = "async"))]
pub use audited_write::{AuditError, AuditedOutcome, AuditedWrite};
pub use models::{AuditAction, AuditChange, AuditTransaction, Op, RecordedActor, TimelineEntry};
pub use query::{
    Actions, AsOf, AsOfError, Correlation, CorrelationBundle, Cursor, DocumentAsOf, FieldHistory,
    History, Incident, IncidentBundle, InvalidQuery, Order, Page, PageSize, ReadError, RowAsOf,
    Scope, Timeline, Transactions,
};

#[cfg(feature = "async")]
pub use self::{
    audited_write::{audited, record_action},
    baseline::record_baseline,
    capture_start::capture_start,
    capture_status::{CaptureStatus, capture_status},
    coverage::{coverage, deployed_policies},
    deployed_tables::deployed_tables,
    doctor::doctor,
    introspection::{introspect, list_tables},
    query::count::count_changes,
    query::definition_changes::definition_changes,
    query::empty::explain_empty,
    query::gaps::capture_gaps,
    query::history_notes::history_notes,
    query::names::{recorded_actions, recorded_tables},
    query::nearest::nearest_changes,
    query::read::{
        actions, as_of, change, correlation, document_as_of, first_change, history, incident,
        key_columns, last_change, timeline, transaction, transactions,
    },
    query::records::{enrolments, removals, suspensions},
    query::summaries::transaction_summaries,
    query::table_completeness::table_completeness,
    query::timeline::with_children::history_with_children,
    query::typed_text::{resolve_key, resolve_value},
    query::volume::volume,
    query::volume_grid::volume_grid,
    query::volume_groups::volume_by,
    restore::{Restore, RestorePlan, restore_plan},
    retention::{
        audit_horizon, maintain_partitions, plan_archived_retention, plan_retention, purge,
        purge_with_progress, retention_run, retention_runs,
    },
    time_travel::{TimeTravel, time_travel, time_travel_first},
};
