//! Signed HTTP requests, as [Standard Webhooks](https://www.standardwebhooks.com) describes them: the headers
//! `webhook-id`, `webhook-timestamp` and `webhook-signature` authenticate the body.

mod address;
mod client;
mod notifier;
mod retry_after;
mod secret;
mod target;

pub use client::{ContentType, WebhookClient, WebhookError};
pub use notifier::WebhookNotifier;
pub use secret::{InvalidWebhookSecret, WebhookSecret};
pub use target::{InvalidWebhookTarget, PrivateAddresses, WebhookTarget};
