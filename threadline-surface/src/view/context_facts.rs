//! The context of a transaction: what the application claims and what PostgreSQL knows.

use maud::html;
use threadline_diesel::AuditTransaction;

use super::facts::Fact;
use super::id::{copied, correlation_id};
use crate::request::GrantedRequest;

/// The facts that the application claims: request, correlation, job, source and its own fields.
pub(crate) fn claimed_facts(request: &GrantedRequest, transaction: &AuditTransaction) -> Vec<Fact> {
    let of = |text: &Option<String>| text.as_deref().map(copied);
    let context = &transaction.context;
    let correlation = transaction.correlation_id.as_deref();
    vec![
        Fact::new("Request", of(&transaction.request_id)),
        Fact::new(
            "Correlation",
            correlation.map(|id| correlation_id(request, id)),
        ),
        Fact::new("Job", of(&transaction.job_id)),
        Fact::new("Source", of(&context.source)),
        Fact::new("Remote address", of(&context.remote_addr)),
        Fact::new(
            "Own fields",
            (context.meta.as_ref()).map(|meta| html! { code { bdi { (meta) } } }),
        ),
        Fact::new("Invalid context", of(&context.context_error)),
    ]
}

/// The facts that PostgreSQL knows of the session.
pub(crate) fn known_facts(transaction: &AuditTransaction) -> Vec<Fact> {
    let of = |text: Option<String>| text.map(|text| copied(&text));
    vec![
        Fact::new("Database user", of(Some(transaction.db_user.clone()))),
        Fact::new("Application name", of(transaction.application_name.clone())),
        Fact::new(
            "Client address",
            of(transaction.client_addr.map(|addr| addr.to_string())),
        ),
        Fact::new(
            "Backend process",
            of(Some(transaction.backend_pid.to_string())),
        ),
        Fact::new("xid", of(Some(transaction.xid().to_string()))),
    ]
}
