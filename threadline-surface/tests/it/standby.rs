//! The console on a hot standby.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_surface::SCREENS;
use threadline_testdb::Cluster;

use crate::harness::{Lane, Site, Trail, block_on, builder, server};

/// A primary server with a trail, and its standby.
struct Replication {
    trail: Trail,
    standby: Cluster,
}

impl Replication {
    /// Starts a primary server, writes to its trail, and starts a standby from a copy of its data.
    fn start() -> Self {
        let primary = server().start().unwrap();
        let trail = Trail::on(&primary);
        trail.act(
            "user:alice",
            r#"{"correlation_id": "order-1", "request_id": "req-1"}"#,
            r#"{"name": "order.place"}"#,
            "INSERT INTO invoices VALUES (1, 100); UPDATE invoices SET total_cents = 200 WHERE id = 1",
        );
        let standby = server()
            .setting("primary_conninfo", trail.keyword_string())
            .start()
            .unwrap();
        standby.stop().unwrap();
        primary.stop().unwrap();
        copy_data(&primary.data_dir().unwrap(), &standby.data_dir().unwrap());
        primary.restart().unwrap();
        standby.restart().unwrap();
        let replication = Self { trail, standby };
        block_on(replication.wait());
        replication
    }

    /// Waits until the standby has replayed what the primary wrote.
    async fn wait(&self) {
        let written = self.trail.query("SELECT pg_current_wal_flush_lsn()");
        let is_replayed = format!("pg_last_wal_replay_lsn() >= '{written}'");
        let deadline = Instant::now() + Duration::from_secs(60);
        let url = self.standby.url_of(self.trail.name());
        let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
        loop {
            let query = diesel::select(sql::<Bool>(&is_replayed));
            if query.get_result(&mut conn).await.unwrap() {
                break;
            }
            assert!(Instant::now() < deadline, "{}", self.standby.log().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The console over the standby.
    fn site(&self) -> Site {
        let url = self.standby.url_of(self.trail.name());
        Site::new(builder(&url).build().unwrap())
    }
}

/// Replaces the data directory of a stopped server by that of another, with the settings of its own.
fn copy_data(from: &Path, to: &Path) {
    let settings = to.join("postgresql.conf");
    let own = std::fs::read(&settings).unwrap();
    std::fs::remove_dir_all(to).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
    std::fs::write(&settings, own).unwrap();
    std::fs::write(to.join("standby.signal"), "").unwrap();
}

#[test]
fn every_page_works_on_a_standby_and_following_says_what_it_may_miss() {
    let replication = Replication::start();
    let trail = &replication.trail;
    let site = replication.site();
    let change = trail.newest_change();
    let transaction = trail.query("SELECT max(id::text) FROM threadline.audit_transactions");
    block_on(async {
        for route in SCREENS {
            // A console without writers has no exports in the background.
            let needs_jobs = route.path().contains("/exports");
            if route.method() == Method::GET && !needs_jobs {
                let path = route.path().replace("{name}", "none.css");
                let answer = site.get(&format!("/audit{path}"), Lane::Admin).await;
                let is_fine = matches!(answer.status.as_u16(), 200 | 303 | 308 | 404 | 422);
                assert!(is_fine, "{path}: {} {}", answer.status, answer.text);
            }
        }
        for path in [
            "/find?q=no-such-thing",
            "/timeline",
            "/timeline?table=invoices&key=1",
            "/timeline?correlation=order-1&volume=true&count=true",
            "/parts/count",
            "/parts/volume",
            &format!("/changes?id={change}"),
            &format!("/transactions?id={transaction}&restore=true"),
            "/rows?table=invoices&key=1",
            "/rows?table=invoices&key=1&at=now",
            "/rows?table=invoices&key=1&a=-1h&b=now",
            "/rows?table=invoices&key=1&field=total_cents",
            "/actors?actor=user:alice",
            "/correlations?correlation=order-1",
            "/actions",
            "/coverage",
            "/parts/coverage",
            "/redaction",
            "/retention",
            "/retention/plan",
            "/retention/runs",
            "/download/changes.csv",
            "/download/changes.json",
            "/download/changes.ndjson",
            "/download/changes.parquet",
            &format!("/report?transaction={transaction}"),
            &format!("/report.json?transaction={transaction}"),
        ] {
            let answer = site.get(&format!("/audit{path}"), Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        }
        let start = site.get("/audit", Lane::Admin).await;
        for part in start.attributes("[data-fragment]", "data-fragment") {
            let mut answer = site.get(&part, Lane::Admin).await;
            // A number has a deadline, which a busy machine can miss.
            for _ in 0..20 {
                if answer.text.contains("unknown") {
                    answer = site.get(&part, Lane::Admin).await;
                }
            }
            assert_eq!(answer.status, StatusCode::OK, "{part}: {}", answer.text);
            assert!(!answer.text.contains("unknown"), "{part}: {}", answer.text);
        }
        let start = site.get("/audit/timeline?follow=true", Lane::Admin).await;
        let followed = site.get(start.header("location"), Lane::Admin).await;
        assert!(
            followed.text.contains("read from the primary server"),
            "{}",
            followed.text
        );
        let known = followed.attributes("#changes [data-id]", "data-id");
        trail.run("INSERT INTO invoices VALUES (2, 100)");
        replication.wait().await;
        let poll = followed.attributes("#changes", "data-fragment").remove(0);
        let part = site.get(&poll, Lane::Admin).await;
        let new = part.attributes("li[data-id]", "data-id");
        let new: Vec<_> = new.iter().filter(|id| !known.contains(id)).collect();
        assert_eq!(new, [&trail.newest_change().to_string()]);
    });
}
