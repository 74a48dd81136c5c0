//! The start page and health at a glance.

use axum::http::StatusCode;
use diesel_async::SimpleAsyncConnection;

use crate::harness::{Lane, Trail, block_on};

#[test]
fn start_has_the_find_box_forms_and_places_for_the_numbers() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let empty = site.get("/audit", Lane::Admin).await;
        assert_eq!(empty.status, StatusCode::OK);
        assert!(empty.texts(".empty").join(" ").contains("gen-triggers"));
        trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 100)");
        let page = site.get("/audit", Lane::Admin).await;
        assert!(page.texts(".empty").is_empty());
        let actions = page.attributes("main form", "action");
        for action in ["/audit/find", "/audit/correlations", "/audit/actors"] {
            assert!(actions.contains(&action.to_owned()), "{actions:?}");
        }
        let places = page.attributes(".health li", "data-fragment");
        assert_eq!(places.len(), 5);
        for place in places {
            let part = site.get(&place, Lane::Admin).await;
            assert_eq!(part.status, StatusCode::OK, "{place}");
            assert!(!part.text.contains("<html"), "{place}");
        }
    });
}

#[test]
fn without_the_script_the_numbers_are_part_of_the_page() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 100)");
    trail.run("INSERT INTO invoices VALUES (2, 100)");
    block_on(async {
        // The check of coverage that the page shows; on a busy machine a new one takes longer than its deadline.
        site.get("/audit/coverage", Lane::Admin).await;
        let page = site.get("/audit?health=true", Lane::Admin).await;
        let numbers = page.texts(".health li");
        assert!(
            numbers[0].starts_with("Captured tables 2 of 2 Findings"),
            "{numbers:?}"
        );
        assert_eq!(
            numbers[1..],
            [
                "Unattributed today 1",
                "Last purge never",
                "Evidence none",
                "Feed lag no consumers"
            ]
        );
        let scoped = site.get("/audit?health=true", Lane::Support).await;
        assert_eq!(scoped.texts(".health li"), ["Unattributed today 0"]);
        let refused = site
            .get("/audit/parts/health?number=coverage", Lane::Support)
            .await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn a_number_that_takes_too_long_is_unknown_and_the_others_are_shown() {
    let trail = Trail::new();
    let site = trail.site();
    let numbers = block_on(async {
        let mut conn = trail.connect().await;
        conn.batch_execute(
            "BEGIN; LOCK TABLE threadline.audit_retention_runs IN ACCESS EXCLUSIVE MODE",
        )
        .await
        .unwrap();
        let page = site.get("/audit?health=true", Lane::Admin).await;
        assert_eq!(page.status, StatusCode::OK);
        page.texts(".health li")
    });
    assert_eq!(
        numbers[1..],
        [
            "Unattributed today 0",
            "Last purge unknown",
            "Evidence none",
            "Feed lag no consumers"
        ]
    );
}
