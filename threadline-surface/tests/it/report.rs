//! Reports: answers to tickets, and whether they are still the same.

use axum::http::{Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::harness::{Answer, HOSTILE, Lane, Site, Trail, block_on, request};

/// The permanent address on a report.
fn permalink(answer: &Answer) -> String {
    let links = answer.attributes("main a", "href");
    let link = links.iter().find(|link| link.contains("digest="));
    link.expect("a permanent address").clone()
}

fn transaction(trail: &Trail) -> String {
    trail
        .query("SELECT transaction_id::text FROM threadline.audit_changes ORDER BY id DESC LIMIT 1")
}

#[test]
fn a_report_says_who_did_what_from_which_value_to_which() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:alice", 7, "INSERT INTO invoices VALUES (4, 9900)");
    let sql = "UPDATE invoices SET total_cents = 8910; DELETE FROM invoices WHERE id = 4";
    trail.write("user:bob", 7, sql);
    let id = transaction(&trail);
    block_on(async {
        let address =
            format!("/audit/report?transaction={id}&ticket=SUP-12&question=Who+was+it%3F");
        let report = site.get(&address, Lane::Admin).await;
        assert_eq!(report.status, StatusCode::OK, "{}", report.text);
        assert_eq!(report.texts("h1"), ["Report for SUP-12"]);
        let answer = report.texts("#answer li");
        assert_eq!(answer.len(), 1, "{answer:?}");
        for part in [
            "user:bob updated public.invoices 4 (total_cents 9900 → 8910)",
            "deleted public.invoices 4 (",
            "total_cents 8910",
        ] {
            assert!(answer[0].contains(part), "{part}: {answer:?}");
        }
        let main = report.texts("main").join(" ");
        for part in [
            "Who was it?",
            "Claimed by the application",
            "Known by PostgreSQL",
            "req-7",
            "What is not known",
            "Changes are known since",
            "threadline incident",
            "SHA-256",
            "permanent address",
        ] {
            assert!(main.contains(part), "{part}: {main}");
        }
        let headings = report.texts("h2");
        assert!(headings.iter().any(|one| one == "Answer"), "{headings:?}");
    });
}

#[test]
fn a_permanent_address_says_later_whether_the_report_is_the_same() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write(
        "user:a",
        7,
        "INSERT INTO invoices VALUES (1, 100), (2, 200)",
    );
    block_on(async {
        let report = site
            .get(
                "/audit/report?table=invoices&from=-1h&ticket=T",
                Lane::Admin,
            )
            .await;
        let link = permalink(&report);
        assert!(!link.contains("-1h"), "instants are absolute: {link}");
        let command = report.texts("main dd pre").join(" ");
        assert!(
            command.contains("threadline export") && command.contains("--to"),
            "{command}"
        );
        let again = site.get(&link, Lane::Admin).await;
        let status = again.texts("main [role=status]").join(" ");
        assert!(status.contains("as it was when it was shared"), "{status}");
        assert_eq!(permalink(&again), link, "the address stays the same");

        trail.write("user:b", 7, "INSERT INTO invoices VALUES (3, 300)");
        let later = site.get(&link, Lane::Admin).await;
        let status = later.texts("main [role=status]").join(" ");
        assert!(
            status.contains("as it was"),
            "later changes are not part of it: {status}"
        );

        trail.run(
            "SET session_replication_role = replica;
             DELETE FROM threadline.audit_changes WHERE table_pk::text LIKE '%2%'",
        );
        let purged = site.get(&link, Lane::Admin).await;
        let status = purged.texts("main [role=status]").join(" ");
        assert!(
            status.contains("the report had 2 changes; it has 1 now"),
            "{status}"
        );
        let hidden = site.get(&link, Lane::Auditor).await;
        let status = hidden.texts("main [role=status]").join(" ");
        assert!(status.contains("another part of the trail"), "{status}");
        let forged = link.replace("digest=", "digest=0");
        let forged = site.get(&forged, Lane::Admin).await;
        assert_eq!(forged.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn the_digest_is_that_of_the_evidence_and_both_documents_are_recorded() {
    let trail = Trail::new();
    let site = Site::new(trail.recording_builder().build().unwrap());
    let sql = r#"INSERT INTO invoices VALUES (1, 1, 'x', '{"n": 12345678901234567890.10}')"#;
    trail.write("user:a", 7, sql);
    let id = transaction(&trail);
    block_on(async {
        let address = format!("/audit/report.json?transaction={id}");
        let head = site
            .send(request(Method::HEAD, &address, Lane::Admin, ""))
            .await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.bytes.is_empty(), "and nothing is recorded");
        let document = site.get(&address, Lane::Admin).await;
        assert_eq!(document.header("content-type"), "application/json");
        let bare = site
            .get(&format!("{address}&evidence=true"), Lane::Admin)
            .await;
        let digest = hex::encode(Sha256::digest(&bare.bytes));
        assert!(document.text.contains(&format!(r#""sha256":"{digest}""#)));
        assert!(document.text.contains(&bare.text), "the same bytes");
        assert!(
            bare.text.contains("12345678901234567890.10"),
            "{}",
            bare.text
        );
        let page = site
            .get(&format!("/audit/report?transaction={id}"), Lane::Admin)
            .await;
        assert!(page.text.contains(&digest));
        let recorded = trail.recorded(3).await;
        assert_eq!(recorded, ["console.report ok"; 3]);
        let digests = trail.query(
            "SELECT string_agg(DISTINCT meta ->> 'sha256', ',') FROM threadline.audit_actions
             WHERE category = 'console'",
        );
        assert_eq!(digests, digest);
    });
}

#[test]
fn a_report_without_values_names_the_fields_only() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 987654)");
    trail.write("user:a", 7, "UPDATE invoices SET total_cents = 876543");
    block_on(async {
        for address in [
            "/audit/report?table=invoices",
            "/audit/report.json?table=invoices",
        ] {
            let answer = site.get(address, Lane::NoValues).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.text.contains("total_cents"), "{address}");
            for value in ["987654", "876543"] {
                assert!(!answer.text.contains(value), "{address}: {}", answer.text);
            }
        }
        let denied = site
            .get("/audit/report?table=invoices", Lane::Support)
            .await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN);
        let search = site
            .get("/audit/report?scan_values=987654&from=-1h", Lane::NoValues)
            .await;
        assert_eq!(search.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn hostile_texts_and_values_are_text() {
    let trail = Trail::new();
    let site = trail.site();
    let value = HOSTILE.replace('\'', "''");
    let sql = format!(r#"INSERT INTO "odd <schema>"."t ""<b>'1" VALUES ('{value}', 1, '{value}')"#);
    trail.write("user:x", 7, &sql);
    let id = transaction(&trail);
    let text: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let address = format!("/audit/report?transaction={id}&ticket={text}&question={text}");
    block_on(async {
        let report = site.get(&address, Lane::Admin).await;
        assert_eq!(report.status, StatusCode::OK);
        assert!(report.texts("b, i, main script").is_empty());
        assert!(
            report
                .texts("#answer")
                .join(" ")
                .contains("<script>alert(1)</script>")
        );
        let addresses = report.addresses();
        assert!(
            addresses
                .iter()
                .all(|one| one.starts_with("/audit") || one.starts_with('#'))
        );
        let again = site.get(&permalink(&report), Lane::Admin).await;
        assert_eq!(again.texts("h1"), report.texts("h1"));
    });
}

#[test]
fn a_report_without_a_subject_is_a_form_and_a_large_one_is_refused() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write(
        "user:a",
        7,
        "INSERT INTO invoices SELECT n, n FROM generate_series(1, 201) AS n",
    );
    block_on(async {
        let form = site.get("/audit/report?ticket=SUP-1", Lane::Admin).await;
        assert_eq!(form.status, StatusCode::OK);
        assert_eq!(form.attributes("#field-ticket", "value"), ["SUP-1"]);
        let large = site.get("/audit/report?table=invoices", Lane::Admin).await;
        assert_eq!(large.status, StatusCode::UNPROCESSABLE_ENTITY);
        let alert = large.texts("[role=alert]").join(" ");
        assert!(alert.contains("at most 200 changes"), "{alert}");
        assert_eq!(large.attributes("#field-table", "value"), ["invoices"]);
        for query in ["tz=Mars", "transaction=x", "nmae=1", "digest=1", "shared=1"] {
            let answer = site
                .get(&format!("/audit/report?{query}"), Lane::Admin)
                .await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        }
        let empty = site
            .get("/audit/report?table=invoices&key=999", Lane::Admin)
            .await;
        assert!(
            empty
                .texts("main")
                .join(" ")
                .contains("Nothing is recorded")
        );
        let missing = site
            .get(
                "/audit/report?transaction=000303c2-476f-25e9-0000-0000000002f8",
                Lane::Admin,
            )
            .await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn times_of_a_report_are_in_its_zone() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 1)");
    let address = "/audit/report?table=invoices&tz=Asia/Kolkata";
    block_on(async {
        let report = site.get(address, Lane::Admin).await;
        assert!(
            report
                .texts("#answer")
                .join(" ")
                .contains(" +05:30: user:a inserted")
        );
        assert!(report.texts("footer").join(" ").contains("Asia/Kolkata"));
        assert!(permalink(&report).contains("tz=Asia%2FKolkata"));
    });
}
