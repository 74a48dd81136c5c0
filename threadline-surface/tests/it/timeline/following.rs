//! Following a timeline.

use axum::http::StatusCode;
use diesel_async::SimpleAsyncConnection;

use super::{invoices, page};
use crate::harness::{Lane, Trail, block_on};

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
            let part = site.get(&poll, Lane::Admin).await;
            seen.extend(part.attributes("li[data-id]", "data-id"));
            poll = part.attributes("[data-next]", "data-next").remove(0);
        }
        late.batch_execute("COMMIT").await.unwrap();
        let part = site.get(&poll, Lane::Admin).await;
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
