//! Everything about one database transaction.

use serde::Serialize;

use crate::change::{AuditAction, AuditChange, AuditTransaction};

/// The most changes an incident bundle shows.
pub const MAX_INCIDENT_CHANGES: i64 = 10_000;

/// One transaction with its actions and its changes, in the order they were captured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IncidentBundle {
    /// Who, when, in what context.
    pub transaction: AuditTransaction,
    /// What the application says it did, in order.
    pub actions: Vec<AuditAction>,
    /// What happened, in order.
    pub changes: Vec<AuditChange>,
    /// Whether there were more changes than [`MAX_INCIDENT_CHANGES`].
    pub truncated: bool,
}
