//! Every route in every lane.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use diesel_async::SimpleAsyncConnection;
use threadline_surface::{Limits, Route, SCREENS};

use crate::harness::{Answer, Lane, Site, Trail, block_on, builder};

/// The address of a route, with values for its parameters.
fn address(route: &Route) -> String {
    format!("/audit{}", route.path().replace("{name}", "none.css"))
}

async fn visit(site: &Site, route: &Route, lane: Lane) -> Answer {
    if route.method() == Method::POST {
        site.post(&address(route), lane, "").await
    } else {
        site.get(&address(route), lane).await
    }
}

#[test]
fn every_route_denies_every_lane_without_a_grant() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for route in SCREENS {
            for lane in Lane::ALL.into_iter().filter(|lane| lane.is_denied()) {
                let answer = visit(&site, route, lane).await;
                let expected = match lane {
                    Lane::SignIn if route.method() == Method::GET => StatusCode::SEE_OTHER,
                    Lane::SignIn => StatusCode::UNAUTHORIZED,
                    Lane::Hidden => StatusCode::NOT_FOUND,
                    _ => StatusCode::FORBIDDEN,
                };
                let what = format!("{} {} {lane:?}", route.method(), route.path());
                assert_eq!(answer.status, expected, "{what}");
                assert!(answer.text.len() < 40, "{what}: {}", answer.text);
                assert!(
                    answer.header("content-security-policy").contains("'none'"),
                    "{what}"
                );
            }
        }
    });
}

#[test]
fn every_route_answers_grants_and_refuses_missing_capabilities() {
    let trail = Trail::new();
    let (builder, _) = trail.background_builder();
    let site = Site::new(builder.build().unwrap());
    block_on(async {
        for route in SCREENS {
            for lane in [Lane::Admin, Lane::Support, Lane::Auditor, Lane::NoValues] {
                let answer = visit(&site, route, lane).await;
                let is_fine = matches!(answer.status.as_u16(), 200 | 303 | 308 | 404 | 422)
                    || lane != Lane::Admin && answer.status == StatusCode::FORBIDDEN;
                let what = format!("{} {} {lane:?}", route.method(), route.path());
                assert!(is_fine, "{what}: {}", answer.status);
            }
        }
    });
}

#[test]
fn unknown_paths_and_methods_are_authorized_and_not_found() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for lane in [Lane::Admin, Lane::Hidden] {
            let path = site.get("/audit/none", lane).await;
            let method = site.post("/audit/help", lane, "").await;
            assert_eq!(path.status, StatusCode::NOT_FOUND);
            assert_eq!(method.status, StatusCode::NOT_FOUND);
        }
        let denied = site.get("/audit/none", Lane::Forbidden).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn a_page_that_needs_the_database_says_503_with_a_reference_and_no_driver_text() {
    let url = "postgres://nobody:secret@127.0.0.1:1/none";
    let site = Site::new(builder(url).build().unwrap());
    block_on(async {
        let answer = site.get("/audit/changes?id=1", Lane::Admin).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!answer.header("retry-after").is_empty());
        assert!(answer.text.contains("Reference:"));
        for secret in ["secret", "127.0.0.1", "refused", "nobody"] {
            assert!(!answer.text.contains(secret), "{secret}");
        }
        let help = site.get("/audit/help", Lane::Admin).await;
        assert_eq!(
            help.status,
            StatusCode::OK,
            "pages without the database still work"
        );
    });
}

#[test]
fn a_statement_over_the_time_limit_is_too_broad() {
    let trail = Trail::new();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 100)");
    let id = trail.newest_change();
    let limits = Limits::default().statement_timeout(Duration::from_millis(200));
    let site = Site::new(trail.builder().limits(limits).build().unwrap());
    let answer = block_on(async {
        // Waiting for a lock counts as the time of a statement.
        let mut conn = trail.connect().await;
        conn.batch_execute("BEGIN; LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        site.get(&format!("/audit/changes?id={id}"), Lane::Admin)
            .await
    });
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.texts("h1"), ["Too broad"]);
}

#[test]
fn an_actor_with_more_requests_than_the_limit_gets_429_and_others_do_not() {
    let trail = Trail::new();
    let limits = Limits::default().requests(3);
    let builder = trail.recording_builder().limits(limits);
    let site = Site::new(builder.build().unwrap());
    block_on(async {
        for _ in 0..3 {
            let answer = site.get("/audit/actions", Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::OK);
        }
        let answer = site.get("/audit/parts/count", Lane::Admin).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
        assert!(answer.text.contains("more than 3 requests in 10 seconds"));
        let help = site.get("/audit/help", Lane::Admin).await;
        assert_eq!(help.status, StatusCode::OK, "pages that read nothing");
        let other = site.get("/audit/actions", Lane::Support).await;
        assert_eq!(other.status, StatusCode::OK);
    });
    let site = Site::new(trail.builder().limits(limits).build().unwrap());
    block_on(async {
        for _ in 0..5 {
            let answer = site.get("/audit/actions", Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::OK, "a host without actors");
        }
    });
}
