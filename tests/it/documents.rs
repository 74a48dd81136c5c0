//! The JSON documents of answers. The snapshots are the contract: fields may be added.

use serde::Serialize;
use serde_json::json;
use threadline::Restore;
use threadline::baseline::Baseline;
use threadline::baseline::CaptureStart;
use threadline::documents::{
    BaselineDocument, ContinuityDocument, CorrelationDocument, EntryDocument, HistoryDocument,
    IncidentDocument, PageDocument,
};
use threadline::feed::{self, BatchSize, ConsumerName, LeaseTime, Leased, Start};
use threadline::models::{AuditAction, AuditTransaction};
use threadline::prelude::*;
use threadline::query::Actions;
use threadline::query::Correlation;
use threadline::query::DocumentAsOf;
use threadline::query::Incident;
use threadline::query::PageSize;
use threadline::query::RowQuery;
use threadline::query::Timeline;
use threadline::query::Transactions;
use threadline::query::diff::ChangeDiff;
use threadline::retention::{Keep, RetentionPolicy, plan_retention, retention_runs};
use threadline::table::RowKeyText;
use threadline::table::TableName;

use crate::harness::{Trail, block_on, captured};

/// A row that is inserted by an action, updated without attribution, and deleted; and a row that is older
/// than capture.
fn orders() -> Trail {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric)",
        &[],
    );
    trail.run("INSERT INTO orders VALUES (7, 'old', 1.10)");
    trail.capture(&trail.introspect("orders"));
    trail.run(
        r#"SELECT threadline.begin_audited_work('{
               "actor_ref": {"type": "user", "id": "42"},
               "context": {"request_id": "r-1", "correlation_id": "c-1", "source": "web",
                           "remote_addr": "192.0.2.1", "meta": {"tenant": 7},
                           "on_behalf_of": {"type": "user", "id": "1"}},
               "action": {"id": "019a0000-0000-7000-8000-000000000001", "name": "order.create",
                          "reason": "phone call", "category": "sales"}}');
           INSERT INTO orders VALUES (1, 'open', 10.00)"#,
    );
    trail.run("UPDATE orders SET status = 'paid' WHERE id = 1");
    trail.run("DELETE FROM orders WHERE id = 1");
    trail
}

fn table() -> TableName {
    "orders".parse().unwrap()
}

fn key() -> RowKeyText {
    RowKeyText::from_values(vec!["1".to_owned()])
}

/// The text of a document, with a placeholder for each value that differs between runs.
fn shown(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document).unwrap();
    let lines: Vec<_> = text.lines().map(redact).collect();
    lines.join("\n")
}

/// A line `"name": value` with a placeholder instead of a value that differs between runs.
fn redact(line: &str) -> String {
    let Some((name, value)) = line.split_once("\": ") else {
        return line.to_owned();
    };
    let (value, comma) = match value.strip_suffix(',') {
        Some(value) => (value, ","),
        None => (value, ""),
    };
    let text = value.trim_matches('"');
    let placeholder = match name.trim_start_matches([' ', '"']) {
        "next" | "previous" => "[cursor]",
        "db_user" | "started_by" | "leased_by" => "[role]",
        "backend_pid" => "[pid]",
        "partition" => "[partition]",
        _ if text.parse::<uuid::Uuid>().is_ok() => "[uuid]",
        _ if text.parse::<chrono::DateTime<chrono::Utc>>().is_ok() => "[instant]",
        _ => return line.to_owned(),
    };
    if value == "null" {
        return line.to_owned();
    }
    format!("{name}\": \"{placeholder}\"{comma}")
}

#[test]
fn the_document_of_a_timeline_page_is_stable() {
    let trail = orders();
    block_on(async {
        let query = Timeline::new().page_size(PageSize::new(2).unwrap());
        let page = threadline::timeline(&mut trail.connect().await, &query)
            .await
            .unwrap();
        insta::assert_snapshot!(shown(&PageDocument::<EntryDocument<'_>>::new(&page)));
    });
}

#[test]
fn the_document_of_a_history_has_the_facts_beside_its_changes() {
    let trail = captured(
        "CREATE TABLE items (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE items_a PARTITION OF items FOR VALUES IN ('a');
         CREATE TABLE items_b PARTITION OF items FOR VALUES IN ('b')",
        &["items"],
    );
    trail.run("INSERT INTO items VALUES (1, 'b')");
    trail.run("UPDATE items SET id = 2");
    trail.run("INSERT INTO items VALUES (1, 'a')");
    trail.run("UPDATE items SET region = 'b' WHERE id = 1");
    trail.run("TRUNCATE items");
    let table: TableName = "items".parse().unwrap();
    let key = RowKeyText::from_values(vec!["1".to_owned(), "b".to_owned()]);
    block_on(async {
        let conn = &mut trail.connect().await;
        let query = Timeline::new().row(table.clone(), &key);
        let page = threadline::timeline(conn, &query).await.unwrap();
        let notes = threadline::history_notes(conn, &RowQuery::new(table, &key))
            .await
            .unwrap();
        assert_eq!(page.entries.len(), 3, "{page:?}");
        insta::assert_snapshot!(shown(&HistoryDocument::new(&page, &notes)));
    });
}

#[test]
fn the_documents_of_an_incident_and_a_diff_are_stable() {
    let trail = orders();
    let rules = [trail.introspect("orders")];
    block_on(async {
        let conn = &mut trail.connect().await;
        let entry = threadline::timeline(conn, &Timeline::new().request_id("r-1".parse().unwrap()))
            .await
            .unwrap()
            .entries
            .remove(0);
        insta::assert_snapshot!(
            "diff",
            shown(&ChangeDiff::with_rules_among(&entry.change, &rules))
        );
        let id = entry.change.transaction_id.into();
        let bundle = threadline::incident(conn, Incident::new(id))
            .await
            .unwrap()
            .unwrap();
        insta::assert_snapshot!("incident", shown(&IncidentDocument::new(&bundle, &rules)));
    });
}

#[test]
fn the_documents_of_correlations_actions_and_transactions_are_stable() {
    let trail = orders();
    block_on(async {
        let conn = &mut trail.connect().await;
        let bundle = threadline::correlation(conn, &Correlation::new("c-1".parse().unwrap()))
            .await
            .unwrap();
        let correlation = CorrelationDocument::from(&bundle);
        insta::assert_snapshot!("correlation", shown(&correlation));
        let correlation = serde_json::to_value(correlation).unwrap();
        let actions = threadline::actions(conn, &Actions::new()).await.unwrap();
        let actions = serde_json::to_value(PageDocument::<&AuditAction>::new(&actions)).unwrap();
        assert_eq!(actions, correlation["actions"]);
        let query = Transactions::new().correlation_id("c-1".parse().unwrap());
        let transactions = threadline::transactions(conn, &query).await.unwrap();
        let transactions =
            serde_json::to_value(PageDocument::<&AuditTransaction>::new(&transactions)).unwrap();
        assert_eq!(transactions, correlation["transactions"]);
    });
}

#[test]
fn the_documents_of_a_row_as_of_an_instant_are_stable() {
    let trail = orders();
    block_on(async {
        let conn = &mut trail.connect().await;
        let history = threadline::timeline(conn, &Timeline::new().row(table(), &key()))
            .await
            .unwrap();
        let inserted = history.entries.last().unwrap().change.captured_at;
        for (name, instant) in [
            ("as_of_row", inserted),
            ("as_of_deleted", "2099-01-01T00:00:00Z".parse().unwrap()),
            (
                "as_of_not_yet_known",
                "2001-01-01T00:00:00Z".parse().unwrap(),
            ),
        ] {
            let query = DocumentAsOf::new(table(), &key(), instant);
            let answer = threadline::document_as_of(conn, &query).await.unwrap();
            insta::assert_snapshot!(name, shown(&answer));
        }
    });
}

#[test]
fn the_documents_of_continuity_and_baselines_are_stable() {
    let trail = orders();
    block_on(async {
        let conn = &mut trail.connect().await;
        let query = CaptureStart::new();
        let tables = threadline::capture_start(conn, &query).await.unwrap();
        insta::assert_snapshot!("continuity", shown(&ContinuityDocument::new(&tables, None)));
        insta::assert_snapshot!(
            "baseline_plan",
            shown(&BaselineDocument::plan(1, &tables[0]))
        );
        let admin = AuditContext::new("admin:rita".parse().unwrap());
        let outcome = threadline::record_baseline(conn, &Baseline::new(table(), admin), |_| {
            std::ops::ControlFlow::Continue(())
        })
        .await
        .unwrap();
        insta::assert_snapshot!(
            "baseline_outcome",
            shown(&BaselineDocument::outcome(&outcome))
        );
        let missing: TableName = "nothing".parse().unwrap();
        assert!(!ContinuityDocument::new(&[], Some(&missing)).unbroken);
        assert!(ContinuityDocument::new(&[], None).unbroken);
    });
}

#[test]
fn the_documents_of_the_feed_and_of_retention_are_stable() {
    let trail = orders();
    block_on(async {
        let conn = &mut trail.connect().await;
        let consumer: ConsumerName = "search".parse().unwrap();
        feed::create(conn, &consumer, Start::Beginning)
            .await
            .unwrap();
        let time = LeaseTime::new(std::time::Duration::from_mins(1)).unwrap();
        let batch = loop {
            match feed::lease(conn, &consumer, time, BatchSize::new(10).unwrap()).await {
                Ok(Leased::Batch(batch)) => break batch,
                Ok(Leased::Waiting) => {}
                other => panic!("{other:?}"),
            }
        };
        insta::assert_snapshot!("feed_items", shown(&batch.items));
        feed::acknowledge(conn, &batch.token).await.unwrap();
        let lag = feed::lag(conn, &consumer).await.unwrap();
        insta::assert_snapshot!("feed_lag", shown(&lag));
        let policy = RetentionPolicy::keep(Keep::days(1).unwrap())
            .build()
            .unwrap();
        let plan = plan_retention(conn, &policy).await.unwrap();
        insta::assert_snapshot!("retention_plan", shown(&plan));
        let runs = retention_runs(conn, 10).await.unwrap();
        assert_eq!(serde_json::to_value(runs).unwrap(), json!([]));
    });
}

#[test]
fn the_document_of_a_restore_plan_is_stable() {
    let trail = captured(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE orders (id int PRIMARY KEY, status text, mood mood, total numeric NOT NULL, gone text);
         CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE);
         CREATE TABLE notes (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE)",
        &["lines"],
    );
    let rules = trail.introspect("orders");
    trail.capture(&rules.redact(["status"], ["total"]).unwrap());
    trail.run("INSERT INTO orders VALUES (1, 'open', 'sad', 10.00, 'x'); INSERT INTO lines VALUES (1, 1), (2, 1)");
    trail.run("DELETE FROM orders");
    trail.run("INSERT INTO lines VALUES (2, NULL)");
    trail.run("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TABLE orders DROP COLUMN gone");
    let query = Restore::new(table(), &key()).with_children();
    let plan = trail.run_async(async |conn| threadline::restore_plan(conn, &query).await);
    insta::assert_snapshot!(shown(&plan.unwrap()));
}
