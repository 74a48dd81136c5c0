#![doc = include_str!("crate.md")]
#![cfg_attr(feature = "async", doc = include_str!("items.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;

pub use self::error::{Error, Result};

pub use threadline_core::action::{Action, ActionId, ActionName, ActionStatus};
pub use threadline_core::actor::{ActorRef, ActorType};
pub use threadline_core::context::{AuditContext, ContextId};
pub use threadline_core::row_key::RowKeyText;
pub use threadline_core::table::TableName;
pub use threadline_core::transaction::AuditTransactionId;
#[doc(inline)]
pub use threadline_core::{__action as action, __expected_gap as expected_gap};
pub use threadline_core::{Audited, telemetry};

#[doc(hidden)]
pub use threadline_core::__private;

/// Derives [`trait@Audited`]: registers the model's table and its redaction rules.
#[cfg(feature = "derive")]
pub use threadline_macros::Audited;

#[cfg(feature = "async")]
pub use threadline_diesel::capture_start::capture_start;
#[cfg(feature = "async")]
pub use threadline_diesel::coverage::coverage;
#[cfg(feature = "diesel")]
pub use threadline_diesel::{
    Actions, AsOf, AuditAction, AuditChange, AuditTransaction, Correlation, Cursor, DocumentAsOf,
    FieldHistory, History, Incident, Op, Order, Page, PageSize, ReadError, RowAsOf, Scope,
    Timeline, TimelineEntry, Transactions, blocking, doctor, documents, models, query, schema,
};
#[cfg(any(feature = "async", feature = "sync"))]
pub use threadline_diesel::{AuditError, AuditedOutcome, AuditedWrite};
#[cfg(feature = "async")]
pub use threadline_diesel::{
    CaptureStatus, Restore, RestorePlan, TimeTravel, actions, as_of, audit_horizon, audited,
    capture_gaps, capture_status, change, correlation, count_changes, definition_changes,
    deployed_policies, deployed_tables, document_as_of, enrolments, explain_empty, feed,
    first_change, follow, history, history_notes, history_with_children, incident, introspect,
    key_columns, last_change, list_tables, maintain_partitions, nearest_changes,
    plan_archived_retention, plan_retention, purge, purge_with_progress, record_action,
    record_baseline, recorded_actions, recorded_tables, removals, resolve_key, resolve_value,
    restore, restore_plan, retention_run, retention_runs, suspensions, time_travel,
    time_travel_first, timeline, transaction, transaction_summaries, transactions, volume,
    volume_by, volume_grid,
};

/// Actors, actions and the context of a write.
pub mod context {
    pub use threadline_core::action::*;
    pub use threadline_core::actor::*;
    pub use threadline_core::context::*;
    pub use threadline_core::transaction::*;
}

/// Audited tables: names, columns, types, row keys, and the registry of declared tables.
pub mod table {
    pub use threadline_core::column_type::*;
    pub use threadline_core::registry::*;
    pub use threadline_core::row_key::*;
    pub use threadline_core::table::*;
    #[cfg(feature = "diesel")]
    pub use threadline_diesel::introspection::*;
}

/// The SQL of the trail and of capture functions, as migrations.
pub mod install {
    pub use threadline_core::capture::*;
    pub use threadline_core::install::*;
    pub use threadline_core::replica::*;
    #[cfg(feature = "diesel")]
    pub use threadline_diesel::migrations::*;
}

/// Baselines: records of rows that existed before capture began.
#[cfg(feature = "diesel")]
pub mod baseline {
    pub use threadline_diesel::baseline::*;
    pub use threadline_diesel::capture_start::*;
}

/// Coverage: which tables are captured, by which policies, and findings about capture.
#[cfg(feature = "diesel")]
pub mod coverage {
    pub use threadline_core::expected_gap::*;
    pub use threadline_diesel::coverage::*;
    pub use threadline_diesel::policy::*;
}

/// Evidence: recorded results of checks of the audit system, and what they prove.
#[cfg(feature = "async")]
pub mod evidence {
    pub use threadline_diesel::evidence::*;
}

/// Retention: how long records are kept, and removal of expired ones.
pub mod retention {
    pub use threadline_core::retention::*;
    #[cfg(feature = "async")]
    pub use threadline_diesel::retention::*;
}

/// Erasure of a person.
#[cfg(feature = "async")]
pub use threadline_diesel::erasure;

/// Saved views: filters of a timeline under a name.
#[cfg(feature = "async")]
pub use threadline_diesel::saved_views;

/// Instants as people write them, in time zones.
#[cfg(feature = "async")]
pub use threadline_core::instant;

/// Exports of the trail: CSV, JSON, NDJSON, Parquet.
#[cfg(feature = "export")]
pub use threadline_export as export;

/// The operator console: an axum service to mount behind the host's sign-in.
#[cfg(feature = "surface")]
pub use threadline_surface as surface;

/// Context of requests and jobs: a tower layer, extractors, job arguments.
#[cfg(feature = "plug")]
pub use threadline_plug as plug;

/// The items that most applications import.
pub mod prelude {
    pub use threadline_core::__action as action;
    pub use threadline_core::action::Action;
    pub use threadline_core::actor::ActorRef;
    pub use threadline_core::context::{AuditContext, ContextId};

    #[cfg(feature = "derive")]
    pub use crate::Audited;
    #[cfg(any(feature = "async", feature = "sync"))]
    pub use threadline_diesel::{AuditError, AuditedOutcome, AuditedWrite};
    #[cfg(feature = "diesel")]
    pub use threadline_diesel::{History, Op, Timeline};
}

/// The Rust of the README and the guides, compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../guides/as-of.md")]
    struct AsOf;
    #[doc = include_str!("../guides/attribution.md")]
    struct Attribution;
    #[doc = include_str!("../guides/audited-attribute.md")]
    struct AuditedAttribute;
    #[cfg(feature = "jobs")]
    #[doc = include_str!("../guides/background-exports.md")]
    struct BackgroundExports;
    #[doc = include_str!("../guides/console.md")]
    struct Console;
    #[doc = include_str!("../guides/cookbook.md")]
    struct Cookbook;
    #[doc = include_str!("../guides/evidence.md")]
    struct Evidence;
    #[doc = include_str!("../guides/erasure.md")]
    struct Erasure;
    #[doc = include_str!("../guides/export.md")]
    struct Export;
    #[doc = include_str!("../guides/brownfield.md")]
    struct Brownfield;
    #[doc = include_str!("../guides/domain-reference.md")]
    struct DomainReference;
    #[doc = include_str!("../guides/feed.md")]
    struct Feed;
    #[doc = include_str!("../guides/investigate.md")]
    struct Investigate;
    #[doc = include_str!("../guides/pgbouncer.md")]
    struct PgBouncer;
    #[doc = include_str!("../guides/production-checklist.md")]
    struct ProductionChecklist;
    #[doc = include_str!("../guides/redaction.md")]
    struct Redaction;
    #[doc = include_str!("../guides/supported-tables.md")]
    struct SupportedTables;
    #[doc = include_str!("../guides/restore.md")]
    struct Restore;
    #[doc = include_str!("../guides/retention.md")]
    struct Retention;
    #[doc = include_str!("../guides/telemetry.md")]
    struct Telemetry;
    #[doc = include_str!("../README.md")]
    struct Readme;
}
