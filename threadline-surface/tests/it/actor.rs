//! The page of an actor.

use axum::http::StatusCode;

use crate::harness::{Lane, Trail, block_on};

fn trail_of_alice() -> Trail {
    let trail = Trail::new();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices VALUES (1, 100), (2, 200); UPDATE invoices SET total_cents = 4321 WHERE id = 1",
    );
    trail.write("user:alice", 8, "INSERT INTO invoices VALUES (3, 777777)");
    trail.act(
        "admin:rita",
        r#"{"on_behalf_of": {"type": "user", "id": "alice"}}"#,
        r#"{"name": "invoice.fix"}"#,
        "DELETE FROM invoices WHERE id = 2",
    );
    trail
}

#[test]
fn an_actor_has_transactions_changes_actions_and_what_was_done_on_their_behalf() {
    let trail = trail_of_alice();
    let site = trail.site();
    block_on(async {
        let of = async |query: &str| {
            let address = format!("/audit/actors?{query}");
            let answer = site.get(&address, Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::OK, "{query}");
            answer.texts(".entries > li")
        };
        let transactions = of("actor=user:alice").await;
        assert_eq!(transactions.len(), 2);
        assert!(
            transactions[1].contains("invoices insert 2"),
            "{transactions:?}"
        );
        assert!(transactions[1].contains("update 1"), "{transactions:?}");
        assert!(
            transactions[1].contains("request req-7"),
            "{transactions:?}"
        );
        assert_eq!(of("actor=user:alice&list=changes").await.len(), 4);
        assert_eq!(of("actor=user:alice&list=behalf").await.len(), 1);
        let actions = of("actor=admin:rita&list=actions").await;
        assert!(actions[0].contains("invoice.fix"), "{actions:?}");
        assert!(actions[0].contains("for user:alice"), "{actions:?}");
        let pages = of("actor=user:alice&limit=1").await;
        assert_eq!(pages.len(), 1);
    });
}

#[test]
fn an_actor_without_records_differs_from_one_in_another_window_or_list() {
    let trail = trail_of_alice();
    let site = trail.site();
    block_on(async {
        for (query, expected) in [
            ("actor=user:alice&to=2026-01-01", "Nothing in this window"),
            (
                "actor=user:alice&list=actions",
                "Nothing in this list, at any time",
            ),
            ("actor=user:alcie", "No records of this actor"),
            ("actor=user:alcie", "Similar actors:user:alice"),
        ] {
            for lane in [Lane::Admin, Lane::Support] {
                if lane == Lane::Support && expected.contains("Similar") {
                    continue;
                }
                let address = format!("/audit/actors?{query}");
                let answer = site.get(&address, lane).await;
                let text = answer.texts(".empty").join(" ");
                assert!(text.contains(expected), "{query} {lane:?}: {text}");
            }
        }
        let scoped = site
            .get("/audit/actors?actor=user:alcie", Lane::Support)
            .await;
        assert!(
            !scoped.text.contains("user:alice"),
            "no suggestion under a scope"
        );
    });
}

#[test]
fn lists_of_changes_have_a_completeness_note_and_actions_have_none() {
    let trail = trail_of_alice();
    let site = trail.site();
    block_on(async {
        for (query, expected) in [
            (
                "actor=user:alice",
                "Changes of all 2 tables are known since",
            ),
            ("actor=user:alice&list=behalf", "Changes of all 2 tables"),
            ("actor=user:alcie", "Changes of all 2 tables"),
            (
                "actor=user:alice&from=-24h",
                "2 of 2 tables are not known from the start of the window",
            ),
            ("actor=user:alice&list=actions", ""),
        ] {
            let address = format!("/audit/actors?{query}");
            let answer = site.get(&address, Lane::Admin).await;
            let note = answer.texts(".completeness").join(" ");
            assert!(note.starts_with(expected), "{query}: {note}");
            assert_eq!(note.is_empty(), expected.is_empty(), "{query}: {note}");
        }
    });
}

#[test]
fn a_scope_hides_the_transactions_of_other_tenants_and_a_grant_may_hide_values() {
    let trail = trail_of_alice();
    let site = trail.site();
    block_on(async {
        for list in ["transactions", "changes", "actions", "behalf"] {
            for format in ["html", "json"] {
                let address = format!("/audit/actors?actor=user:alice&list={list}&format={format}");
                let scoped = site.get(&address, Lane::Support).await;
                assert_eq!(scoped.status, StatusCode::OK, "{address}");
                assert!(!scoped.text.contains("req-8"), "{address}");
                assert!(!scoped.text.contains("777777"), "{address}");
                let hidden = site.get(&address, Lane::NoValues).await;
                assert!(!hidden.text.contains("4321"), "{address}");
                assert!(!hidden.text.contains("777777"), "{address}");
            }
        }
        let json = site
            .get(
                "/audit/actors?actor=user:alice&list=changes&format=json",
                Lane::Admin,
            )
            .await;
        assert!(json.text.contains("777777"));
    });
}

#[test]
fn hostile_actors_are_text_and_missing_ones_have_a_form() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let answer = site
            .get(
                "/audit/actors?actor=user:%3C/script%3E%3Cb%3E%22'%E2%80%AE",
                Lane::Admin,
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.texts("main b").is_empty());
        let missing = site.get("/audit/actors", Lane::Admin).await;
        assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(missing.attributes("main input", "name"), ["actor"]);
        let unknown = site.get("/audit/actors?actor=robot:1", Lane::Admin).await;
        assert_eq!(unknown.attributes("main input", "value"), ["robot:1"]);
    });
}
