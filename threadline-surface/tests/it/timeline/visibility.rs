//! What scopes, capabilities and hostile texts leave of a timeline.

use axum::http::StatusCode;

use super::{ids, page};
use crate::harness::{HOSTILE, Lane, Trail, block_on};

#[test]
fn a_scope_hides_other_tenants_from_the_list_its_parts_and_its_explanations() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    trail.write("user:secret", 8, "INSERT INTO invoices VALUES (2, 777777)");
    for address in [
        "/timeline",
        "/timeline?group=transaction",
        "/timeline?count=true&volume=true",
        "/timeline?from=2020-01-01&to=2020-01-02",
        "/timeline?actor=user:secrte",
        "/timeline?format=json",
        "/parts/follow?since=-1h",
        "/parts/volume",
        "/parts/volume?by=actor-time",
        "/parts/count",
    ] {
        let answer = page(&site, address, Lane::Support);
        for secret in ["777777", "user:secret", "2 changes"] {
            let is_asked = address.contains(secret);
            assert!(
                is_asked || !answer.text.contains(secret),
                "{address}: {secret}"
            );
        }
    }
    assert_eq!(page(&site, "/parts/count", Lane::Support).text, "1 change");
    let hidden = r#"/timeline?table="odd <schema>"."t ""<b>'1"&key=1"#.replace(' ', "+");
    let hidden = hidden
        .replace('"', "%22")
        .replace('<', "%3C")
        .replace('>', "%3E");
    let answer = page(&site, &hidden, Lane::Support);
    assert!(
        !answer.text.contains("a b="),
        "no key columns of a hidden table"
    );
}

#[test]
fn without_the_capability_values_changes_name_their_fields_only() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 987654)");
    let answer = page(&site, "/timeline", Lane::NoValues);
    assert!(answer.text.contains("total_cents"));
    assert!(!answer.text.contains("987654"));
    for query in ["format=json", "scan_values=987654"] {
        let answer = block_on(site.get(&format!("/audit/timeline?{query}"), Lane::NoValues));
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{query}");
    }
}

#[test]
fn hostile_names_keys_and_values_are_text() {
    let trail = Trail::new();
    let site = trail.site();
    let value = HOSTILE.replace('\'', "''");
    trail.write(
        "user:<i>x</i>",
        7,
        &format!(r#"INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('{value}', 1, '{value}')"#),
    );
    let answer = page(&site, "/timeline?count=true&volume=true", Lane::Admin);
    assert!(answer.texts("main b, main i, main script").is_empty());
    assert!(
        answer
            .texts(".entries")
            .join(" ")
            .contains("<script>alert(1)</script>")
    );
    let outside = answer
        .addresses()
        .into_iter()
        .find(|one| !one.starts_with("/audit") && !one.starts_with('#'));
    assert_eq!(outside, None);
    for address in answer
        .addresses()
        .iter()
        .filter(|one| one.starts_with("/audit/timeline"))
    {
        let answer = block_on(site.get(address, Lane::Admin));
        assert!(matches!(answer.status.as_u16(), 200 | 303), "{address}");
    }
    let typed = block_on(site.get(
        "/audit/timeline?op=%22%3E%3Cb%3E&key=%22%3E%3Cb%3E",
        Lane::Admin,
    ));
    assert_eq!(typed.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(typed.texts("b").is_empty());
}

#[test]
fn a_composite_key_has_a_field_for_each_column() {
    let trail = Trail::new();
    let site = trail.site();
    for key in ["x", "y"] {
        let row = format!(r#"INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('{key}', 1)"#);
        trail.write("user:a", 7, &row);
    }
    let list = page(&site, "/timeline", Lane::Admin);
    let table = list.texts(".entries .table").remove(0);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("table", &table)
        .append_pair("key", "a b=x")
        .append_pair("key", "<i>=1")
        .finish();
    let answer = page(&site, &format!("/timeline?{query}"), Lane::Admin);
    assert_eq!(ids(&answer).len(), 1);
    assert_eq!(
        answer.attributes("input[name=key]", "value"),
        ["a b=x", "<i>=1"]
    );
    assert_eq!(
        answer.attributes("input[name=key]", "placeholder"),
        ["a b=", "<i>="]
    );
}
