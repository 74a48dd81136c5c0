//! The page of one transaction.

use axum::http::StatusCode;

use crate::harness::{Answer, HOSTILE, Lane, Trail, block_on};

const INVOICES: &str = "INSERT INTO invoices VALUES (42, 9900, 'old'), (43, 1, NULL)";

impl Trail {
    fn transaction_of_newest_change(&self) -> String {
        self.query(
            "SELECT transaction_id::text FROM threadline.audit_changes ORDER BY id DESC LIMIT 1",
        )
    }

    fn incident(&self, rest: &str) -> String {
        let id = self.transaction_of_newest_change();
        format!("/audit/transactions?id={id}{rest}")
    }
}

fn get(trail: &Trail, address: &str, lane: Lane) -> Answer {
    block_on(trail.site().get(address, lane))
}

#[test]
fn a_transaction_shows_counts_actions_changes_and_who_claimed_and_made_it() {
    let trail = Trail::new();
    trail.write("user:alice", 7, INVOICES);
    trail.write(
        "user:alice",
        7,
        r#"SELECT threadline.record_action('{"id": "019ad4a0-0000-7000-8000-000000000001", "name": "invoice.void", "comment": "customer asked"}', NULL, NULL);
         UPDATE invoices SET total_cents = 8910 WHERE id = 43; DELETE FROM invoices WHERE id = 42"#,
    );
    let page = get(&trail, &trail.incident(""), Lane::Admin);
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(
        page.texts("table.counts tr"),
        ["Table~ update− delete", "public.invoices11"]
    );
    assert_eq!(page.texts(".entries > li").len(), 2);
    let text = page.texts("main").join(" ");
    for part in [
        "2 changes of 1 table",
        "user:alice",
        "req-7",
        "xid",
        "invoice.void",
        "“customer asked”",
        "was 1 → now 8910",
        "Complete for captured tables",
        "threadline incident",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn links_lead_to_the_same_actor_the_same_tables_and_everything_around_a_transaction() {
    let trail = Trail::new();
    trail.write("user:alice", 7, INVOICES);
    let page = get(&trail, &trail.incident(""), Lane::Admin);
    let links = page.attributes(".chips a", "href");
    assert_eq!(
        page.texts(".chips a"),
        ["same actor", "public.invoices", "everything"]
    );
    for link in links {
        let timeline = get(&trail, &link, Lane::Admin);
        assert_eq!(timeline.status, StatusCode::OK, "{link}");
        assert_eq!(timeline.texts(".entries > li").len(), 2, "{link}");
    }
}

#[test]
fn the_id_of_a_change_opens_its_transaction() {
    let trail = Trail::new();
    trail.write("user:alice", 7, INVOICES);
    let address = format!("/audit/transactions?id={}", trail.newest_change());
    let page = get(&trail, &address, Lane::Admin);
    assert_eq!(
        page.texts("h1"),
        [format!(
            "Transaction {}",
            trail.transaction_of_newest_change()
        )]
    );
}

#[test]
fn deleted_rows_have_restore_statements_that_the_console_does_not_run() {
    let trail = Trail::new();
    trail.write("user:alice", 7, INVOICES);
    trail.write("user:alice", 7, "DELETE FROM invoices");
    let folded = get(&trail, &trail.incident(""), Lane::Admin);
    assert!(!folded.text.contains("INSERT INTO"));
    let page = get(&trail, &trail.incident("&restore=true"), Lane::Admin);
    let scripts = page.texts("details pre").join(" ");
    assert!(
        scripts.contains(r#"INSERT INTO "public"."invoices""#),
        "{scripts}"
    );
    assert!(scripts.contains("'9900'::integer"), "{scripts}");
    assert_eq!(trail.query("SELECT count(*) FROM invoices"), "0");
    let without = get(&trail, &trail.incident("&restore=true"), Lane::NoValues);
    assert!(!without.text.contains(">9900<") && !without.text.contains("INSERT INTO"));
    let support = get(&trail, &trail.incident("&restore=true"), Lane::Support);
    assert!(support.text.contains("'9900'::integer"));
}

#[test]
fn a_suspension_in_the_transaction_is_part_of_its_completeness_note() {
    let trail = Trail::new();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices VALUES (1, 1);
         SELECT threadline.suspend_capture(ARRAY['invoices']::regclass[], 'bulk <b>load</b>');
         INSERT INTO invoices VALUES (2, 2)",
    );
    let page = get(&trail, &trail.incident(""), Lane::Admin);
    let note = page.texts(".completeness").join(" ");
    assert!(note.contains("was suspended in this transaction"), "{note}");
    assert!(note.contains("bulk <b>load</b>"), "{note}");
}

#[test]
fn a_long_transaction_has_pages_in_the_order_of_capture() {
    let trail = Trail::new();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices SELECT n, n FROM generate_series(1, 5) AS n",
    );
    let first = get(&trail, &trail.incident("&limit=2"), Lane::Admin);
    assert_eq!(first.texts(".entries > li").len(), 2);
    let next = first.attributes("a[rel=next]", "href").remove(0);
    let second = get(&trail, &next, Lane::Admin);
    assert_eq!(second.attributes(".entries > li", "data-id").len(), 2);
    assert_ne!(
        first.attributes(".entries > li", "data-id"),
        second.attributes(".entries > li", "data-id")
    );
    assert_eq!(second.texts(".pager a"), ["First", "Earlier", "Later"]);
}

#[test]
fn the_document_is_that_of_incident_and_needs_values() {
    let trail = Trail::new();
    trail.write("user:alice", 7, INVOICES);
    let answer = get(&trail, &trail.incident("&format=json"), Lane::Admin);
    let document: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(document["changes"].as_array().unwrap().len(), 2);
    assert_eq!(document["diffs"].as_array().unwrap().len(), 2);
    let refused = get(&trail, &trail.incident("&format=json"), Lane::NoValues);
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[test]
fn a_scope_hides_transactions_and_changes_of_other_tenants() {
    let trail = Trail::new();
    trail.write("user:bob", 8, "INSERT INTO invoices VALUES (8, 777777)");
    for address in [
        trail.incident(""),
        trail.incident("&restore=true"),
        format!("/audit/transactions?id={}", trail.newest_change()),
        "/audit/transactions?id=000303c4-aaaa-aaaa-0000-000000000001".to_owned(),
        "/audit/transactions?id=987654".to_owned(),
    ] {
        let answer = get(&trail, &address, Lane::Support);
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{address}");
        assert!(!answer.text.contains("777777"));
    }
}

#[test]
fn hostile_names_values_and_actions_are_text() {
    let trail = Trail::new();
    let value = HOSTILE.replace('\'', "''");
    trail.write(
        "user:x",
        7,
        &format!(
            r#"SELECT threadline.record_action(jsonb_build_object('id', '019ad4a0-0000-7000-8000-000000000001', 'name', '{value}', 'comment', '{value}'), NULL, NULL);
            INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('{value}', 1, '{value}');
            DELETE FROM "odd <schema>"."t ""<b>'1""#
        ),
    );
    let page = get(&trail, &trail.incident("&restore=true"), Lane::Admin);
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.texts("b, i, main script").is_empty());
    assert!(page.text.contains("&lt;script&gt;alert(1)"));
    let addresses = page.addresses();
    let is_inside = |one: &String| one.starts_with("/audit") || one == "#main";
    assert!(addresses.iter().all(is_inside), "{addresses:?}");
}

#[test]
fn invalid_ids_are_422_at_the_field() {
    let trail = Trail::new();
    for (query, message) in [
        ("", "give the id of a transaction"),
        ("?id=x", "write the id of a transaction"),
        ("?id=1&limit=0", "write a number from 1"),
    ] {
        let answer = get(&trail, &format!("/audit/transactions{query}"), Lane::Admin);
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let alert = answer.texts("[role=alert]").join(" ");
        assert!(alert.contains(message), "{query}: {alert}");
    }
}

#[test]
fn a_scope_without_a_rule_for_actions_shows_the_transaction_without_its_actions() {
    let trail = Trail::new();
    let site = trail.site();
    trail.act(
        "user:1",
        "{}",
        r#"{"name": "invoice.open"}"#,
        "INSERT INTO invoices VALUES (1, 5)",
    );
    let id = trail.query("SELECT id FROM threadline.audit_transactions");
    let address = format!("/audit/transactions?id={id}");
    block_on(async {
        let answer = site.get(&address, Lane::OneTable).await;
        assert_eq!(answer.status, StatusCode::OK);
        let headings = answer.texts("h2").join(" ");
        assert!(headings.contains("Changes"), "{headings}");
        assert!(!headings.contains("Actions"), "{headings}");
    });
}
