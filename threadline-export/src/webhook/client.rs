//! The client that sends signed requests.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use super::address::{PrivateAddress, PublicResolver};
use super::retry_after::retry_after;
use super::{PrivateAddresses, WebhookSecret, WebhookTarget};

/// The time after which a request has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The media type of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentType {
    /// `application/json`: one JSON document.
    Json,
    /// `application/x-ndjson`: one JSON document a line.
    NdJson,
}

impl ContentType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
        }
    }
}

/// Sends signed requests to one receiver. Follows no redirects, uses no proxy, and reads the status and the header
/// `Retry-After` of the response, not its body.
///
/// ```no_run
/// use threadline_export::webhook::{ContentType, PrivateAddresses, WebhookClient, WebhookTarget};
///
/// # async fn example(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let target = WebhookTarget::parse("https://siem.example.com/in", PrivateAddresses::Refused)?;
/// let client = WebhookClient::new(target, secret.parse()?)?;
/// let status = client.send("msg_1", ContentType::Json, b"{}".to_vec()).await?;
/// assert!((200..300).contains(&status));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct WebhookClient {
    http: reqwest::Client,
    target: WebhookTarget,
    secret: WebhookSecret,
    timeout: Duration,
}

/// Why a request was not accepted. Messages have neither the URL nor the response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The TLS client could not be initialized, or the id is not a header value.
    #[error("the request cannot be made")]
    Request(#[source] reqwest::Error),
    /// The host name resolves to an address that is not public.
    #[error(
        "the host name of the receiver resolves to an address that is not public; allow private addresses to \
         use it"
    )]
    PrivateAddress,
    /// The receiver did not respond in time.
    #[error("the receiver did not respond in time")]
    Timeout,
    /// The connection failed or was closed before the response.
    #[error("the receiver cannot be reached")]
    Connection(#[source] reqwest::Error),
    /// The receiver responded with a status other than 2xx. Redirects are not followed.
    #[error("the receiver responded with status {status}")]
    Status {
        /// The status of the response.
        status: u16,
        /// The time to wait before the next request, by the header `Retry-After`: at most an hour.
        retry_after: Option<Duration>,
    },
}

impl WebhookError {
    /// The kind of the error, for logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::PrivateAddress => "private_address",
            Self::Timeout => "timeout",
            Self::Connection(_) => "connection",
            Self::Status { status, .. } => match status {
                300..400 => "redirect",
                400..500 => "client_error",
                _ => "server_error",
            },
        }
    }

    /// The time to wait before the next request, if the receiver asked for one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<reqwest::Error> for WebhookError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_builder() {
            return Self::Request(error);
        } else if error.is_timeout() {
            return Self::Timeout;
        }
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(source) = cause {
            if source.is::<PrivateAddress>() {
                return Self::PrivateAddress;
            }
            cause = source.source();
        }
        Self::Connection(error)
    }
}

impl WebhookClient {
    /// A client for a receiver.
    ///
    /// # Errors
    /// [`WebhookError::Request`] if TLS could not be initialized.
    pub fn new(target: WebhookTarget, secret: WebhookSecret) -> Result<Self, WebhookError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("threadline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .redirect(Policy::none())
            // A proxy would resolve the host name itself.
            .no_proxy();
        if target.private_addresses() == PrivateAddresses::Refused {
            builder = builder.dns_resolver(Arc::new(PublicResolver));
        }
        Ok(Self {
            http: builder.build()?,
            target,
            secret,
            timeout: REQUEST_TIMEOUT,
        })
    }

    /// Sets the time that a request takes at most, up to 30 seconds, which is the default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(REQUEST_TIMEOUT);
        self
    }

    /// The receiver.
    #[must_use]
    pub fn target(&self) -> &WebhookTarget {
        &self.target
    }

    /// Sends a body once, and returns the status, 2xx. The id has printable ASCII characters without `.`; a
    /// body that is sent again has the same id.
    ///
    /// # Errors
    /// [`WebhookError`]: the receiver may have processed the request, unless it responded with a status.
    pub async fn send(
        &self,
        id: &str,
        content_type: ContentType,
        body: Vec<u8>,
    ) -> Result<u16, WebhookError> {
        let timestamp = Utc::now().timestamp();
        let response = self
            .http
            .post(self.target.url().clone())
            .header(CONTENT_TYPE, content_type.as_str())
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.secret.sign(id, timestamp, &body))
            .timeout(self.timeout)
            .body(body)
            .send()
            .await?;
        let status = response.status();
        if status.is_success() {
            Ok(status.as_u16())
        } else {
            Err(WebhookError::Status {
                status: status.as_u16(),
                retry_after: retry_after(response.headers(), Utc::now()),
            })
        }
    }
}
