#![cfg_attr(feature = "axum", doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "axum"),
    doc = "Request and job context for the Threadline audit trail. The README has an example with axum."
)]

#[cfg(feature = "actix")]
pub mod actix;
pub mod actor;
#[cfg(feature = "axum")]
pub mod axum;
mod context_rules;
pub mod extract;
mod forwarded;
mod header;
pub mod job;
pub mod layer;
pub mod middleware;
pub mod overrides;
pub mod remote;
mod traceparent;
mod trusted_proxies;

pub use extract::{Audit, MissingAuditContext};
pub use job::JobContext;
pub use layer::AuditContextLayer;
pub use overrides::ContextOverrides;
pub use remote::{RemoteAddr, TrustedProxies};
