//! The base schema of the trail, as SQL.
//!
//! The files in `sql/install` in order, with the storage schema put in, as one statement
//! (`sql/install.sql`). Applied again, they bring an older installation up to date and change nothing
//! else.

use sha2::{Digest, Sha256};

use crate::identifier::quote_literal;
use crate::storage::in_storage_schema;

/// What makes one statement of the files.
const STATEMENT: &str = include_str!("../sql/install.sql");

/// What the other files are written with.
const BEGINNING: &str = include_str!("../sql/install/00_changing.sql");

const FILES: &[&str] = &[
    include_str!("../sql/install/01_storage.sql"),
    include_str!("../sql/install/02_partitions.sql"),
    include_str!("../sql/install/03_attribution.sql"),
    include_str!("../sql/install/04_actions.sql"),
    include_str!("../sql/install/05_session.sql"),
    include_str!("../sql/install/06_drift.sql"),
    include_str!("../sql/install/07_truncate.sql"),
    include_str!("../sql/install/08_enrolment.sql"),
    include_str!("../sql/install/09_guards.sql"),
    include_str!("../sql/install/10_history.sql"),
    include_str!("../sql/install/11_views.sql"),
    include_str!("../sql/install/12_images.sql"),
    include_str!("../sql/install/13_row_movement.sql"),
    include_str!("../sql/install/14_suspension.sql"),
    include_str!("../sql/install/15_removal.sql"),
    include_str!("../sql/install/16_coverage.sql"),
    include_str!("../sql/install/17_capture_findings.sql"),
    include_str!("../sql/install/18_trail_findings.sql"),
    include_str!("../sql/install/19_baseline.sql"),
    include_str!("../sql/install/20_baseline_runs.sql"),
    include_str!("../sql/install/21_feed.sql"),
    include_str!("../sql/install/22_partition_moves.sql"),
    include_str!("../sql/install/23_retention.sql"),
    include_str!("../sql/install/24_retention_removal.sql"),
    include_str!("../sql/install/25_retention_steps.sql"),
    include_str!("../sql/install/26_retention_plan.sql"),
    include_str!("../sql/install/27_as_of.sql"),
    include_str!("../sql/install/28_rewinding.sql"),
    include_str!("../sql/install/29_rewound_tables.sql"),
    include_str!("../sql/install/30_late_changes.sql"),
    include_str!("../sql/install/31_privileges.sql"),
];

/// The release whose trail this is.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The SQL that makes the trail: one statement, which is done as a whole or not at all, and under
/// which others go on writing.
#[must_use]
pub fn up_sql() -> String {
    let trail = format!(
        "{}\n-- What this installation is, for coverage to compare with later.\n\
         SELECT @threadline@.note_installation({}, {});",
        FILES.join("\n"),
        quote_literal(RELEASE),
        quote_literal(&digest()),
    );
    in_storage_schema(
        &STATEMENT
            .replacen("@beginning@", BEGINNING.trim_end(), 1)
            .replacen("@trail@", &trail, 1),
    )
}

/// What tells this release's trail from any other: a digest of its SQL. A database knows the one
/// it was installed from, and coverage says `install_outdated` where it is another.
#[must_use]
pub fn digest() -> String {
    hex::encode(Sha256::digest([BEGINNING, &FILES.join("\n")].join("\n")))
}

/// The SQL that removes the trail. It refuses while anything is recorded.
#[must_use]
pub fn down_sql() -> String {
    in_storage_schema(include_str!("../sql/uninstall.sql"))
}
