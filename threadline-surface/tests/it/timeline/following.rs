//! Following a timeline.

use std::time::{Duration, Instant};

use axum::http::header::IF_NONE_MATCH;
use axum::http::{Method, StatusCode};
use diesel_async::SimpleAsyncConnection;

use super::{invoices, page};
use crate::harness::{Answer, Lane, Site, Trail, block_on, request};

#[test]
fn following_starts_at_an_instant_and_never_loses_a_late_commit() {
    let trail = invoices(1);
    let site = trail.site();
    block_on(async {
        let mut late = trail.connect().await;
        late.batch_execute("BEGIN; INSERT INTO invoices VALUES (50, 1)")
            .await
            .unwrap();
        let start = site.get("/audit/timeline?follow=true", Lane::Admin).await;
        assert_eq!(start.status, StatusCode::SEE_OTHER);
        let followed = site.get(start.header("location"), Lane::Admin).await;
        assert_eq!(followed.status, StatusCode::OK);
        assert!(followed.text.contains(r#"http-equiv="refresh""#));
        let mut seen = followed.attributes("#changes [data-id]", "data-id");
        let mut poll = followed.attributes("#changes", "data-fragment").remove(0);
        for id in 60..63 {
            trail.write(
                "user:bob",
                7,
                &format!("INSERT INTO invoices VALUES ({id}, 1)"),
            );
            // A console of its own, which shares no look with the polls before.
            let part = trail.site().get(&poll, Lane::Admin).await;
            seen.extend(part.attributes("li[data-id]", "data-id"));
            poll = part.attributes("[data-next]", "data-next").remove(0);
        }
        late.batch_execute("COMMIT").await.unwrap();
        let part = trail.site().get(&poll, Lane::Admin).await;
        seen.extend(part.attributes("li[data-id]", "data-id"));
        seen.sort();
        seen.dedup();
        assert_eq!(
            seen.len(),
            5,
            "every change, also the one that committed last"
        );
    });
}

#[test]
fn a_list_followed_since_long_ago_compares_the_newest_changes_and_says_so() {
    let trail = Trail::new();
    trail.run("INSERT INTO invoices SELECT n, n FROM generate_series(1, 600) AS n");
    let site = trail.site();
    let old =
        trail.query("SELECT to_char(now() - interval '1 hour', 'YYYY-MM-DD\"T\"HH24:MI:SSOF')");
    let old = old.replace('+', "%2B");
    let followed = page(&site, &format!("/timeline?follow={old}"), Lane::Admin);
    assert!(followed.text.contains("More than 200 changes match"));
    let known = followed.attributes("#changes [data-id]", "data-id");
    assert_eq!(known.len(), 201);
    trail.run("INSERT INTO invoices VALUES (1000, 1)");
    let poll = followed.attributes("#changes", "data-fragment").remove(0);
    let part = block_on(site.get(&poll, Lane::Admin));
    let new = part.attributes("li[data-id]", "data-id");
    let new: Vec<_> = new.iter().filter(|id| !known.contains(id)).collect();
    assert_eq!(new, [&trail.newest_change().to_string()]);
}

/// The answer to a poll by a client that has an answer with an entity tag.
async fn poll(site: &Site, address: &str, lane: Lane, tag: &str) -> Answer {
    let mut request = request(Method::GET, address, lane, "");
    let tag = tag.parse().unwrap();
    request.headers_mut().insert(IF_NONE_MATCH, tag);
    site.send(request).await
}

#[test]
fn a_poll_without_new_changes_is_304_and_operators_share_one_look() {
    let trail = invoices(1);
    let site = trail.site();
    let ids = |answer: &Answer| answer.attributes("li[data-id]", "data-id");
    block_on(async {
        let address = "/audit/parts/follow?since=-1h";
        let first = poll(&site, address, Lane::Admin, "").await;
        assert_eq!(first.status, StatusCode::OK);
        let known = ids(&first);
        let next = first.attributes("[data-next]", "data-next").remove(0);
        let quiet = poll(&site, &next, Lane::Admin, first.header("etag")).await;
        assert_eq!(
            quiet.status,
            StatusCode::OK,
            "its entries are other ones: none"
        );
        assert!(ids(&quiet).is_empty());
        let again = poll(&site, &next, Lane::Admin, quiet.header("etag")).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert!(again.text.is_empty());

        for id in 60.. {
            assert!(id < 70, "every attempt took longer than a look is shared");
            // Older than any look that is shared.
            tokio::time::sleep(Duration::from_millis(2_600)).await;
            let started = Instant::now();
            let before = poll(&site, address, Lane::Admin, "").await;
            trail.write(
                "user:bob",
                8,
                &format!("INSERT INTO invoices VALUES ({id}, 777777)"),
            );
            let shared = poll(&site, address, Lane::Admin, "").await;
            let without_values = poll(&site, address, Lane::NoValues, "").await;
            if started.elapsed() < Duration::from_secs(2) {
                assert_eq!(ids(&shared), ids(&before), "one look");
                assert_eq!(ids(&without_values), ids(&before));
                break;
            }
        }
        let newest = trail.newest_change().to_string();
        let other = poll(&site, address, Lane::OneTable, "").await;
        assert!(
            ids(&other).contains(&newest),
            "a scope has looks of its own"
        );
        let tenant = poll(&site, address, Lane::Support, "").await;
        assert_eq!(ids(&tenant), known);

        tokio::time::sleep(Duration::from_millis(2_600)).await;
        let new = poll(&site, &next, Lane::Admin, quiet.header("etag")).await;
        assert_eq!(new.status, StatusCode::OK);
        assert!(ids(&new).contains(&newest));
        let hidden = poll(&site, &next, Lane::NoValues, "").await;
        assert_eq!(ids(&hidden), ids(&new));
        assert!(!hidden.text.contains("777777"), "{}", hidden.text);
    });
}
