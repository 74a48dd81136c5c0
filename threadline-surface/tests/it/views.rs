//! Saved views: saving, sharing, running and removing them in the console.

use axum::http::StatusCode;

use crate::harness::{Lane, Site, Trail, block_on};

fn recording(trail: &Trail) -> Site {
    Site::new(trail.recording_builder().build().unwrap())
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The id of the view with a name.
fn id(trail: &Trail, name: &str) -> String {
    trail.query(&format!(
        "SELECT id::text FROM threadline.audit_saved_views WHERE name = '{name}'"
    ))
}

async fn save(site: &Site, lane: Lane, pairs: &[(&str, &str)]) {
    let answer = site.post("/audit/views", lane, &form(pairs)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(answer.header("location"), "/audit/views");
}

#[test]
fn the_timeline_saves_its_filters_with_the_relative_window() {
    let trail = Trail::new();
    let site = recording(&trail);
    block_on(async {
        let page = site
            .get(
                "/audit/timeline?op=delete&table=invoices&from=-24h",
                Lane::Support,
            )
            .await;
        let hidden = "form[action='/audit/views'] input[type=hidden]";
        let names = page.attributes(hidden, "name");
        let values = page.attributes(hidden, "value");
        assert_eq!(names, ["table", "op", "from"]);
        assert_eq!(values, ["public.invoices", "delete", "-24h"]);
        assert!(page.attributes("input[name=shared]", "name").is_empty());
        let mut pairs: Vec<_> = names.iter().zip(&values).collect();
        let name = ("name".to_owned(), "Deleted".to_owned());
        pairs.push((&name.0, &name.1));
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        save(&site, Lane::Support, &pairs).await;
        let list = site.get("/audit/views", Lane::Support).await;
        assert_eq!(list.texts("tbody td:first-child"), ["Deleted"]);
        let open = list.attributes("tbody td:first-child a", "href");
        let opened = site.get(&open[0], Lane::Support).await;
        assert_eq!(opened.status, StatusCode::SEE_OTHER);
        assert_eq!(
            opened.header("location"),
            "/audit/timeline?table=public.invoices&op=delete&from=-24h"
        );
        let start = site.get("/audit", Lane::Support).await;
        assert!(start.addresses().contains(&open[0]));
    });
}

#[test]
fn a_local_time_is_saved_as_an_instant_and_an_added_window_is_not_saved() {
    let trail = Trail::new();
    let site = recording(&trail);
    block_on(async {
        let added = site.get("/audit/timeline?op=delete", Lane::Admin).await;
        let hidden = "form[action='/audit/views'] input[type=hidden]";
        assert_eq!(added.attributes(hidden, "name"), ["op"]);
        save(
            &site,
            Lane::Admin,
            &[("name", "v"), ("from", "2026-01-31 12:00")],
        )
        .await;
    });
    let sql = "SELECT filters ->> 'from' FROM threadline.audit_saved_views";
    assert_eq!(trail.query(sql), "2026-01-31T12:00:00Z");
}

#[test]
fn a_shared_view_of_an_admin_shows_a_scoped_reader_only_their_scope() {
    let trail = Trail::new();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 100, 'horse')");
    trail.write("user:2", 8, "INSERT INTO invoices VALUES (2, 100, 'zebra')");
    let site = recording(&trail);
    block_on(async {
        save(
            &site,
            Lane::Admin,
            &[
                ("name", "inserts"),
                ("op", "insert"),
                ("table", "invoices"),
                ("shared", "true"),
            ],
        )
        .await;
        for (lane, changes) in [(Lane::Admin, 2), (Lane::Support, 1)] {
            let open = format!("/audit/views/open?id={}", id(&trail, "inserts"));
            let opened = site.get(&open, lane).await;
            let page = site.get(opened.header("location"), lane).await;
            let entries = page.attributes("a[href*='/changes?id=']", "href");
            let ids: std::collections::BTreeSet<_> = entries.into_iter().collect();
            assert_eq!(ids.len(), changes, "{lane:?}");
            assert_eq!(page.text.contains("zebra"), lane == Lane::Admin);
        }
        assert_eq!(
            trail.recorded(2).await,
            ["console.view ok", "console.view ok"]
        );
    });
    let sql = "SELECT string_agg(concat_ws(' ', actor, meta ->> 'step', meta -> 'filters' ->> 'op'), ';' ORDER BY order_id)
        FROM threadline.audit_actions WHERE name = 'console.view'";
    assert_eq!(
        trail.query(sql),
        "admin:admin saved insert;admin:support opened"
    );
}

#[test]
fn a_private_view_of_another_actor_is_not_found() {
    let trail = Trail::new();
    let site = recording(&trail);
    block_on(async {
        save(&site, Lane::Admin, &[("name", "mine"), ("op", "insert")]).await;
        let view = id(&trail, "mine");
        let open = format!("/audit/views/open?id={view}");
        let missing = "/audit/views/open?id=00000000-0000-4000-8000-000000000000";
        for address in [open.as_str(), missing] {
            let answer = site.get(address, Lane::Support).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{address}");
        }
        let removed = site
            .post(
                "/audit/views/remove",
                Lane::Support,
                &form(&[("id", &view)]),
            )
            .await;
        assert_eq!(removed.status, StatusCode::NOT_FOUND);
        let list = site.get("/audit/views", Lane::Support).await;
        assert!(!list.text.contains("mine"), "{}", list.text);
        let removed = site
            .post("/audit/views/remove", Lane::Admin, &form(&[("id", &view)]))
            .await;
        assert_eq!(removed.status, StatusCode::SEE_OTHER);
    });
    assert_eq!(
        trail.query("SELECT count(*)::text FROM threadline.audit_saved_views"),
        "0"
    );
}

#[test]
fn sharing_needs_its_capability_and_saving_a_name() {
    let trail = Trail::new();
    let site = recording(&trail);
    block_on(async {
        let shared = form(&[("name", "v"), ("shared", "true")]);
        let answer = site.post("/audit/views", Lane::Support, &shared).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        let unnamed = form(&[("op", "insert")]);
        let answer = site.post("/audit/views", Lane::Support, &unnamed).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.attributes("input[name=op]", "value"), ["insert"]);
        let control = form(&[("name", "a\u{7}b")]);
        let answer = site.post("/audit/views", Lane::Support, &control).await;
        assert_eq!(answer.texts("[role=alert]").len(), 1, "{}", answer.text);
        let wrong = form(&[("name", "v"), ("op", "drop")]);
        let answer = site.post("/audit/views", Lane::Support, &wrong).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn without_writers_or_an_actor_views_are_read_only() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let page = site.get("/audit/timeline?op=insert", Lane::Admin).await;
        assert!(
            page.attributes("form[action='/audit/views']", "action")
                .is_empty()
        );
        let answer = site.post("/audit/views", Lane::Admin, "name=v").await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn without_the_migration_pages_say_what_to_apply() {
    let trail = Trail::new();
    trail.run("DROP TABLE threadline.audit_saved_views");
    let site = recording(&trail);
    block_on(async {
        let list = site.get("/audit/views", Lane::Admin).await;
        assert_eq!(list.status, StatusCode::OK);
        assert!(list.text.contains("threadline_0002"), "{}", list.text);
        assert_eq!(site.get("/audit", Lane::Admin).await.status, StatusCode::OK);
    });
}
