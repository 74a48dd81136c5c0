//! Evidence: verdicts with reason and age, records, histories, the document.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{HOSTILE, Lane, Site, Trail, block_on, request, run_worker};

/// Records evidence by a function of the schema. Instants are SQL.
fn record(trail: &Trail, function: &str, fields: &Value, valid: &str, observed: Option<&str>) {
    let mut evidence = json!({
        "subject": "trigger_coverage",
        "subject_ref": {"check": "coverage"},
        "outcome": "pass",
        "summary_status": "2 of 2 tables captured",
        "check_name": "coverage",
        "check_version": 1,
        "library_version": "0.9.0",
        "detail": {"errors": 0},
    });
    let object = evidence.as_object_mut().unwrap();
    for (name, value) in fields.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    let text = evidence.to_string().replace('\'', "''");
    let observed = observed.unwrap_or("NULL");
    trail.run(&format!(
        "SELECT threadline.{function}('{text}'::jsonb || jsonb_build_object(
            'valid_until', {valid}, 'observed_from', {observed}, 'observed_to', {observed}))"
    ));
}

/// The last of the records.
fn newest_id(trail: &Trail) -> String {
    trail.query("SELECT max(order_id)::text FROM threadline.audit_evidence")
}

const TOMORROW: &str = "now() + interval '1 day'";

#[test]
fn a_verdict_follows_from_basis_outcome_what_was_read_and_the_time() {
    let trail = Trail::new();
    let now = Some("now()");
    let subject = |subject: &str| json!({"subject": subject});
    record(&trail, "record_check", &json!({}), TOMORROW, now);
    record(
        &trail,
        "record_check",
        &subject("role_posture"),
        TOMORROW,
        None,
    );
    record(
        &trail,
        "record_evidence",
        &subject("support_scope_posture"),
        TOMORROW,
        now,
    );
    let failed = json!({"subject": "redaction_policy", "outcome": "fail"});
    record(&trail, "record_check", &failed, TOMORROW, now);
    let late = subject("retention_run");
    record(
        &trail,
        "record_check",
        &late,
        "now() - interval '1 hour'",
        now,
    );
    let page = block_on(trail.site().get("/audit/evidence", Lane::Admin));
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let rows = page.texts("[aria-label=Evidence] tbody tr");
    let row = |subject: &str| {
        let found = rows.iter().find(|row| row.starts_with(subject));
        found.unwrap_or_else(|| panic!("{subject} in {rows:?}"))
    };
    for (subject, verdict, reason) in [
        ("trigger coverage", "Proven", "a check read records"),
        ("role posture", "Inferred", "a check of settings passed"),
        (
            "support scope posture",
            "Inferred",
            "the application states it",
        ),
        ("redaction policy", "Unsupported", "the check failed"),
        ("retention run", "Unsupported", "the result is out of date"),
    ] {
        let row = row(subject);
        assert!(row.contains(verdict) && row.contains(reason), "{row}");
    }
    assert!(row("trigger coverage").contains("s ago"), "the age");
    let main = page.texts("main").join(" ");
    assert!(main.contains("without any evidence: "), "{main}");
    assert!(main.contains("threadline evidence run coverage"), "{main}");
}

#[test]
fn a_record_shows_what_was_checked_by_whom_and_how_to_check_again() {
    let trail = Trail::new();
    let fields = json!({
        "summary_status": HOSTILE,
        "actor": {"type": "job", "id": "nightly"},
        "detail": {"odd": HOSTILE},
    });
    record(&trail, "record_check", &fields, TOMORROW, Some("now()"));
    let site = trail.site();
    block_on(async {
        let id = newest_id(&trail);
        let page = site
            .get(&format!("/audit/evidence/record?id={id}"), Lane::Admin)
            .await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.texts("script").iter().all(String::is_empty));
        let main = page.texts("main").join(" ");
        for part in [
            "trigger coverage",
            "Proven",
            "job:nightly",
            "coverage, version 1, threadline 0.9.0",
            "threadline evidence run coverage",
            "<script>alert(1)</script>",
        ] {
            assert!(main.contains(part), "{part} in {main}");
        }
        let json = site
            .get(
                &format!("/audit/evidence/record?id={id}&format=json"),
                Lane::Admin,
            )
            .await;
        let record: Value = serde_json::from_str(&json.text).unwrap();
        assert_eq!(record["check_name"], "coverage");
        let none = site.get("/audit/evidence/record?id=1", Lane::Admin).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND);
        let missing = site.get("/audit/evidence/record", Lane::Admin).await;
        assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn a_history_has_the_records_of_a_subject_in_pages() {
    let trail = Trail::new();
    for _ in 0..3 {
        record(&trail, "record_check", &json!({}), TOMORROW, None);
    }
    let other = json!({"subject": "role_posture"});
    record(&trail, "record_check", &other, TOMORROW, None);
    let site = trail.site();
    block_on(async {
        let address = "/audit/evidence/history?subject=trigger_coverage&limit=2";
        let page = site.get(address, Lane::Admin).await;
        assert_eq!(page.texts("tbody tr").len(), 2, "{}", page.text);
        let next = page.attributes("a[rel=next]", "href");
        let last = site.get(&next[0], Lane::Admin).await;
        assert_eq!(last.texts("tbody tr").len(), 1);
        let all = site.get("/audit/evidence/history", Lane::Admin).await;
        assert_eq!(all.texts("tbody tr").len(), 4);
        let unknown = site
            .get("/audit/evidence/history?subject=none", Lane::Admin)
            .await;
        assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    });
}

#[test]
fn the_document_is_a_file_with_a_digest_that_other_sites_cannot_cause() {
    let trail = Trail::new();
    record(&trail, "record_check", &json!({}), TOMORROW, Some("now()"));
    let site = trail.site();
    block_on(async {
        let address = "/audit/evidence/document.json?from=-1d&subject=trigger_coverage";
        let file = site.get(address, Lane::Admin).await;
        assert_eq!(file.status, StatusCode::OK, "{}", file.text);
        let name = file.header("content-disposition");
        assert!(
            name.starts_with("attachment; filename=\"evidence-trigger_coverage-at-2"),
            "{name}"
        );
        let document: Value = serde_json::from_str(&file.text).unwrap();
        assert_eq!(document["summary"]["record_count"], 1, "{}", file.text);
        assert_eq!(document["sha256"].as_str().map(str::len), Some(64));
        let no_start = site
            .get("/audit/evidence/document.json?to=now", Lane::Admin)
            .await;
        assert_eq!(no_start.status, StatusCode::UNPROCESSABLE_ENTITY);
        let mut foreign = request(Method::GET, address, Lane::Admin, "");
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ] {
            foreign.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(site.send(foreign).await.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn start_shows_the_verdicts_and_the_age_of_the_oldest() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let part = "/audit/parts/health?number=evidence";
        let none = site.get(part, Lane::Admin).await;
        assert!(none.text.contains("none"), "{}", none.text);
        record(&trail, "record_check", &json!({}), TOMORROW, Some("now()"));
        let failed = json!({"subject": "redaction_policy", "outcome": "fail"});
        record(&trail, "record_check", &failed, TOMORROW, None);
        let shown = site.get(part, Lane::Admin).await;
        assert!(
            shown.text.contains("1 proven, 1 unsupported, oldest "),
            "{}",
            shown.text
        );
        let hidden = site.get(part, Lane::Support).await;
        assert_eq!(hidden.status, StatusCode::FORBIDDEN);
        trail.run("DROP TABLE threadline.audit_evidence CASCADE");
        let unknown = site.get(part, Lane::Admin).await;
        assert!(unknown.text.contains("unknown"), "{}", unknown.text);
        let page = site.get("/audit/evidence", Lane::Admin).await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        assert!(page.text.contains("threadline_0002"), "{}", page.text);
    });
}

#[test]
fn a_requested_check_is_run_by_the_worker_and_only_for_the_whole_trail() {
    let trail = Trail::new();
    let (builder, storages) = trail.background_builder();
    let site = Site::new(builder.build().unwrap());
    block_on(async {
        let request = async |lane: Lane, form: &str| {
            let answer = site.post("/audit/evidence/check", lane, form).await;
            answer.status
        };
        assert_eq!(
            request(Lane::Admin, "check=continuity").await,
            StatusCode::SEE_OTHER
        );
        let job =
            "SELECT concat_ws(' ', kind, actor, request ->> 'check') FROM threadline.audit_jobs";
        assert_eq!(trail.query(job), "check admin:admin continuity");
        let page = site.get("/audit/evidence", Lane::Admin).await;
        let requested = page.texts("[aria-label='Requested checks'] li").join(" ");
        assert!(requested.starts_with("queued continuity"), "{requested}");
        run_worker(&trail, &storages).await;
        let page = site.get("/audit/evidence", Lane::Admin).await;
        let rows = page.texts("[aria-label=Evidence] tbody tr").join(" ");
        assert!(
            rows.contains("capture continuity") && rows.contains("admin:admin"),
            "{rows}"
        );
        assert_eq!(
            request(Lane::Auditor, "check=continuity").await,
            StatusCode::FORBIDDEN
        );
        let unknown = request(Lane::Admin, "check=none").await;
        assert_eq!(unknown, StatusCode::UNPROCESSABLE_ENTITY);
    });
    let page = block_on(trail.site().get("/audit/evidence", Lane::Admin));
    assert!(page.attributes("form[method=post]", "action").is_empty());
}
