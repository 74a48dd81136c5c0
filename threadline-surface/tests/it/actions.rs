//! The list of actions.

use axum::http::StatusCode;

use crate::harness::{HOSTILE, Lane, Trail, block_on};

fn trail_with_actions() -> Trail {
    let trail = Trail::new();
    trail.act(
        "user:1",
        r#"{"request_id": "req-7", "meta": {"tenant": 7}}"#,
        r#"{"name": "invoice.open", "category": "billing"}"#,
        "INSERT INTO invoices VALUES (1, 100), (2, 200)",
    );
    trail.act(
        "admin:rita",
        r#"{"on_behalf_of": {"type": "user", "id": "1"}}"#,
        r#"{"name": "invoice.refund", "status": "error", "reason": "limit", "comment": "over 100 EUR", "meta": {"n": 1.50}}"#,
        "SELECT 1",
    );
    trail
}

#[test]
fn actions_show_status_reason_and_what_they_changed() {
    let trail = trail_with_actions();
    let site = trail.site();
    let answer = block_on(site.get("/audit/actions", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    let entries = answer.texts(".entries > li");
    assert_eq!(entries.len(), 2);
    for part in [
        "error",
        "invoice.refund",
        "admin:rita",
        "for user:1",
        "reason limit",
        "over 100 EUR",
        "changed nothing",
        "1.50",
    ] {
        assert!(entries[0].contains(part), "{part}: {}", entries[0]);
    }
    for part in [
        "ok",
        "invoice.open",
        "invoices insert 2",
        "category billing",
        "request req-7",
    ] {
        assert!(entries[1].contains(part), "{part}: {}", entries[1]);
    }
}

#[test]
fn filters_are_those_of_the_command() {
    let trail = trail_with_actions();
    let site = trail.site();
    block_on(async {
        for (query, names) in [
            ("name=invoice.open", vec!["invoice.open"]),
            ("status=error", vec!["invoice.refund"]),
            ("category=billing", vec!["invoice.open"]),
            ("actor=admin:rita", vec!["invoice.refund"]),
            ("actor-type=user", vec!["invoice.open"]),
            ("on_behalf_of=user:1", vec!["invoice.refund"]),
            ("request=req-7", vec!["invoice.open"]),
            ("meta=%7B%22n%22%3A1.5%7D", vec!["invoice.refund"]),
            ("from=-1h&to=now", vec!["invoice.refund", "invoice.open"]),
            ("to=-1h", vec![]),
            ("name=invoice.opne", vec![]),
        ] {
            let answer = site
                .get(&format!("/audit/actions?{query}"), Lane::Admin)
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{query}");
            assert_eq!(answer.texts(".entries .table"), names, "{query}");
            assert_eq!(
                answer.texts(".empty").is_empty(),
                !names.is_empty(),
                "{query}"
            );
        }
        let misspelt = site
            .get("/audit/actions?name=invoice.opne", Lane::Admin)
            .await;
        assert!(
            misspelt
                .texts(".empty")
                .join(" ")
                .contains("similar: invoice.open")
        );
        let wrong = site.get("/audit/actions?status=failed", Lane::Admin).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
        let json = site
            .get("/audit/actions?status=error&format=json", Lane::Admin)
            .await;
        assert!(
            json.text.contains(r#""name":"invoice.refund""#),
            "{}",
            json.text
        );
    });
}

#[test]
fn pages_are_exact_in_both_directions_with_fixed_instants() {
    let trail = trail_with_actions();
    let site = trail.site();
    block_on(async {
        let first = site
            .get("/audit/actions?limit=1&from=-24h", Lane::Admin)
            .await;
        assert_eq!(first.texts(".entries .table"), ["invoice.refund"]);
        let older = first.attributes("a[rel=next]", "href").remove(0);
        assert!(!older.contains("from=-24h"), "{older}");
        let second = site.get(&older, Lane::Admin).await;
        assert_eq!(second.texts(".entries .table"), ["invoice.open"]);
        assert!(second.attributes("a[rel=next]", "href").is_empty());
        let newer = second.attributes("a[rel=prev]", "href").remove(0);
        let back = site.get(&newer, Lane::Admin).await;
        assert_eq!(back.texts(".entries .table"), ["invoice.refund"]);
        let foreign = site
            .get(&newer.replace("limit=1", "name=x"), Lane::Admin)
            .await;
        assert_eq!(foreign.status, StatusCode::BAD_REQUEST);
    });
}

#[test]
fn a_scope_and_the_capability_log_restrict_the_list() {
    let trail = trail_with_actions();
    let site = trail.site();
    trail.act(
        "admin:rita",
        r#"{"meta": {"tenant": 7}}"#,
        r#"{"name": "console.export", "category": "console"}"#,
        "INSERT INTO invoices VALUES (3, 1)",
    );
    block_on(async {
        let all = site.get("/audit/actions", Lane::Admin).await;
        assert_eq!(all.texts(".entries .table").len(), 3);
        let scoped = site.get("/audit/actions", Lane::Support).await;
        assert_eq!(scoped.texts(".entries .table"), ["invoice.open"]);
        let log = site
            .get("/audit/actions?category=console", Lane::Support)
            .await;
        assert_eq!(log.status, StatusCode::FORBIDDEN);
        let names = scoped.attributes("#action-names option", "value");
        assert!(!names.contains(&"invoice.refund".to_owned()), "{names:?}");
    });
}

#[test]
fn without_the_capability_log_no_explanation_and_no_id_shows_an_action_of_the_console() {
    let trail = trail_with_actions();
    let site = trail.site();
    trail.act(
        "admin:rita",
        "{}",
        r#"{"name": "console.export", "category": "console"}"#,
        "SELECT 1",
    );
    let id = trail.query("SELECT id FROM threadline.audit_actions WHERE category = 'console'");
    let empty = "/audit/actions?name=console.export&to=2020-01-01";
    let find = format!("/audit/find?q={id}");
    block_on(async {
        let answer = site.get(empty, Lane::Admin).await;
        assert!(answer.texts("main").join(" ").contains("after the window"));
        assert_eq!(
            site.get(&find, Lane::Admin).await.status,
            StatusCode::SEE_OTHER
        );

        let answer = site.get(empty, Lane::NoLog).await;
        assert!(!answer.texts("main").join(" ").contains("after the window"));
        let names = answer.attributes("#action-names option", "value");
        assert!(!names.contains(&"console.export".to_owned()), "{names:?}");
        assert_eq!(site.get(&find, Lane::NoLog).await.status, StatusCode::OK);
    });
}

#[test]
fn hostile_texts_are_text() {
    let trail = Trail::new();
    let site = trail.site();
    let text = serde_json::to_string(&HOSTILE).unwrap().replace('\'', "''");
    trail.act(
        "user:1",
        "{}",
        &format!(r#"{{"name": {text}, "category": {text}, "reason": {text}, "comment": {text}, "meta": {{"a": {text}}}}}"#),
        "SELECT 1",
    );
    let answer = block_on(site.get("/audit/actions", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.texts("main b, main script").is_empty());
    let addresses = answer.addresses();
    assert!(
        addresses
            .iter()
            .all(|one| one.starts_with("/audit") || one == "#main")
    );
}
