//! Coverage: tables, findings, doctor, the badge, and what happens when the check fails.

use std::time::Duration;

use axum::http::StatusCode;

use crate::harness::{Answer, Lane, Site, Trail, block_on, builder};

const ODD: &str = r#""odd <schema>"."t ""<b>'1""#;

fn rows(answer: &Answer) -> Vec<String> {
    answer.texts("table tbody tr")
}

#[test]
fn every_table_is_listed_with_status_source_and_horizon() {
    let trail = Trail::new();
    trail.run("CREATE TABLE forgotten (id int PRIMARY KEY)");
    let site = trail.site();
    let answer = block_on(site.get("/audit/coverage", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.texts("h1"), ["Coverage"]);
    let rows = rows(&answer);
    assert!(
        rows[0].starts_with("public.forgottenneeds capture"),
        "those to capture first: {rows:?}"
    );
    let odd = rows.iter().find(|row| row.starts_with(ODD)).expect("a row");
    assert!(odd.contains("captured"), "{odd}");
    assert!(odd.contains("none recorded"), "{odd}");
    let text = answer.texts("main").join(" ");
    for part in [
        "2 of 3 tables captured",
        "threadline gen-triggers --tables public.forgotten",
        "expected_gap!(\"public.forgotten\", \"why\")",
        "threadline coverage",
        "server version",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(answer.texts("main b, main i").is_empty());
}

#[test]
fn findings_with_one_explanation_are_shown_once_with_all_tables_and_remedies() {
    let trail = Trail::new();
    let site = trail.site();
    for table in ["invoices", ODD] {
        trail.run(&format!("ALTER TABLE {table} DISABLE TRIGGER USER"));
    }
    let answer = block_on(site.get("/audit/coverage", Lane::Admin));
    let findings = answer.texts("[aria-label=Findings] > li");
    let disabled: Vec<_> = findings
        .iter()
        .filter(|one| one.contains("\"00_threadline_capture\" is disabled"))
        .collect();
    let [disabled] = disabled.as_slice() else {
        panic!("one entry: {findings:?}");
    };
    assert!(disabled.contains("public.invoices"), "{disabled}");
    assert!(disabled.contains(ODD), "{disabled}");
    assert_eq!(
        disabled.matches("trigger_disabled").count(),
        1,
        "{disabled}"
    );
    assert_eq!(disabled.matches("ALTER TABLE").count(), 2, "{disabled}");
}

#[test]
fn a_finding_has_its_explanation_and_a_remedy_to_copy() {
    let trail = Trail::new();
    trail.run(&format!("ALTER TABLE {ODD} DISABLE TRIGGER USER"));
    let site = trail.site();
    block_on(async {
        let answer = site.get("/audit/coverage", Lane::Admin).await;
        let findings = answer.texts("[aria-label=Findings] > li");
        let disabled = findings
            .iter()
            .find(|one| one.contains("trigger_disabled"))
            .expect("a finding");
        assert!(disabled.starts_with("error"), "{disabled}");
        assert!(disabled.contains("ENABLE TRIGGER"), "{disabled}");
        let copied = answer.attributes("[aria-label=Findings] button", "data-copy");
        assert!(copied.iter().any(|sql| sql.contains("ENABLE TRIGGER")));
        let errors = site
            .get("/audit/coverage?severity=warning", Lane::Admin)
            .await;
        assert!(!errors.text.contains("trigger_disabled"));
    });
}

#[test]
fn the_document_is_that_of_the_command_and_parameters_are_checked() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let answer = site
            .get("/audit/coverage?schema=public&format=json", Lane::Admin)
            .await;
        let document: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(document["summary"]["captured"], 1);
        assert_eq!(document["tables"][0]["name"], "invoices");
        for (query, field) in [
            ("schema=nonesuch", "schema"),
            ("severity=fatal", "severity"),
            ("since=soon", "since"),
        ] {
            let address = format!("/audit/coverage?{query}");
            let invalid = site.get(&address, Lane::Admin).await;
            assert_eq!(
                invalid.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{query}: {}",
                invalid.text
            );
            if field != "severity" {
                let error = invalid.texts(&format!("#field-{field}-error"));
                assert_eq!(error.len(), 1, "{query}");
            }
        }
    });
}

#[test]
fn the_badge_waits_for_nothing_and_shows_the_last_check() {
    let trail = Trail::new();
    trail.run("CREATE TABLE forgotten (id int PRIMARY KEY)");
    let site = trail.site();
    block_on(async {
        let first = site.get("/audit/help", Lane::Admin).await;
        assert_eq!(first.texts("header a.badge"), ["coverage"]);
        let part = first.attributes("header [data-fragment]", "data-fragment");
        assert_eq!(part, ["/audit/parts/coverage-badge"]);
        let badge = site.get(&part[0], Lane::Admin).await;
        assert!(badge.text.contains("2 captured"), "{}", badge.text);
        let second = site.get("/audit/help", Lane::Admin).await;
        assert_eq!(second.texts("header a.badge"), ["2 captured · 1 not"]);
        assert!(
            second
                .attributes("header [data-fragment]", "data-fragment")
                .is_empty()
        );
        let support = site.get("/audit/help", Lane::Support).await;
        assert!(support.texts("header a.badge").is_empty());
    });
}

#[test]
fn an_answer_is_shared_for_some_seconds() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let checked = async || {
            let page = site.get("/audit/coverage", Lane::Admin).await;
            page.attributes("main p.note time", "datetime").remove(0)
        };
        assert_eq!(checked().await, checked().await);
        let part = site.get("/audit/parts/coverage", Lane::Admin).await;
        assert!(part.text.starts_with("<p class=\"headline\""));
    });
}

#[test]
fn a_check_that_fails_leaves_the_last_answer_with_its_age() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        site.get("/audit/coverage", Lane::Admin).await;
        trail.run("ALTER SCHEMA threadline RENAME TO moved");
        tokio::time::sleep(Duration::from_secs(11)).await;
        for address in ["/audit/coverage", "/audit/parts/coverage"] {
            let answer = site.get(address, Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::OK, "{address}");
            assert!(answer.text.contains("the last check failed"), "{address}");
            assert!(answer.text.contains("public.invoices"), "{address}");
        }
    });
}

#[test]
fn a_database_that_is_away_is_503_without_a_last_answer() {
    let url = "postgres://nobody:secret@127.0.0.1:1/none";
    let site = Site::new(builder(url).build().unwrap());
    block_on(async {
        for address in ["/audit/coverage", "/audit/parts/coverage"] {
            let answer = site.get(address, Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{address}");
            assert!(!answer.text.contains("secret"));
        }
    });
}

#[test]
fn suspensions_of_capture_are_listed_with_their_transactions() {
    let trail = Trail::new();
    trail.write(
        "user:ops",
        7,
        "SELECT threadline.suspend_capture('{invoices}', 'backfill of <totals>')",
    );
    let site = trail.site();
    let answer = block_on(site.get("/audit/coverage", Lane::Admin));
    let listed = answer.texts("[aria-label=Suspensions] > li").join(" ");
    assert!(listed.contains("backfill of <totals>"), "{listed}");
    assert!(listed.contains("invoices"), "{listed}");
}

#[test]
fn a_scope_does_not_see_coverage() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for path in [
            "/audit/coverage",
            "/audit/parts/coverage",
            "/audit/parts/coverage-badge",
            "/audit/redaction",
            "/audit/retention",
            "/audit/retention/plan",
            "/audit/retention/runs",
        ] {
            let answer = site.get(path, Lane::Support).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(answer.text.contains("threadline "), "{path}: the command");
            assert!(!answer.text.contains("invoices"), "{path}");
        }
    });
}
