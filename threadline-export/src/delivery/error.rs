//! Errors of a delivery, and the meaning of a response.

use chrono::{DateTime, SecondsFormat, Utc};
use threadline_diesel::feed::FeedError;

use crate::webhook::WebhookError;

/// Why a delivery ended. Items that were not acknowledged are delivered again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The feed or the database returned an error.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// An item could not be written as JSON.
    #[error("cannot write an item as JSON")]
    Encode(#[from] serde_json::Error),
    /// The receiver was not available: in ten attempts, or in one for an item that was set aside.
    #[error("the receiver is not available; nothing is lost, deliver again later")]
    Unavailable(#[source] WebhookError),
    /// Another attempt cannot succeed: the receiver responded with 410 (gone), or its address is not allowed.
    #[error("the receiver cannot be used: check its URL")]
    Stopped(#[source] WebhookError),
    /// The receiver refused several items one after another, so the cause is not a single item.
    #[error(
        "the receiver refused {count} items one after another, the last with status {status}: check its secret and \
         what it accepts, then deliver again"
    )]
    AllRefused {
        /// The number of items.
        count: u32,
        /// The status of the last response.
        status: u16,
    },
    /// Another worker has the lease.
    #[error("another worker has the lease of the consumer{}", show_until(*.0))]
    Held(Option<DateTime<Utc>>),
}

impl From<diesel::result::Error> for DeliveryError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Feed(error.into())
    }
}

fn show_until(until: Option<DateTime<Utc>>) -> String {
    until.map_or_else(String::new, |until| {
        format!(
            " until {}",
            until.to_rfc3339_opts(SecondsFormat::Secs, true)
        )
    })
}

/// The status by which a receiver refuses the items of a request. Other responses, such as 401 or 404, are about
/// the receiver: every item would get the same one.
pub(super) fn refusal(error: &WebhookError) -> Option<u16> {
    match error {
        WebhookError::Status {
            status: status @ (400 | 409 | 413 | 415 | 422),
            ..
        } => Some(*status),
        _ => None,
    }
}

/// Whether another attempt cannot succeed.
pub(super) fn is_final(error: &WebhookError) -> bool {
    matches!(
        error,
        WebhookError::Request(_)
            | WebhookError::PrivateAddress
            | WebhookError::Status { status: 410, .. }
    )
}

/// The code of a status in `audit_delivery_failures`.
pub(super) fn code(status: u16) -> String {
    format!("http_{status}")
}
