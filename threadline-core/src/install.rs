//! The base schema of the trail, as numbered migrations.
//!
//! A release that changes the schema adds a migration; released ones never change. The first migration is
//! the concatenation of the files in `sql/schema/0001`, and so on.

use crate::storage::in_storage_schema;

/// The number of the newest migration that this release knows.
pub const SCHEMA_VERSION: u32 = 3;

/// The oldest schema version that this release supports. Jobs, schedules, saved views, evidence and
/// delivery failures need 2; seals and erasure of a person 3.
pub const OLDEST_SCHEMA_VERSION: u32 = 1;

const FILES_0001: &[&str] = &[
    include_str!("../sql/schema/0001/01_tables.sql"),
    include_str!("../sql/schema/0001/02_partitions.sql"),
    include_str!("../sql/schema/0001/03_context.sql"),
    include_str!("../sql/schema/0001/04_actions.sql"),
    include_str!("../sql/schema/0001/05_capture.sql"),
    include_str!("../sql/schema/0001/06_fallback.sql"),
    include_str!("../sql/schema/0001/07_truncate.sql"),
    include_str!("../sql/schema/0001/08_enrolment.sql"),
    include_str!("../sql/schema/0001/09_guards.sql"),
    include_str!("../sql/schema/0001/10_suspension.sql"),
    include_str!("../sql/schema/0001/11_removal.sql"),
    include_str!("../sql/schema/0001/12_retention.sql"),
    include_str!("../sql/schema/0001/13_baseline.sql"),
    include_str!("../sql/schema/0001/14_history.sql"),
    include_str!("../sql/schema/0001/15_images.sql"),
    include_str!("../sql/schema/0001/16_views.sql"),
    include_str!("../sql/schema/0001/18_feed.sql"),
    include_str!("../sql/schema/0001/99_privileges.sql"),
];

const FILES_0002: &[&str] = &[
    include_str!("../sql/schema/0002/01_jobs.sql"),
    include_str!("../sql/schema/0002/02_saved_views.sql"),
    include_str!("../sql/schema/0002/03_evidence.sql"),
    include_str!("../sql/schema/0002/04_delivery.sql"),
    include_str!("../sql/schema/0002/99_privileges.sql"),
];

const FILES_0003: &[&str] = &[
    include_str!("../sql/schema/0003/00_begin.sql"),
    include_str!("../sql/schema/0003/01_seals.sql"),
    include_str!("../sql/schema/0003/02_erasure.sql"),
    include_str!("../sql/schema/0003/99_privileges.sql"),
];

/// A numbered migration of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaMigration {
    /// The number of the migration; [`SCHEMA_VERSION`] is the newest.
    pub version: u32,
    /// The SQL of `up.sql`. Execute it in one transaction.
    pub up: String,
    /// The SQL of `down.sql`.
    pub down: String,
}

/// The time that one partition of the trail covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionWidth {
    /// A calendar month in UTC; the default.
    Month,
    /// An ISO week in UTC.
    Week,
    /// A day in UTC.
    Day,
}

impl SchemaMigration {
    /// Sets the initial partition width, a setting of the first migration.
    #[must_use]
    pub fn with_partition_width(mut self, width: PartitionWidth) -> Self {
        let width = match width {
            PartitionWidth::Month => "month",
            PartitionWidth::Week => "week",
            PartitionWidth::Day => "day",
        };
        let setting = |width| format!("audit_settings (partition_width) VALUES ('{width}')");
        self.up = self.up.replace(&setting("month"), &setting(width));
        self
    }
}

/// All migrations, oldest first.
///
/// ```
/// for migration in threadline_core::install::migrations() {
///     println!("threadline_{:04}: {} bytes", migration.version, migration.up.len());
/// }
/// ```
#[must_use]
pub fn migrations() -> Vec<SchemaMigration> {
    let migration = |version, up: &[&str], down| SchemaMigration {
        version,
        up: in_storage_schema(&up.join("\n")),
        down: in_storage_schema(down),
    };
    vec![
        migration(1, FILES_0001, include_str!("../sql/uninstall.sql")),
        migration(2, FILES_0002, include_str!("../sql/uninstall_0002.sql")),
        migration(3, FILES_0003, include_str!("../sql/uninstall_0003.sql")),
    ]
}

/// All migrations as one script. Execute it in one transaction.
#[must_use]
pub fn up_sql() -> String {
    let scripts: Vec<_> = migrations()
        .into_iter()
        .map(|migration| migration.up)
        .collect();
    scripts.join("\n")
}

/// The SQL that drops the trail. It raises an error if changes or actions are recorded.
#[must_use]
pub fn down_sql() -> String {
    in_storage_schema(include_str!("../sql/uninstall.sql"))
}
