//! Retention: policy, horizons, plan, runs and removals; nothing is removed.

use axum::http::StatusCode;
use threadline_core::retention::{Keep, RetentionPolicy};
use threadline_diesel::purge;
use threadline_diesel::retention::PurgeOptions;

use crate::harness::{Lane, Site, Trail, block_on};

fn policy() -> RetentionPolicy {
    RetentionPolicy::keep(Keep::days(30).unwrap())
        .table("invoices".parse().unwrap(), Keep::days(10).unwrap())
        .enabled()
        .build()
        .unwrap()
}

/// A trail with a change that is expired, and one that is not.
fn trail() -> Trail {
    let trail = Trail::new();
    trail.run(
        "INSERT INTO threadline.audit_transactions (id, occurred_at, xid, backend_pid, db_user)
         VALUES ('00000000-0000-0000-0000-000000000001', now() - interval '20 days', '1', 1, 'app');
         INSERT INTO threadline.audit_changes
            (id, captured_at, transaction_id, op, table_schema, table_name, row_key, table_pk, data_after)
         VALUES (nextval('threadline.audit_changes_id_seq'), now() - interval '20 days',
            '00000000-0000-0000-0000-000000000001', 'insert', 'public', 'invoices', '1',
            '{\"id\": \"1\"}', '{\"id\": 1}')",
    );
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (2, 100)");
    trail
}

fn site(trail: &Trail, policy: RetentionPolicy) -> Site {
    Site::new(trail.builder().retention(policy).build().unwrap())
}

#[test]
fn the_policy_is_told_in_words_with_the_horizon_of_each_table() {
    let trail = Trail::new();
    let site = site(&trail, policy());
    let answer = block_on(site.get("/audit/retention", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    let text = answer.texts("main").join(" ");
    for part in [
        "Changes are kept for 30 days; those of public.invoices for 10 days.",
        "Purges are enabled.",
        "threadline retention purge --execute",
        "No purge has run",
        "Nothing was removed or erased",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let rows = answer.texts("[aria-label=Tables] tbody tr");
    assert!(rows[0].contains("30 days") || rows[1].contains("30 days"));
    assert!(
        rows.iter()
            .any(|row| row.starts_with("public.invoices10 days20")),
        "{rows:?}"
    );
    assert!(answer.texts("main b, main i").is_empty());
}

#[test]
fn without_a_policy_the_pages_say_how_to_give_one() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for path in ["/audit/retention", "/audit/retention/plan"] {
            let answer = site.get(path, Lane::Admin).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert!(answer.text.contains("retention(policy)"), "{path}");
        }
    });
}

#[test]
fn the_plan_counts_expired_records_and_removes_none() {
    let trail = trail();
    let site = site(&trail, policy());
    block_on(async {
        let answer = site.get("/audit/retention/plan", Lane::Admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let rows = answer.texts("table tbody tr");
        let expired = rows.iter().find(|row| row.contains("public.invoices"));
        assert!(expired.expect("a row").starts_with("changes"), "{rows:?}");
        assert!(answer.text.contains("After the purge"));
        let json = site
            .get("/audit/retention/plan?format=json", Lane::Admin)
            .await;
        let plan: serde_json::Value = serde_json::from_str(&json.text).unwrap();
        let parts = plan["parts"].as_array().unwrap();
        let changes = parts.iter().find(|part| part["what"] == "changes");
        assert_eq!(changes.unwrap()["rows"], 1);
    });
    assert_eq!(
        trail.query("SELECT count(*)::text FROM threadline.audit_changes"),
        "2"
    );
}

#[test]
fn a_plan_of_a_policy_that_is_not_enabled_says_that_a_purge_is_refused() {
    let trail = Trail::new();
    let disabled = RetentionPolicy::keep(Keep::FOREVER).build().unwrap();
    let site = site(&trail, disabled);
    let answer = block_on(site.get("/audit/retention/plan", Lane::Admin));
    assert!(answer.text.contains("The policy is not enabled"));
    assert!(answer.text.contains("Nothing is expired"));
}

#[test]
fn runs_and_removals_are_shown_with_their_counts() {
    let trail = trail();
    let site = site(&trail, policy());
    block_on(async {
        let mut conn = trail.connect().await;
        let outcome = purge(&mut conn, &policy(), &PurgeOptions::new())
            .await
            .unwrap();
        let list = site.get("/audit/retention/runs", Lane::Admin).await;
        let rows = list.texts("table tbody tr");
        assert_eq!(rows.len(), 1);
        assert!(rows[0].contains("completed"), "{rows:?}");
        let id = outcome.run.id;
        let run = site
            .get(&format!("/audit/retention/runs?run={id}"), Lane::Admin)
            .await;
        assert_eq!(run.texts("h1"), [format!("Retention run {id}")]);
        let removals = run.texts("[aria-label=Removals] > li");
        assert!(removals[0].contains("1 change"), "{removals:?}");
        assert!(
            removals[0].contains("public.invoices before"),
            "{removals:?}"
        );
        let json = site
            .get("/audit/retention/runs?format=json", Lane::Admin)
            .await;
        let runs: serde_json::Value = serde_json::from_str(&json.text).unwrap();
        assert_eq!(runs[0]["id"], id);
        let missing = site.get("/audit/retention/runs?run=999", Lane::Admin).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        let start = site.get("/audit/retention", Lane::Admin).await;
        assert!(start.text.contains("completed"));
    });
}
