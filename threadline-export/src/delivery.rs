//! Delivery of the feed over HTTP: a consumer whose items are sent to a receiver as NDJSON, signed, at least
//! once and in order. `guides/feed.md` states the guarantees.

mod error;
mod request;
mod sender;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel_async::AsyncConnection;
use threadline_core::telemetry;
use threadline_diesel::feed::{self, BatchSize, ConsumerName, FeedError, LeaseTime, Leased};

pub use self::error::DeliveryError;
use self::request::Request;
use self::sender::{Patience, Sender, Verdict, in_transaction};
use crate::webhook::{WebhookClient, WebhookError};

/// The pause of [`Delivery::run`] when there are no items.
const IDLE: Duration = Duration::from_secs(2);

/// The pause before running transactions are checked again.
const RECHECK: Duration = Duration::from_millis(100);

/// How long [`Delivery::run_once`] waits for running transactions.
const WAIT_FOR_TRANSACTIONS: Duration = Duration::from_secs(2);

/// Whether values are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Values {
    /// Keys, metadata and the names of changed columns are sent. Values of rows and texts of the application
    /// (`comment`, `meta`) are null.
    #[default]
    Omit,
    /// Everything is sent.
    Send,
}

/// The pauses between attempts: the first one, doubled after each attempt up to a maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses from `initial` to `max`.
    #[must_use]
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The pause after a number of failed attempts.
    fn pause(self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.initial.saturating_mul(factor).min(self.max)
    }
}

impl Default for Backoff {
    /// One second to one minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60))
    }
}

/// The progress of a delivery.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum DeliveryProgress<'a> {
    /// The receiver accepted items.
    Sent {
        /// The number of items.
        items: usize,
        /// The status of the response.
        status: u16,
    },
    /// The receiver did not accept a request, which is sent again.
    Retry {
        /// The error.
        error: &'a WebhookError,
        /// The pause before the next attempt.
        pause: Duration,
    },
    /// The receiver refused an item, which was set aside.
    SetAside {
        /// The id of the change, or the `order_id` of the action.
        item_id: i64,
        /// The status of the response.
        status: u16,
    },
    /// Retention removed items that were not delivered.
    Removed {
        /// Items recorded before this instant may be missing.
        before: DateTime<Utc>,
    },
}

/// The result of [`Delivery::retry_failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retried {
    /// The number of items that the receiver accepted.
    pub delivered: usize,
    /// The number of items that it refused again.
    pub refused: usize,
    /// The number of items that are no longer in the trail.
    pub removed: usize,
}

/// Delivers the items of a consumer to a receiver.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection, secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_export::delivery::Delivery;
/// use threadline_export::webhook::{PrivateAddresses, WebhookClient, WebhookTarget};
///
/// let target = WebhookTarget::parse("https://siem.example.com/in", PrivateAddresses::Refused)?;
/// let client = WebhookClient::new(target, secret.parse()?)?;
/// let delivery = Delivery::new("siem".parse()?, client);
/// let items = delivery.run_once(conn, |progress| eprintln!("{progress:?}")).await?;
/// println!("delivered {items}");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Delivery {
    consumer: ConsumerName,
    client: WebhookClient,
    values: Values,
    batch_size: BatchSize,
    backoff: Backoff,
}

impl Delivery {
    /// A delivery of metadata to the receiver of a client.
    #[must_use]
    pub fn new(consumer: ConsumerName, client: WebhookClient) -> Self {
        Self {
            consumer,
            client,
            values: Values::default(),
            batch_size: BatchSize::default(),
            backoff: Backoff::default(),
        }
    }

    /// Sets whether values are sent.
    #[must_use]
    pub fn values(mut self, values: Values) -> Self {
        self.values = values;
        self
    }

    /// Sets the maximum number of items of a lease. A request has at most 512 KiB, unless it has one item.
    #[must_use]
    pub fn batch_size(mut self, size: BatchSize) -> Self {
        self.batch_size = size;
        self
    }

    /// Sets the pauses between attempts. A receiver that asks for a longer one by `Retry-After` gets it, up to an hour.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Delivers items until an error. While the receiver is not available, it waits and keeps its lease. Call it
    /// again after an error of the database.
    ///
    /// # Errors
    /// [`DeliveryError`], but not [`DeliveryError::Unavailable`].
    pub async fn run<C>(
        &self,
        conn: &mut C,
        report: impl FnMut(DeliveryProgress<'_>),
    ) -> Result<Infallible, DeliveryError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let mut sender = Sender::new(self, conn, Patience::Unlimited, report);
        loop {
            match self.deliver_batch(&mut sender).await? {
                Step::Delivered(_) => {}
                Step::Waiting | Step::LeaseLost => tokio::time::sleep(RECHECK).await,
                Step::Empty | Step::Held(_) => tokio::time::sleep(IDLE).await,
            }
        }
    }

    /// Delivers the items that are in the feed now, and returns their number. Gives up after ten attempts at a
    /// request if the receiver is not available.
    ///
    /// # Errors
    /// [`DeliveryError`]. Batches before the one that failed are delivered.
    pub async fn run_once<C>(
        &self,
        conn: &mut C,
        report: impl FnMut(DeliveryProgress<'_>),
    ) -> Result<usize, DeliveryError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let deadline = Instant::now() + WAIT_FOR_TRANSACTIONS;
        let mut sender = Sender::new(self, conn, Patience::Limited, report);
        let mut delivered = 0;
        loop {
            match self.deliver_batch(&mut sender).await? {
                Step::Delivered(items) => delivered += items,
                Step::LeaseLost => tokio::time::sleep(RECHECK).await,
                Step::Waiting if Instant::now() < deadline => tokio::time::sleep(RECHECK).await,
                Step::Waiting | Step::Empty => return Ok(delivered),
                Step::Held(until) => return Err(DeliveryError::Held(until)),
            }
        }
    }

    /// Sends the items that were set aside again, by id. Items after them were delivered before.
    ///
    /// # Errors
    /// [`DeliveryError`]. Items that were delivered before the error are no longer set aside.
    pub async fn retry_failed<C>(&self, conn: &mut C) -> Result<Retried, DeliveryError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let consumer = &self.consumer;
        let failures = in_transaction(conn, async |conn| {
            feed::delivery_failures(conn, consumer).await
        })
        .await?;
        let mut retried = Retried::default();
        for failure in failures {
            let id = failure.item_id;
            let found = in_transaction(conn, async |conn| feed::find_item(conn, id).await).await?;
            let verdict = match found {
                Some(item) => {
                    let request = Request::single(&item, self.values)?;
                    Some(self.send_set_aside(&request).await?)
                }
                None => None,
            };
            in_transaction(conn, async |conn| match verdict {
                Some(Verdict::Refused(status)) => {
                    feed::repeat_delivery_failure(conn, consumer, id, &error::code(status)).await
                }
                Some(Verdict::Accepted) | None => {
                    feed::remove_delivery_failure(conn, consumer, id).await
                }
            })
            .await?;
            match verdict {
                Some(Verdict::Accepted) => retried.delivered += 1,
                Some(Verdict::Refused(_)) => retried.refused += 1,
                None => retried.removed += 1,
            }
        }
        Ok(retried)
    }

    /// Sends a request once.
    async fn send_set_aside(&self, request: &Request) -> Result<Verdict, DeliveryError> {
        let Err(error) = sender::send(self, request).await else {
            return Ok(Verdict::Accepted);
        };
        match error::refusal(&error) {
            Some(status) => Ok(Verdict::Refused(status)),
            None if error::is_final(&error) => Err(DeliveryError::Stopped(error)),
            None => Err(DeliveryError::Unavailable(error)),
        }
    }

    /// Leases, sends and acknowledges one batch.
    async fn deliver_batch<C, R>(
        &self,
        sender: &mut Sender<'_, C, R>,
    ) -> Result<Step, DeliveryError>
    where
        C: AsyncConnection<Backend = Pg>,
        R: FnMut(DeliveryProgress<'_>),
    {
        let (consumer, size) = (&self.consumer, self.batch_size);
        let leased = in_transaction(sender.conn, async |conn| {
            feed::lease(conn, consumer, LeaseTime::default(), size).await
        });
        let batch = match leased.await? {
            Leased::Batch(batch) => batch,
            Leased::Waiting => return Ok(Step::Waiting),
            Leased::Held { until } => return Ok(Step::Held(until)),
            _ => return Ok(Step::Empty),
        };
        if let Some(before) = batch.removed_before {
            (sender.report)(DeliveryProgress::Removed { before });
        }
        match sender.deliver(&batch).await {
            Ok(()) => Ok(Step::Delivered(batch.items.len())),
            Err(DeliveryError::Feed(FeedError::LeaseLost(_))) => {
                telemetry::delivery_failed("lease_lost");
                Ok(Step::LeaseLost)
            }
            Err(error) => {
                let token = &batch.token;
                // The error of the delivery is more useful. The lease expires, if it is not released.
                let _ = in_transaction(sender.conn, async |conn| feed::release(conn, token).await)
                    .await;
                Err(error)
            }
        }
    }
}

/// The result of one step.
enum Step {
    Delivered(usize),
    Empty,
    Waiting,
    /// The items of the batch are leased again.
    LeaseLost,
    Held(Option<DateTime<Utc>>),
}
