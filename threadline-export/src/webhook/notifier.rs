//! Notifications over HTTP.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{ContentType, WebhookClient};
use crate::notify::{Notification, Notifier, NotifyError};

/// Sends notifications as signed JSON: `{"type", "timestamp", "data"}`. Each is sent once; its id is the
/// header `webhook-id`.
///
/// ```no_run
/// use threadline_export::webhook::{PrivateAddresses, WebhookClient, WebhookNotifier, WebhookTarget};
///
/// # fn example(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let target = WebhookTarget::parse("https://example.com/threadline", PrivateAddresses::Refused)?;
/// let notifier = WebhookNotifier::new(WebhookClient::new(target, secret.parse()?)?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct WebhookNotifier {
    client: WebhookClient,
}

impl WebhookNotifier {
    /// Sends notifications to the receiver of a client.
    #[must_use]
    pub fn new(client: WebhookClient) -> Self {
        Self { client }
    }
}

/// The body of a request.
#[derive(Serialize)]
struct Document<'a> {
    timestamp: DateTime<Utc>,
    #[serde(flatten)]
    notification: &'a Notification,
}

impl Notifier for WebhookNotifier {
    fn notify<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), NotifyError>> {
        async move {
            let document = Document {
                timestamp: Utc::now(),
                notification,
            };
            let body = serde_json::to_vec(&document).map_err(|error| NotifyError(error.into()))?;
            let sent = self
                .client
                .send(&notification.id(), ContentType::Json, body)
                .await;
            sent.map(drop).map_err(|error| NotifyError(error.into()))
        }
        .boxed()
    }
}
