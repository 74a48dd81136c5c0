//! Sends the requests of a leased batch, and keeps the lease meanwhile.

use std::time::Duration;

use diesel::pg::Pg;
use diesel::result::Error;
use diesel_async::{AsyncConnection, TransactionManager};
use threadline_core::telemetry;
use threadline_diesel::feed::{self, Batch, LeaseTime, LeaseToken};

use super::error::{code, is_final, refusal};
use super::request::Request;
use super::{Delivery, DeliveryError, DeliveryProgress};
use crate::webhook::{ContentType, WebhookError};

/// The number of attempts before the items of a refused request are sent in parts, and before `run_once` gives
/// up.
const MAX_ATTEMPTS: u32 = 10;

/// The number of items refused one after another that ends a delivery.
const MAX_REFUSED_IN_A_ROW: u32 = 10;

/// The longest time without a renewal of the lease is a request or this pause.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);

/// The longest pause that a receiver can ask of a delivery that ends after some attempts.
const MAX_LIMITED_PAUSE: Duration = Duration::from_secs(60);

/// How long a sender waits for a receiver that is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Limited,
    Unlimited,
}

/// The receiver's response to the items of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Accepted,
    Refused(u16),
}

/// An item that the receiver refused.
struct RefusedItem {
    id: i64,
    attempts: i32,
    status: u16,
}

pub(super) struct Sender<'a, C, R> {
    delivery: &'a Delivery,
    pub(super) conn: &'a mut C,
    patience: Patience,
    pub(super) report: R,
    refused_in_a_row: u32,
}

impl<'a, C, R> Sender<'a, C, R>
where
    C: AsyncConnection<Backend = Pg>,
    R: FnMut(DeliveryProgress<'_>),
{
    pub(super) fn new(
        delivery: &'a Delivery,
        conn: &'a mut C,
        patience: Patience,
        report: R,
    ) -> Self {
        Self {
            delivery,
            conn,
            patience,
            report,
            refused_in_a_row: 0,
        }
    }

    /// Sends the items of a batch in order, and acknowledges them. Items that the receiver refuses are set aside.
    pub(super) async fn deliver(&mut self, batch: &Batch) -> Result<(), DeliveryError> {
        let token = &batch.token;
        let mut requests = Request::encode(&batch.items, self.delivery.values)?;
        requests.reverse();
        let mut refused = Vec::new();
        while let Some(mut request) = requests.pop() {
            let Verdict::Refused(status) = self.send(token, &mut request).await? else {
                self.refused_in_a_row = 0;
                continue;
            };
            if let Some(item_id) = request.single_id() {
                refused.push(self.refuse(item_id, request.refusals, status)?);
            } else {
                let [first, second] = request.halve();
                requests.extend([second, first]);
            }
        }
        // Items are set aside together with the acknowledgement: without it, all are sent again.
        in_transaction(self.conn, async |conn| {
            for item in &refused {
                let (attempts, code) = (item.attempts, code(item.status));
                feed::record_delivery_failure(conn, token, item.id, attempts, &code).await?;
            }
            feed::acknowledge(conn, token).await
        })
        .await?;
        for item in refused {
            telemetry::delivery_set_aside(item.status);
            (self.report)(DeliveryProgress::SetAside {
                item_id: item.id,
                status: item.status,
            });
        }
        Ok(())
    }

    /// Sends a request until the receiver accepts it, or has refused it too often.
    async fn send(
        &mut self,
        token: &LeaseToken,
        request: &mut Request,
    ) -> Result<Verdict, DeliveryError> {
        let mut failures = 0;
        loop {
            self.renew(token).await?;
            let error = match send(self.delivery, request).await {
                Ok(status) => {
                    let items = request.len();
                    (self.report)(DeliveryProgress::Sent { items, status });
                    return Ok(Verdict::Accepted);
                }
                Err(error) => error,
            };
            failures += 1;
            if is_final(&error) {
                return Err(DeliveryError::Stopped(error));
            }
            if let Some(status) = refusal(&error) {
                request.refusals += 1;
                let is_too_large = status == 413 && request.len() > 1;
                if request.refusals >= MAX_ATTEMPTS || is_too_large {
                    return Ok(Verdict::Refused(status));
                }
            } else if self.patience == Patience::Limited && failures >= MAX_ATTEMPTS {
                return Err(DeliveryError::Unavailable(error));
            }
            let mut pause = self.delivery.backoff.pause(failures);
            if refusal(&error).is_none() {
                let asked = error.retry_after().unwrap_or_default();
                pause = pause.max(match self.patience {
                    Patience::Limited => asked.min(MAX_LIMITED_PAUSE),
                    Patience::Unlimited => asked,
                });
            }
            (self.report)(DeliveryProgress::Retry {
                error: &error,
                pause,
            });
            self.wait(token, pause).await?;
        }
    }

    /// Notes that the receiver refused an item. Too many in a row are a fault of the receiver, not of the items.
    fn refuse(
        &mut self,
        id: i64,
        attempts: u32,
        status: u16,
    ) -> Result<RefusedItem, DeliveryError> {
        self.refused_in_a_row += 1;
        if self.refused_in_a_row >= MAX_REFUSED_IN_A_ROW {
            return Err(DeliveryError::AllRefused {
                count: self.refused_in_a_row,
                status,
            });
        }
        Ok(RefusedItem {
            id,
            attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
            status,
        })
    }

    /// Waits, and renews the lease meanwhile.
    async fn wait(&mut self, token: &LeaseToken, pause: Duration) -> Result<(), DeliveryError> {
        let mut rest = pause;
        while !rest.is_zero() {
            let part = rest.min(RENEWAL_INTERVAL);
            tokio::time::sleep(part).await;
            rest -= part;
            self.renew(token).await?;
        }
        Ok(())
    }

    async fn renew(&mut self, token: &LeaseToken) -> Result<(), DeliveryError> {
        in_transaction(self.conn, async |conn| {
            feed::renew(conn, token, LeaseTime::default()).await
        })
        .await?;
        Ok(())
    }
}

/// Sends a request once.
pub(super) async fn send(delivery: &Delivery, request: &Request) -> Result<u16, WebhookError> {
    let id = request.id(&delivery.consumer);
    let sent = delivery
        .client
        .send(&id, ContentType::NdJson, request.body())
        .await;
    match &sent {
        Ok(status) => telemetry::delivery_sent(request.len(), *status),
        Err(error) => telemetry::delivery_failed(error.kind()),
    }
    sent
}

/// Runs a step of the feed in a transaction of its own, as PgBouncer without prepared statements needs.
pub(super) async fn in_transaction<C, T, E>(
    conn: &mut C,
    step: impl AsyncFnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E>
where
    C: AsyncConnection<Backend = Pg>,
    E: From<Error>,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let outcome = step(conn).await;
    if outcome.is_ok() {
        C::TransactionManager::commit_transaction(conn).await?;
    } else {
        // The error of the step is more useful than one of the rollback.
        let _ = C::TransactionManager::rollback_transaction(conn).await;
    }
    outcome
}
