//! The page of a correlation.

use axum::http::StatusCode;

use crate::harness::{Lane, Trail, block_on};

fn trail_of_an_order() -> Trail {
    let trail = Trail::new();
    trail.act(
        "user:1",
        r#"{"correlation_id": "order-1", "request_id": "req-1", "meta": {"tenant": 7}}"#,
        r#"{"name": "order.place"}"#,
        "INSERT INTO invoices VALUES (1, 100)",
    );
    trail.act(
        "job:mailer",
        r#"{"correlation_id": "order-1", "job_id": "job-1", "meta": {"tenant": 8}}"#,
        r#"{"name": "order.bill", "status": "error"}"#,
        "INSERT INTO invoices VALUES (2, 777777)",
    );
    trail
}

#[test]
fn a_correlation_is_on_one_clock_with_its_requests_and_jobs() {
    let trail = trail_of_an_order();
    let site = trail.site();
    let answer = block_on(site.get("/audit/correlations?correlation=order-1", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    let lanes = answer.texts("table tbody tr");
    assert_eq!(lanes.len(), 2);
    assert!(
        lanes[0].contains("job-1") && lanes[1].contains("req-1"),
        "{lanes:?}"
    );
    assert_eq!(answer.texts(".entries > li").len(), 6);
    let instants = answer.attributes(".entries > li > .line time", "datetime");
    let mut sorted = instants.clone();
    sorted
        .sort_by_key(|text| std::cmp::Reverse(chrono::DateTime::parse_from_rfc3339(text).unwrap()));
    assert_eq!(instants, sorted);
    let text = answer.texts(".headline").join(" ");
    assert!(
        text.contains("2 transactions, 2 actions, 2 changes"),
        "{text}"
    );
    let note = answer.texts(".completeness").join(" ");
    assert!(
        note.starts_with("Changes of all 2 tables are known since"),
        "{note}"
    );
}

#[test]
fn lists_that_are_cut_are_merged_as_far_as_all_are_complete() {
    let trail = trail_of_an_order();
    let site = trail.site();
    let address = "/audit/correlations?correlation=order-1&limit=1";
    let answer = block_on(site.get(address, Lane::Admin));
    let text = answer.texts(".headline").join(" ");
    assert!(text.contains("1+ transactions"), "{text}");
    assert!(answer.texts(".entries > li").len() <= 3);
    assert!(
        answer
            .texts("main")
            .join(" ")
            .contains("There are older entries")
    );
}

#[test]
fn a_scope_hides_what_is_not_of_its_tenant() {
    let trail = trail_of_an_order();
    let site = trail.site();
    block_on(async {
        for address in [
            "/audit/correlations?correlation=order-1",
            "/audit/correlations?correlation=order-1&format=json",
        ] {
            let answer = site.get(address, Lane::Support).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.text.contains("order.place"), "{}", answer.text);
            for hidden in ["777777", "job-1", "mailer", "order.bill"] {
                assert!(!answer.text.contains(hidden), "{address}: {hidden}");
            }
        }
        let page = site
            .get("/audit/correlations?correlation=order-1", Lane::NoValues)
            .await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.text.contains("777777"));
        let json = site
            .get(
                "/audit/correlations?correlation=order-1&format=json",
                Lane::NoValues,
            )
            .await;
        assert_eq!(json.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn an_unknown_correlation_says_which_are_similar() {
    let trail = trail_of_an_order();
    let site = trail.site();
    block_on(async {
        let address = "/audit/correlations?correlation=ordre-1";
        let answer = site.get(address, Lane::Admin).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(
            answer
                .texts(".empty")
                .join(" ")
                .contains("similar: order-1")
        );
        let scoped = site.get(address, Lane::Support).await;
        assert!(!scoped.text.contains("order-1\""));
        assert!(!scoped.texts(".empty").join(" ").contains("similar"));
        let missing = site.get("/audit/correlations", Lane::Admin).await;
        assert_eq!(missing.attributes("main input", "name"), ["correlation"]);
    });
}
