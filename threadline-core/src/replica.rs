//! The SQL that replicates the trail to another PostgreSQL server by logical replication.

use crate::identifier::quote_literal;
use crate::storage::{STORAGE_SCHEMA, in_storage_schema};

/// The tables that are replicated: the records. The other tables have the state of one server's operations.
///
/// ```
/// use threadline_core::replica::REPLICATED_TABLES;
///
/// assert!(REPLICATED_TABLES.contains(&"audit_changes"));
/// assert!(!REPLICATED_TABLES.contains(&"audit_feed_consumers"));
/// ```
pub const REPLICATED_TABLES: &[&str] = &[
    "audit_changes",
    "audit_transactions",
    "audit_actions",
    "audit_key_changes",
    "audit_enrolments",
    "audit_suspensions",
    "audit_removals",
    "audit_evidence",
];

/// The script for the primary: a role, its grants and the publication.
///
/// ```
/// let sql = threadline_core::replica::primary_sql();
/// assert!(sql.contains("CREATE PUBLICATION threadline_trail FOR TABLE"));
/// ```
#[must_use]
pub fn primary_sql() -> String {
    let tables: Vec<_> = REPLICATED_TABLES
        .iter()
        .map(|table| format!("{STORAGE_SCHEMA}.{table}"))
        .collect();
    in_storage_schema(include_str!("../sql/replica/primary.sql"))
        .replace("@tables@", &tables.join(",\n    "))
}

/// The script for the replica: the subscription, which reaches the primary by a libpq connection string.
///
/// ```
/// let sql = threadline_core::replica::replica_sql("host=10.0.0.5 dbname=shop user=threadline_replica");
/// assert!(sql.contains("CONNECTION 'host=10.0.0.5 dbname=shop user=threadline_replica'"));
/// ```
#[must_use]
pub fn replica_sql(connection: &str) -> String {
    in_storage_schema(include_str!("../sql/replica/replica.sql"))
        .replace("@connection@", &quote_literal(connection))
}
