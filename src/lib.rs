#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use threadline_core::{
    Audited, action, actor, capture, column_type, context, expected_gap, install, registry,
    row_key, storage, table, telemetry, transaction,
};

#[doc(hidden)]
pub use threadline_core::__private;

/// Derives [`trait@Audited`]: registers the model's table and its redaction rules.
#[cfg(feature = "derive")]
pub use threadline_macros::Audited;

#[cfg(any(feature = "async", feature = "sync"))]
pub use threadline_diesel::write;
#[cfg(feature = "diesel")]
pub use threadline_diesel::{
    actions, as_of, baseline, blocking, capture_start, change, correlation, coverage, diff, doctor,
    error, history, incident, introspection, json, key_columns, migrations, moments, page, policy,
    schema, scope, standing, terms, timeline, transactions,
};
#[cfg(feature = "async")]
pub use threadline_diesel::{feed, nonblocking, time_travel};

/// How long what is kept, and removing the rest.
pub mod retention {
    pub use threadline_core::retention::*;
    #[cfg(feature = "async")]
    pub use threadline_diesel::retention::*;
}

/// Getting the trail out: CSV, JSON, NDJSON, Parquet.
#[cfg(feature = "export")]
pub use threadline_export as export;

/// Request and job context: where it is known who does what.
#[cfg(feature = "plug")]
pub use threadline_plug as plug;

/// What most hosts need.
pub mod prelude {
    pub use threadline_core::action::Action;
    pub use threadline_core::actor::ActorRef;
    pub use threadline_core::context::{AuditContext, ContextId};

    #[cfg(feature = "derive")]
    pub use crate::Audited;
    #[cfg(any(feature = "async", feature = "sync"))]
    pub use threadline_diesel::write::{AuditError, AuditedOutcome, AuditedWrite};
    #[cfg(feature = "diesel")]
    pub use threadline_diesel::{change::Op, history::history, timeline::Timeline};
}

/// The guides' Rust, compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../guides/as-of.md")]
    struct AsOf;
    #[doc = include_str!("../guides/attribution.md")]
    struct Attribution;
    #[doc = include_str!("../guides/export.md")]
    struct Export;
    #[doc = include_str!("../guides/brownfield.md")]
    struct Brownfield;
    #[doc = include_str!("../guides/feed.md")]
    struct Feed;
    #[doc = include_str!("../guides/getting-started.md")]
    struct GettingStarted;
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
    #[doc = include_str!("../guides/retention.md")]
    struct Retention;
}
