//! The find box.

use axum::http::StatusCode;

use crate::harness::{Answer, HOSTILE, Lane, Site, Trail, block_on};

async fn find(site: &Site, text: &str, lane: Lane) -> Answer {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("q", text)
        .finish();
    site.get(&format!("/audit/find?{query}"), lane).await
}

#[test]
fn a_text_with_one_meaning_opens_its_page() {
    let trail = Trail::new();
    let site = trail.site();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    trail.act(
        "user:1",
        &format!(r#"{{"correlation_id": "{trace}", "job_id": "job 9", "request_id": "req-7"}}"#),
        r#"{"name": "invoice.open"}"#,
        "INSERT INTO invoices VALUES (1000, 100)",
    );
    trail.write(
        "user:1",
        7,
        r#"INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('x y', 1, 'n')"#,
    );
    trail.write("admin:olga", 7, "INSERT INTO invoices VALUES (1001, 1)");
    let transaction = trail.query("SELECT min(id::text) FROM threadline.audit_transactions");
    let change = trail.newest_change().to_string();
    block_on(async {
        for (text, address) in [
            (change.as_str(), format!("/audit/changes?id={change}")),
            (
                &transaction,
                format!("/audit/transactions?id={transaction}"),
            ),
            ("  user:1 ", "/audit/actors?actor=user%3A1".to_owned()),
            (
                &format!("00-{trace}-00f067aa0ba902b7-01"),
                format!("/audit/correlations?correlation={trace}"),
            ),
            ("olga", "/audit/actors?actor=admin%3Aolga".to_owned()),
            ("req-7", "/audit/timeline?request=req-7".to_owned()),
            ("job 9", "/audit/timeline?job=job+9".to_owned()),
            (
                "invoice.open",
                "/audit/actions?name=invoice.open".to_owned(),
            ),
            (
                "invoices",
                "/audit/timeline?table=public.invoices".to_owned(),
            ),
            (
                "invoices 1000",
                "/audit/rows?table=public.invoices&key=1000".to_owned(),
            ),
            (
                "2026-01-31 12:00",
                "/audit/timeline?from=2026-01-31T11%3A55%3A00Z&to=2026-01-31T12%3A05%3A00Z"
                    .to_owned(),
            ),
            (
                "https://ops.example/audit/help?a=b#c",
                "/audit/help?a=b".to_owned(),
            ),
            ("/audit/actions", "/audit/actions".to_owned()),
        ] {
            let answer = find(&site, text, Lane::Admin).await;
            assert_eq!(
                answer.status,
                StatusCode::SEE_OTHER,
                "{text}: {}",
                answer.texts("main").join(" ")
            );
            assert_eq!(answer.header("location"), address, "{text}");
        }
        let odd = r#""odd <schema>"."t ""<b>'1" ["x y", 1]"#;
        let answer = find(&site, odd, Lane::Admin).await;
        assert!(
            answer.header("location").starts_with("/audit/rows?table="),
            "{}",
            answer.text
        );
    });
}

#[test]
fn a_text_with_several_meanings_lists_them() {
    let trail = Trail::new();
    let site = trail.site();
    trail.act(
        "user:1",
        r#"{"correlation_id": "both", "request_id": "both"}"#,
        r#"{"name": "both"}"#,
        "INSERT INTO invoices VALUES (1, 100)",
    );
    let answer = block_on(find(&site, "both", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.attributes(".entries a", "href"),
        [
            "/audit/correlations?correlation=both",
            "/audit/timeline?request=both",
            "/audit/actions?name=both"
        ]
    );
}

#[test]
fn a_text_without_a_meaning_says_what_was_tried() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 100)");
    block_on(async {
        let answer = find(&site, "invoices none", Lane::Admin).await;
        assert_eq!(answer.status, StatusCode::OK);
        let text = answer.texts("main").join(" ");
        assert!(text.contains("is not a value of column id"), "{text}");
        let answer = find(&site, "user:2", Lane::Admin).await;
        let text = answer.texts(".empty").join(" ");
        assert!(text.contains("there are no records of user:2"), "{text}");
        let hostile = find(&site, HOSTILE, Lane::Admin).await;
        assert_eq!(hostile.status, StatusCode::OK);
        assert!(hostile.texts("main b, main script").is_empty());
        let control = find(&site, "a\0b", Lane::Admin).await;
        assert_eq!(control.status, StatusCode::UNPROCESSABLE_ENTITY);
        let form = site.get("/audit/find", Lane::Admin).await;
        assert!(form.texts("main").join(" ").contains("What to paste"));
    });
}

#[test]
fn nothing_of_another_tenant_is_found() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:7", 7, "INSERT INTO invoices VALUES (1, 100)");
    trail.act(
        "user:8",
        r#"{"correlation_id": "c-8", "request_id": "req-8", "job_id": "job-8", "meta": {"tenant": 8}}"#,
        r#"{"name": "secret.act"}"#,
        r#"INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('x', 8, 'n')"#,
    );
    let transaction = trail.query("SELECT max(id::text) FROM threadline.audit_transactions");
    let change = trail.newest_change().to_string();
    block_on(async {
        for text in [
            "user:8",
            "c-8",
            "req-8",
            "job-8",
            "secret.act",
            &transaction,
            &change,
            r#""odd <schema>"."t ""<b>'1""#,
            r#""odd <schema>"."t ""<b>'1" ["x", 8]"#,
        ] {
            let seen = find(&site, text, Lane::Admin).await;
            assert_eq!(seen.status, StatusCode::SEE_OTHER, "{text}");
            let hidden = find(&site, text, Lane::Support).await;
            assert_eq!(hidden.status, StatusCode::OK, "{text}");
            assert!(
                hidden.texts(".empty").join(" ").contains("Nothing found"),
                "{text}"
            );
        }
        let own = find(&site, "user:7", Lane::Support).await;
        assert_eq!(own.status, StatusCode::SEE_OTHER);
    });
}
