//! Runs `feed deliver`.

use diesel_async::AsyncPgConnection;
use threadline_diesel::feed::{self, BatchSize, FeedError, Start};
use threadline_export::delivery::{Delivery, DeliveryError, DeliveryProgress, Values};
use threadline_export::webhook::{PrivateAddresses, WebhookClient, WebhookSecret, WebhookTarget};

use super::super::{could_not_run, show_rfc3339};
use super::DeliverArgs;
use crate::connection::{connect, transaction};
use crate::exit::{Answer, Failure};
use crate::output::text::{print_line, print_note};

pub(crate) async fn run(args: &DeliverArgs) -> Result<Answer, Failure> {
    let delivery = build(args)?;
    let mut conn = connect(&args.database).await?;
    if args.create {
        create(&mut conn, args).await?;
    }
    let delivered = if args.retry_failed {
        return retry_failed(&delivery, &mut conn).await;
    } else if args.once {
        delivery.run_once(&mut conn, show).await
    } else {
        delivery
            .run(&mut conn, show)
            .await
            .map(|never| match never {})
    };
    match delivered {
        Ok(items) => {
            print_line(&format!("delivered {items} changes and actions"))?;
            Ok(Answer::Fine)
        }
        Err(error) => end(error),
    }
}

fn build(args: &DeliverArgs) -> Result<Delivery, Failure> {
    let private = if args.allow_private_addresses {
        PrivateAddresses::Allowed
    } else {
        PrivateAddresses::Refused
    };
    let target = WebhookTarget::parse(&args.to, private).map_err(Failure::usage)?;
    let size = BatchSize::new(args.batch).map_err(Failure::usage)?;
    let secret = std::env::var(&args.secret_env).map_err(|_| {
        Failure::usage(format!(
            "there is no secret: set the environment variable {}, or name another one with --secret-env",
            args.secret_env
        ))
    })?;
    let secret: WebhookSecret = secret.trim().parse().map_err(Failure::usage)?;
    let client = WebhookClient::new(target, secret).map_err(anyhow::Error::new)?;
    let values = if args.values {
        Values::Send
    } else {
        Values::Omit
    };
    Ok(Delivery::new(args.consumer.clone(), client)
        .values(values)
        .batch_size(size))
}

async fn create(conn: &mut AsyncPgConnection, args: &DeliverArgs) -> Result<(), Failure> {
    let created = transaction(conn, async |conn| {
        feed::create(conn, &args.consumer, Start::Beginning).await
    });
    match created.await {
        Ok(()) | Err(FeedError::ConsumerExists(_)) => Ok(()),
        Err(error) => Err(could_not_run(error, "cannot create the consumer")),
    }
}

async fn retry_failed(
    delivery: &Delivery,
    conn: &mut AsyncPgConnection,
) -> Result<Answer, Failure> {
    match delivery.retry_failed(conn).await {
        Ok(retried) => {
            print_line(&format!(
                "delivered {}, refused again {}, no longer in the trail {}",
                retried.delivered, retried.refused, retried.removed
            ))?;
            Ok(Answer::fine_if(retried.refused == 0))
        }
        Err(error) => end(error),
    }
}

fn show(progress: DeliveryProgress<'_>) {
    match progress {
        DeliveryProgress::Retry { error, pause } => {
            print_note(&format!("{error}; next attempt in {} s", pause.as_secs()));
        }
        DeliveryProgress::SetAside { item_id, status } => print_note(&format!(
            "warning: the receiver refused {item_id} with status {status}; it was set aside"
        )),
        DeliveryProgress::Removed { before } => print_note(&format!(
            "warning: retention removed changes captured before {}; the receiver may not have all of them",
            show_rfc3339(before)
        )),
        _ => {}
    }
}

/// Errors about the receiver or the consumer are bad answers; others are failures.
fn end(error: DeliveryError) -> Result<Answer, Failure> {
    match error {
        DeliveryError::Feed(FeedError::NoSuchConsumer(_))
        | DeliveryError::Stopped(_)
        | DeliveryError::AllRefused { .. }
        | DeliveryError::Held(_) => {
            print_note(&format!("{:#}", anyhow::Error::new(error)));
            Ok(Answer::Bad)
        }
        error => Err(Failure::CouldNotRun(
            anyhow::Error::new(error).context("cannot deliver"),
        )),
    }
}
