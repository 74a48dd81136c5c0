//! Delivery of the feed over HTTP to receivers that fail in every way.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use diesel_async::AsyncPgConnection;
use sha2::{Digest, Sha256};
use threadline_diesel::doctor::{CheckStatus, Doctor};
use threadline_diesel::feed::{self, BatchSize, ConsumerName, Start};
use threadline_export::delivery::{
    Backoff, Delivery, DeliveryError, DeliveryProgress, Retried, Values,
};
use threadline_export::webhook::{
    PrivateAddresses, WebhookClient, WebhookError, WebhookNotifier, WebhookTarget,
};
use threadline_export::{Notification, Notifier};

use crate::harness::{Trail, block_on};
use crate::receiver::{Receiver, Reply};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn consumer() -> ConsumerName {
    "siem".parse().unwrap()
}

fn client(url: &str) -> WebhookClient {
    let target = WebhookTarget::parse(url, PrivateAddresses::Allowed).unwrap();
    WebhookClient::new(target, SECRET.parse().unwrap())
        .unwrap()
        .timeout(Duration::from_millis(500))
}

fn delivery(url: &str) -> Delivery {
    Delivery::new(consumer(), client(url)).backoff(Backoff::new(
        Duration::from_millis(1),
        Duration::from_millis(5),
    ))
}

/// A trail with a consumer and this number of changes.
fn trail(changes: u32) -> Trail {
    let trail = Trail::with_changes(changes);
    block_on(async {
        feed::create(&mut trail.connect().await, &consumer(), Start::Beginning).await
    })
    .unwrap();
    trail
}

fn ids(trail: &Trail) -> Vec<i64> {
    let ids =
        trail.query("SELECT string_agg(id::text, ',' ORDER BY id) FROM threadline.audit_changes");
    ids.split(',').map(|id| id.parse().unwrap()).collect()
}

fn set_aside(trail: &Trail) -> String {
    trail.query(
        "SELECT coalesce(string_agg(item_id || ' ' || last_error, ',' ORDER BY item_id), 'none')
         FROM threadline.audit_delivery_failures",
    )
}

fn deliver(trail: &Trail, delivery: &Delivery) -> Result<usize, DeliveryError> {
    block_on(async { delivery.run_once(&mut trail.connect().await, |_| {}).await })
}

/// HMAC-SHA256 as RFC 2104 defines it.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut padded = [0_u8; 64];
    padded[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(padded.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new()
        .chain_update(padded.map(|byte| byte ^ 0x5c))
        .chain_update(inner);
    outer.finalize().to_vec()
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn items_are_delivered_in_order_and_signed() {
    let trail = trail(25);
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let delivery = delivery(&receiver.url()).batch_size(BatchSize::new(10).unwrap());
    let delivered = block_on(async {
        let mut conn: AsyncPgConnection = trail.connect().await;
        is_send(delivery.run_once(&mut conn, |_| {})).await
    });
    assert_eq!(delivered.unwrap(), 25);
    assert_eq!(receiver.accepted_items(), ids(&trail));
    assert_eq!(receiver.received().len(), 3);
    let key = STANDARD.decode(&SECRET["whsec_".len()..]).unwrap();
    for request in receiver.received() {
        let header = |name: &str| &request.headers[name];
        let signed = format!(
            "{}.{}.{}",
            request.id(),
            header("webhook-timestamp"),
            request.body
        );
        let expected = format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes())));
        assert_eq!(header("webhook-signature"), &expected);
        assert_eq!(header("content-type"), "application/x-ndjson");
    }
    assert_eq!(deliver(&trail, &delivery).unwrap(), 0);
}

#[test]
fn values_are_sent_only_if_requested() {
    let trail = trail(1);
    trail.run(
        "BEGIN;
         SET LOCAL threadline.context = '{\"source\": \"web\", \"meta\": {\"note\": \"secret-meta\"}}';
         UPDATE notes SET body = 'secret-value';
         COMMIT",
    );
    let receiver = Receiver::start(|_, _| Reply::Status(204));
    deliver(&trail, &delivery(&receiver.url())).unwrap();
    trail.run("UPDATE threadline.audit_feed_consumers SET acknowledged_to = 0");
    deliver(&trail, &delivery(&receiver.url()).values(Values::Send)).unwrap();
    let [metadata, everything]: [_; 2] = receiver.received().try_into().unwrap();
    assert_eq!(metadata.items(), everything.items());
    for secret in ["secret-value", "secret-meta", "note 1"] {
        assert!(!metadata.body.contains(secret), "{}", metadata.body);
        assert!(everything.body.contains(secret), "{}", everything.body);
    }
    let update: serde_json::Value =
        serde_json::from_str(metadata.body.lines().nth(1).unwrap()).unwrap();
    assert_eq!(update["changed_fields"], serde_json::json!(["body"]));
    assert_eq!(update["change"]["table_pk"]["id"], "1");
    assert_eq!(update["transaction"]["source"], "web");
}

#[test]
fn a_failed_request_is_repeated_with_the_same_id() {
    for failure in [
        Reply::Status(500),
        Reply::Status(503),
        Reply::Status(429),
        Reply::Status(408),
        Reply::Status(401),
        Reply::Hang,
        Reply::Redirect,
        Reply::CloseInHeaders,
    ] {
        let trail = trail(3);
        let receiver = Receiver::start(move |_, before| match before {
            0 => failure,
            _ => Reply::Status(200),
        });
        assert_eq!(
            deliver(&trail, &delivery(&receiver.url())).unwrap(),
            3,
            "{failure:?}"
        );
        assert_eq!(receiver.accepted_items(), ids(&trail), "{failure:?}");
        let [first, second]: [_; 2] = receiver.received().try_into().unwrap();
        assert_eq!(first.id(), second.id());
        assert_eq!(first.body, second.body);
    }
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it() {
    let trail = trail(3);
    let receiver = Receiver::start(move |_, before| match before {
        0 => Reply::RetryAfter(1),
        1 => Reply::RetryAt(chrono::Utc::now() + chrono::TimeDelta::seconds(3)),
        _ => Reply::Status(200),
    });
    let mut pauses = Vec::new();
    let report = |progress: DeliveryProgress<'_>| {
        if let DeliveryProgress::Retry { pause, .. } = progress {
            pauses.push(pause);
        }
    };
    let started = Instant::now();
    let delivery = delivery(&receiver.url());
    let delivered =
        block_on(async { delivery.run_once(&mut trail.connect().await, report).await }).unwrap();
    assert_eq!(delivered, 3);
    let [by_seconds, by_date] = pauses[..] else {
        panic!("{pauses:?}");
    };
    assert_eq!(by_seconds, Duration::from_secs(1));
    assert!(by_date > Duration::from_secs(1) && by_date <= Duration::from_secs(3));
    assert!(started.elapsed() >= by_seconds + by_date);
}

#[test]
fn the_body_of_a_response_is_not_awaited() {
    for reply in [Reply::SlowBody, Reply::CloseInBody] {
        let trail = trail(3);
        let receiver = Receiver::start(move |_, _| reply);
        assert_eq!(deliver(&trail, &delivery(&receiver.url())).unwrap(), 3);
        assert_eq!(receiver.received().len(), 1, "{reply:?}");
    }
}

#[test]
fn a_receiver_that_is_not_available_loses_nothing() {
    let trail = trail(3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/");
    let error = deliver(&trail, &delivery(&url)).unwrap_err();
    assert!(
        matches!(
            error,
            DeliveryError::Unavailable(WebhookError::Connection(_))
        ),
        "{error:?}"
    );
    assert_eq!(set_aside(&trail), "none");

    // A delivery that runs while the receiver is started.
    let delivery = delivery(&url).batch_size(BatchSize::new(2).unwrap());
    let receiver = block_on(async {
        let mut conn = trail.connect().await;
        let mut attempts = 0;
        let mut receiver = None;
        let run = delivery.run(&mut conn, |_| {
            attempts += 1;
            if attempts == 20 {
                receiver = Some(Receiver::bind(address, |_, _| Reply::Status(200)));
            }
        });
        let ended = tokio::time::timeout(Duration::from_secs(2), run).await;
        assert!(ended.is_err(), "the delivery waits for more items");
        receiver.unwrap()
    });
    assert_eq!(receiver.accepted_items(), ids(&trail));
}

#[test]
fn a_receiver_that_is_gone_ends_the_delivery() {
    let trail = trail(3);
    let receiver = Receiver::start(|_, _| Reply::Status(410));
    let error = deliver(&trail, &delivery(&receiver.url())).unwrap_err();
    assert!(
        matches!(
            error,
            DeliveryError::Stopped(WebhookError::Status { status: 410, .. })
        ),
        "{error:?}"
    );
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(set_aside(&trail), "none");
}

#[test]
fn a_host_name_that_resolves_to_a_private_address_is_refused() {
    let trail = trail(1);
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let port = receiver.url().split([':', '/']).nth(4).unwrap().to_owned();
    let url = format!("https://localhost:{port}/?token=secret-token");
    let target = WebhookTarget::parse(&url, PrivateAddresses::Refused).unwrap();
    let client = WebhookClient::new(target, SECRET.parse().unwrap()).unwrap();
    let error = deliver(&trail, &Delivery::new(consumer(), client)).unwrap_err();
    assert!(
        matches!(error, DeliveryError::Stopped(WebhookError::PrivateAddress)),
        "{error:?}"
    );
    assert!(receiver.received().is_empty());
}

#[test]
fn errors_do_not_contain_the_path_of_the_receiver() {
    let trail = trail(1);
    let receiver = Receiver::start(|_, _| Reply::CloseInHeaders);
    let error = deliver(&trail, &delivery(&receiver.url())).unwrap_err();
    let shown = format!("{error:?}{:?}", delivery(&receiver.url()));
    assert!(
        !shown.contains("secret-token") && !shown.contains("MfKQ"),
        "{shown}"
    );
}

#[test]
fn a_refused_item_is_set_aside_and_can_be_sent_again() {
    let trail = trail(20);
    let all = ids(&trail);
    let refused = all[12];
    let is_repaired = Arc::new(Mutex::new(false));
    let receiver = Receiver::start({
        let is_repaired = Arc::clone(&is_repaired);
        move |request, _| {
            if request.items().contains(&refused) && !*is_repaired.lock().unwrap() {
                Reply::Status(422)
            } else {
                Reply::Status(200)
            }
        }
    });
    let delivery = delivery(&receiver.url());
    assert_eq!(deliver(&trail, &delivery).unwrap(), 20);
    let others: Vec<_> = all.iter().copied().filter(|id| *id != refused).collect();
    assert_eq!(receiver.accepted_items(), others);
    assert_eq!(set_aside(&trail), format!("{refused} http_422"));
    // Ten attempts at the whole batch, then its halves: 10, 5, 2, 1.
    assert!(
        receiver.received().len() < 20,
        "{}",
        receiver.received().len()
    );

    let doctor = || {
        block_on(async {
            let report =
                threadline_diesel::doctor(&mut trail.connect().await, &Doctor::new()).await;
            report.check("delivery_failures").unwrap().clone()
        })
    };
    assert_eq!(doctor().status, CheckStatus::Warn);
    assert!(doctor().text.contains("siem (1)"), "{}", doctor().text);
    assert_eq!(doctor().details[0]["first_id"], refused);

    let retry =
        || block_on(async { delivery.retry_failed(&mut trail.connect().await).await }).unwrap();
    let Retried {
        delivered,
        refused: again,
        ..
    } = retry();
    assert_eq!((delivered, again), (0, 1));
    *is_repaired.lock().unwrap() = true;
    assert_eq!(retry().delivered, 1);
    assert_eq!(receiver.accepted_items().last(), Some(&refused));
    assert_eq!(set_aside(&trail), "none");
    assert_eq!(doctor().status, CheckStatus::Ok);
}

#[test]
fn a_receiver_that_refuses_everything_ends_the_delivery() {
    let trail = trail(30);
    let receiver = Receiver::start(|_, _| Reply::Status(400));
    let error = deliver(&trail, &delivery(&receiver.url())).unwrap_err();
    assert!(
        matches!(
            error,
            DeliveryError::AllRefused {
                count: 10,
                status: 400
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        trail.query("SELECT count(*)::text FROM threadline.audit_delivery_failures"),
        "0"
    );
    // Nothing is acknowledged, so a repaired receiver gets all items.
    let repaired = Receiver::start(|_, _| Reply::Status(200));
    assert_eq!(deliver(&trail, &delivery(&repaired.url())).unwrap(), 30);
    assert_eq!(repaired.accepted_items(), ids(&trail));
}

#[test]
fn a_request_that_is_too_large_is_divided_at_once() {
    let trail = trail(8);
    let receiver = Receiver::start(|request, _| match request.items().len() {
        ..=2 => Reply::Status(200),
        _ => Reply::Status(413),
    });
    assert_eq!(deliver(&trail, &delivery(&receiver.url())).unwrap(), 8);
    assert_eq!(receiver.accepted_items(), ids(&trail));
    assert_eq!(receiver.received().len(), 7);
    assert_eq!(set_aside(&trail), "none");
}

#[test]
fn the_lease_is_renewed_before_every_attempt() {
    let trail = Arc::new(trail(1));
    let ends = Arc::new(Mutex::new(Vec::new()));
    let receiver = Receiver::start({
        let (trail, ends) = (Arc::clone(&trail), Arc::clone(&ends));
        move |_, before| {
            let end = trail.query("SELECT leased_until::text FROM threadline.audit_feed_consumers");
            ends.lock().unwrap().push(end);
            match before {
                0..4 => Reply::Status(500),
                _ => Reply::Status(200),
            }
        }
    });
    deliver(&trail, &delivery(&receiver.url())).unwrap();
    let ends = ends.lock().unwrap();
    assert_eq!(ends.len(), 5);
    assert!(
        ends.is_sorted_by(|before, after| before < after),
        "{ends:?}"
    );
}

#[test]
fn items_of_a_lost_lease_are_delivered_again_with_the_same_ids() {
    let trail = Arc::new(trail(4));
    let receiver = Receiver::start({
        let trail = Arc::clone(&trail);
        move |_, before| {
            if before == 0 {
                trail.run(
                    "UPDATE threadline.audit_feed_consumers SET leased_until = clock_timestamp()",
                );
            }
            Reply::Status(200)
        }
    });
    assert_eq!(deliver(&trail, &delivery(&receiver.url())).unwrap(), 4);
    let [first, second]: [_; 2] = receiver.received().try_into().unwrap();
    assert_eq!((first.id(), first.items()), (second.id(), second.items()));
}

#[test]
fn a_worker_without_rights_on_failures_keeps_the_items() {
    let trail = trail(2);
    let receiver = Receiver::start(|_, _| Reply::Status(400));
    let error = block_on(async {
        let mut conn = trail.connect().await;
        let role = "CREATE ROLE deliverer;
            GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO deliverer;
            GRANT UPDATE ON threadline.audit_feed_consumers TO deliverer;
            SET ROLE deliverer";
        diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, role)
            .await
            .unwrap();
        delivery(&receiver.url())
            .run_once(&mut conn, |_| {})
            .await
            .unwrap_err()
    });
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert_eq!(
        trail.query("SELECT acknowledged_to::text FROM threadline.audit_feed_consumers"),
        "0"
    );
}

#[test]
fn a_notification_is_sent_as_signed_json_with_a_stable_id() {
    let receiver = Receiver::start(|_, before| Reply::Status(if before == 0 { 200 } else { 500 }));
    let notifier = WebhookNotifier::new(client(&receiver.url()));
    let ready = Notification::ExportReady {
        job_id: uuid::Uuid::nil(),
        rows: 3,
        bytes: 100,
    };
    block_on(notifier.notify(&ready)).unwrap();
    assert!(block_on(notifier.notify(&ready)).is_err());
    let [first, second]: [_; 2] = receiver.received().try_into().unwrap();
    assert_eq!(
        first.id(),
        "export_ready_00000000-0000-0000-0000-000000000000"
    );
    assert_eq!(second.id(), first.id());
    let body: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["rows"]),
        (&"export.ready".into(), &3.into())
    );
    assert!(body["timestamp"].is_string());
}
