//! Redaction: declared and deployed rules by column.

use axum::http::StatusCode;
use threadline_core::column_type::ColumnType;
use threadline_core::table::{AuditedTable, Column};

use crate::harness::{Lane, Site, Trail, block_on};

fn invoices(masked: &[&str]) -> AuditedTable {
    let column = |name: &str, kind: &str| Column::new(name, ColumnType::builtin(kind));
    AuditedTable::builder("invoices".parse().unwrap())
        .columns([
            column("id", "int8"),
            column("total_cents", "int4"),
            column("note", "text"),
            column("details", "jsonb"),
        ])
        .key(["id"])
        .mask(masked.iter().copied())
        .build()
        .unwrap()
}

fn site(trail: &Trail, declared: AuditedTable) -> Site {
    Site::new(trail.builder().tables([declared]).build().unwrap())
}

#[test]
fn a_column_stored_against_its_declaration_is_named() {
    let trail = Trail::new();
    trail.write(
        "user:a",
        7,
        "INSERT INTO invoices VALUES (1, 1, 'a sample value')",
    );
    let site = site(&trail, invoices(&["note"]));
    let answer = block_on(site.get("/audit/redaction", Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer.texts("h2")[0].starts_with("public.invoices"),
        "those that differ first"
    );
    assert_eq!(answer.texts("h2 .badge")[0], "differs");
    let rows = answer.texts("table tbody tr");
    let note = rows
        .iter()
        .find(|row| row.starts_with("note"))
        .expect("a row");
    assert_eq!(
        note,
        "notemaskedstoreddiffers values are stored in clear now, against the declaration"
    );
    assert!(!answer.text.contains("a sample value"));
    assert!(answer.texts("main b, main i").is_empty());
}

#[test]
fn tables_match_differ_or_cannot_be_told() {
    let trail = Trail::new();
    let same = site(&trail, invoices(&[]));
    block_on(async {
        let answer = same
            .get("/audit/redaction?table=invoices", Lane::Admin)
            .await;
        assert_eq!(answer.texts("h2 .badge"), ["matches"]);
        let odd = "/audit/redaction?table=%22odd%20%3Cschema%3E%22.%22t%20%22%22%3Cb%3E%271%22";
        let undeclared = same.get(odd, Lane::Admin).await;
        assert_eq!(undeclared.texts("h2 .badge"), ["cannot tell"]);
        let none = same.get("/audit/redaction?table=none", Lane::Admin).await;
        assert!(none.text.contains("neither declared nor captured"));
        let undeclared = trail.site();
        let deployed_only = undeclared.get("/audit/redaction", Lane::Admin).await;
        assert_eq!(
            deployed_only.texts("h2 .badge"),
            ["cannot tell", "cannot tell"]
        );
    });
}

#[test]
fn a_column_without_a_rule_is_unclassified() {
    let trail = Trail::new();
    trail.run("ALTER TABLE invoices ADD COLUMN iban text");
    let site = site(&trail, invoices(&[]));
    let answer = block_on(site.get("/audit/redaction?table=invoices", Lane::Admin));
    let rows = answer.texts("table tbody tr");
    assert!(
        rows.iter().any(|row| row.starts_with("iban––unclassified")),
        "{rows:?}"
    );
}

#[test]
fn the_document_is_that_of_the_command() {
    let trail = Trail::new();
    let site = site(&trail, invoices(&["note"]));
    let answer = block_on(site.get("/audit/redaction?format=json", Lane::Admin));
    let document: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(document["format_version"], 1);
    let tables = document["tables"].as_array().unwrap();
    let invoices = tables.iter().find(|table| table["name"] == "invoices");
    assert_eq!(invoices.unwrap()["status"], "drift");
}
