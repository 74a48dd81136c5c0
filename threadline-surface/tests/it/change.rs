//! The page of one change.

use axum::http::StatusCode;

use crate::harness::{HOSTILE, Lane, Trail, block_on};

#[test]
fn a_change_is_shown_field_by_field_with_claimed_and_known_facts() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices VALUES (4, 9900, NULL)",
    );
    trail.write(
        "user:alice",
        7,
        "UPDATE invoices SET total_cents = 8910, note = ''",
    );
    let address = format!("/audit/changes?id={}", trail.newest_change());
    let answer = block_on(site.get(&address, Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.texts("table.diff tbody tr"),
        ["notewas nullnow empty text", "total_centswas 9900now 8910"]
    );
    let text = answer.texts("main").join(" ");
    for part in [
        "user:alice",
        "req-7",
        "Known by PostgreSQL",
        "threadline diff",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("Changes are known since"), "{text}");
}

#[test]
fn hostile_names_and_values_are_text() {
    let trail = Trail::new();
    let site = trail.site();
    let value = HOSTILE.replace('\'', "''");
    trail.write(
        "user:x",
        7,
        &format!(r#"INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('{value}', 1, '{value}')"#),
    );
    let address = format!("/audit/changes?id={}", trail.newest_change());
    let answer = block_on(site.get(&address, Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.texts("b, i, main script").is_empty());
    assert!(
        answer
            .texts("table.diff")
            .join(" ")
            .contains("<script>alert(1)</script>")
    );
    assert!(
        answer
            .addresses()
            .iter()
            .all(|one| one.starts_with("/audit") || one == "#main")
    );
}

#[test]
fn a_change_of_another_tenant_looks_like_one_that_does_not_exist() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    let own = trail.newest_change();
    trail.write("user:b", 8, "INSERT INTO invoices VALUES (2, 777777)");
    let foreign = trail.newest_change();
    block_on(async {
        let seen = site
            .get(&format!("/audit/changes?id={own}"), Lane::Support)
            .await;
        assert_eq!(seen.status, StatusCode::OK);
        let hidden = site
            .get(&format!("/audit/changes?id={foreign}"), Lane::Support)
            .await;
        let missing = site
            .get(&format!("/audit/changes?id={}", foreign + 1), Lane::Support)
            .await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND);
        let plain = |answer: &crate::harness::Answer, id: i64| {
            let nonce = answer.attributes("script", "nonce").remove(0);
            answer
                .text
                .replace(&nonce, "N")
                .replace(&format!("id%3D{id}"), "ID")
        };
        assert_eq!(plain(&hidden, foreign), plain(&missing, foreign + 1));
    });
}

#[test]
fn without_the_capability_values_a_change_names_its_fields_only() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 987654)");
    let address = format!("/audit/changes?id={}", trail.newest_change());
    block_on(async {
        let page = site.get(&address, Lane::NoValues).await;
        assert!(page.text.contains("total_cents"));
        assert!(!page.text.contains("987654"));
        let json = site
            .get(&format!("{address}&format=json"), Lane::NoValues)
            .await;
        assert_eq!(json.status, StatusCode::FORBIDDEN);
        assert!(!json.text.contains("987654"));
    });
}

#[test]
fn the_json_document_is_that_of_the_command_with_exact_digits() {
    let trail = Trail::new();
    let site = trail.site();
    let sql = r#"INSERT INTO invoices VALUES (1, 1, 'x', '{"n": 12345678901234567890.10}')"#;
    trail.write("user:a", 7, sql);
    let address = format!("/audit/changes?id={}&format=json", trail.newest_change());
    let answer = block_on(site.get(&address, Lane::Admin));
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(
        answer.text.contains("12345678901234567890.10"),
        "{}",
        answer.text
    );
}

#[test]
fn invalid_parameters_are_422_at_the_field() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for (query, message) in [
            ("", "give the id of a change"),
            ("?id=x", "invalid digit"),
            ("?id=1&id=2", "give this parameter once"),
            ("?id=1&nmae=2", "no such parameter"),
        ] {
            let answer = site
                .get(&format!("/audit/changes{query}"), Lane::Admin)
                .await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
            assert!(
                answer.texts("[role=alert]").join(" ").contains(message),
                "{query}"
            );
        }
    });
}
