//! The page of one row.

use axum::http::StatusCode;
use form_urlencoded::Serializer;

use crate::harness::{Answer, HOSTILE, Lane, Trail, block_on};

const ODD: &str = r#""odd <schema>"."t ""<b>'1""#;

fn get(trail: &Trail, address: &str, lane: Lane) -> Answer {
    block_on(trail.site().get(address, lane))
}

/// The page of a row with parameters.
fn row(trail: &Trail, parameters: &[(&str, &str)], lane: Lane) -> Answer {
    let query = Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    get(trail, &format!("/audit/rows?{query}"), lane)
}

fn invoice(trail: &Trail, key: &str, rest: &[(&str, &str)], lane: Lane) -> Answer {
    let mut parameters = vec![("table", "invoices"), ("key", key)];
    parameters.extend_from_slice(rest);
    row(trail, &parameters, lane)
}

impl Trail {
    /// An invoice that was inserted, and updated twice.
    fn with_invoice() -> Self {
        let trail = Self::new();
        for sql in [
            "INSERT INTO invoices VALUES (4, 9900, 'draft')",
            "UPDATE invoices SET note = NULL",
            "UPDATE invoices SET total_cents = 8910",
        ] {
            trail.write("user:alice", 7, sql);
        }
        trail
    }

    /// The instant of the nth change.
    fn captured_at(&self, place: usize) -> String {
        self.query(&format!(
            "SELECT to_char(captured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
             FROM threadline.audit_changes ORDER BY id OFFSET {place} LIMIT 1"
        ))
    }
}

#[test]
fn a_row_shows_its_history_and_the_effect_of_its_last_change() {
    let trail = Trail::with_invoice();
    let page = invoice(&trail, "4", &[], Lane::Admin);
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert_eq!(page.texts("h1"), ["Row public.invoices 4"]);
    assert_eq!(page.texts(".entries > li").len(), 3);
    assert_eq!(
        page.texts("table.diff tbody tr"),
        [
            "total_centswas 9900now 8910",
            "detailsnullnull",
            "id44",
            "notenullnull"
        ]
    );
    let text = page.texts("main").join(" ");
    for part in [
        "Changes are known since",
        "◀ change before",
        "threadline history",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("change after ▶ Removed"));
}

#[test]
fn two_instants_are_compared_and_links_move_them_from_change_to_change() {
    let trail = Trail::with_invoice();
    let (first, second) = (trail.captured_at(0), trail.captured_at(1));
    let page = invoice(&trail, "4", &[("a", &first), ("b", &second)], Lane::Admin);
    assert_eq!(
        page.texts("table.diff tbody tr.differs"),
        ["notewas draftnow null"]
    );
    assert_eq!(page.attributes("#field-a", "value"), [first.as_str()]);
    let stops = page.attributes("form[data-stops]", "data-stops").remove(0);
    assert_eq!(stops.split(' ').count(), 3);
    assert_eq!(page.attributes("#slider-b", "value"), ["1"]);
    let after = page
        .attributes("#state-b ~ .links a", "href")
        .pop()
        .unwrap();
    let moved = get(&trail, &after, Lane::Admin);
    assert_eq!(moved.attributes("#slider-b", "value"), ["2"]);
    assert_eq!(moved.attributes("#field-a", "value"), [first.as_str()]);
    assert_eq!(moved.texts("tr.differs").len(), 2);
}

#[test]
fn one_instant_shows_the_row_as_of_it_and_is_the_document_of_as_of() {
    let trail = Trail::with_invoice();
    let at = trail.captured_at(0);
    let page = invoice(&trail, "4", &[("at", &at)], Lane::Admin);
    assert!(
        page.texts("table.diff tbody tr")
            .contains(&"notedraft".to_owned())
    );
    let json = invoice(&trail, "4", &[("at", &at), ("format", "json")], Lane::Admin);
    let document: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(document["state"], "row");
    assert_eq!(document["row"]["note"], "draft");
    let history = invoice(&trail, "4", &[("format", "json")], Lane::Admin);
    let document: serde_json::Value = serde_json::from_str(&history.text).unwrap();
    assert_eq!(document["entries"].as_array().unwrap().len(), 3);
}

#[test]
fn a_row_that_is_not_known_at_an_instant_says_why() {
    let trail = Trail::with_invoice();
    let before = invoice(&trail, "4", &[("at", "2001-01-01T00:00:00Z")], Lane::Admin);
    let text = before.texts(".card").join(" ");
    assert!(text.contains("The row was inserted later"), "{text}");
    assert!(text.contains("Capture of the table began at"), "{text}");
    trail.write("user:bob", 7, "DELETE FROM invoices");
    let deleted = invoice(&trail, "4", &[("at", "now")], Lane::Admin);
    let text = deleted.texts(".card").join(" ");
    assert!(text.contains("no row Removed by delete"), "{text}");
    assert!(text.contains("user:bob"), "{text}");
}

#[test]
fn a_row_whose_older_records_were_removed_names_retention() {
    let trail = Trail::with_invoice();
    trail.run(
        "SELECT threadline.record_removal('retention', 'older than <b>a year</b>',
             jsonb_build_object('cutoffs', jsonb_build_object('public.invoices', now())), 5);
         INSERT INTO threadline.audit_horizons VALUES ('public', 'invoices', now())",
    );
    let page = invoice(&trail, "4", &[("at", "2001-01-01T00:00:00Z")], Lane::Admin);
    let text = page.texts(".card").join(" ");
    assert!(
        text.contains("Older records were removed by retention"),
        "{text}"
    );
    assert!(text.contains("older than <b>a year</b>"), "{text}");
    let transaction = format!("/audit/transactions?id={}", trail.newest_change());
    let note = get(&trail, &transaction, Lane::Admin).texts(".completeness");
    assert!(note[0].contains("Retention removed changes of"), "{note:?}");
}

#[test]
fn a_field_has_its_values_over_time_and_the_instant_it_became_one() {
    let trail = Trail::with_invoice();
    let field = invoice(&trail, "4", &[("field", "total_cents")], Lane::Admin);
    let table = field.texts("[aria-label='Changes of the field'] tbody tr");
    assert_eq!(table.len(), 2);
    assert!(table[0].contains("was 9900"), "{table:?}");
    let became = [("field", "total_cents"), ("became", "8910")];
    let answer = invoice(&trail, "4", &became, Lane::Admin);
    let text = answer.texts(".headline").join(" ");
    assert!(text.contains("total_cents became 8910 at"), "{text}");
    let never = invoice(
        &trail,
        "4",
        &[("field", "total_cents"), ("became", "5")],
        Lane::Admin,
    );
    let text = never.texts(".empty").join(" ");
    assert!(text.contains("was never set to this value"), "{text}");
    let wrong = invoice(
        &trail,
        "4",
        &[("field", "total_cents"), ("became", "x")],
        Lane::Admin,
    );
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let hidden = invoice(&trail, "4", &became, Lane::NoValues);
    assert_eq!(hidden.status, StatusCode::FORBIDDEN);
}

#[test]
fn the_restore_statement_is_a_text_as_of_a() {
    let trail = Trail::with_invoice();
    let at = trail.captured_at(0);
    let parameters = [("a", at.as_str()), ("restore", "true")];
    let page = invoice(&trail, "4", &parameters, Lane::Admin);
    let script = page.texts("details pre").join(" ");
    assert!(
        script.contains(r#"UPDATE "public"."invoices" SET "total_cents""#),
        "{script}"
    );
    assert_eq!(trail.query("SELECT total_cents FROM invoices"), "8910");
    trail.write("user:alice", 7, "DELETE FROM invoices");
    let last = invoice(&trail, "4", &[("restore", "true")], Lane::Admin);
    let script = last.texts("details pre").join(" ");
    assert!(
        script.contains(r#"INSERT INTO "public"."invoices""#),
        "{script}"
    );
}

#[test]
fn a_changed_key_is_followed_and_named() {
    let trail = Trail::with_invoice();
    trail.write("user:alice", 7, "UPDATE invoices SET id = 5");
    let page = invoice(&trail, "5", &[], Lane::Admin);
    assert_eq!(page.texts(".entries > li").len(), 4);
    let headline = page.texts(".headline").join(" ");
    assert!(headline.contains("was 4 until"), "{headline}");
    let old = invoice(&trail, "4", &[], Lane::Admin);
    assert_eq!(old.status, StatusCode::OK);
}

#[test]
fn a_move_between_partitions_is_named_at_its_delete_and_its_insert() {
    let trail = Trail::new();
    trail.run(
        "CREATE TABLE visits (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE visits_eu PARTITION OF visits FOR VALUES IN ('eu');
         CREATE TABLE visits_us PARTITION OF visits FOR VALUES IN ('us')",
    );
    trail.capture("visits", &[], &[]);
    trail.write("user:alice", 7, "INSERT INTO visits VALUES (1, 'eu', 5)");
    trail.write("user:alice", 7, "UPDATE visits SET region = 'us'");
    let keys = [("table", "visits"), ("key", "id=1,region=us")];
    let page = row(&trail, &keys, Lane::Admin);
    let entries = page.texts(".entries > li").join(" ");
    assert!(entries.contains("Moved to another partition"), "{entries}");
    assert!(
        entries.contains("Arrived from another partition"),
        "{entries}"
    );
}

#[test]
fn masked_and_excluded_fields_are_words_and_not_in_the_restore_statement() {
    let trail = Trail::new();
    trail.run("CREATE TABLE members (id int PRIMARY KEY, email text, photo bytea, name text)");
    trail.capture("members", &["email"], &["photo"]);
    trail.write(
        "user:alice",
        7,
        "INSERT INTO members VALUES (1, 'a@example.com', NULL, 'A')",
    );
    trail.write("user:alice", 7, "UPDATE members SET name = 'B'");
    let member = [("table", "members"), ("key", "1"), ("restore", "true")];
    let page = row(&trail, &member, Lane::Admin);
    assert_eq!(
        page.texts("table.diff tbody tr"),
        [
            "namewas Anow B",
            "emailmaskedmasked",
            "id11",
            "photoexcludedexcluded"
        ]
    );
    let restore = page.texts("details[open] li").join(" ");
    assert!(
        restore.contains("email (masked): is not changed"),
        "{restore}"
    );
    assert!(
        restore.contains("photo (excluded): is not changed"),
        "{restore}"
    );
}

#[test]
fn gaps_of_capture_are_listed_between_the_changes() {
    let trail = Trail::with_invoice();
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture(ARRAY['invoices']::regclass[], 'bulk load');
         UPDATE invoices SET note = 'unseen'; COMMIT",
    );
    trail.write("user:alice", 7, "UPDATE invoices SET note = 'seen'");
    let entries = invoice(&trail, "4", &[], Lane::Admin).texts(".entries > li");
    assert!(entries[1].contains("capture was suspended"), "{entries:?}");
    assert_eq!(entries.len(), 5);
}

#[test]
fn a_composite_key_of_a_table_with_a_hostile_name_is_followed_by_its_links() {
    let trail = Trail::new();
    let value = HOSTILE.replace('\'', "''");
    trail.write(
        "user:x",
        7,
        &format!("INSERT INTO {ODD} VALUES ('a, b=c', 1, '{value}')"),
    );
    trail.write("user:x", 7, &format!("UPDATE {ODD} SET note = ''"));
    let keys = [("table", ODD), ("key", "a b=a, b=c"), ("key", "<i>=1")];
    let page = row(&trail, &keys, Lane::Admin);
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.texts("b, i, main script").is_empty());
    assert!(page.text.contains("&lt;script&gt;alert(1)"));
    assert!(page.texts("table.diff tr.differs")[0].ends_with("now empty text"));
    let mut rows = page.attributes(".entries a", "href");
    rows.retain(|href| href.starts_with("/audit/rows"));
    for address in page.addresses() {
        assert!(
            address.starts_with("/audit") || address == "#main",
            "{address}"
        );
        if address.starts_with("/audit/rows?") {
            let answer = get(&trail, &address, Lane::Admin);
            assert_eq!(answer.status, StatusCode::OK, "{address}");
        }
    }
    assert!(!rows.is_empty());
}

#[test]
fn a_row_without_changes_says_how_keys_look() {
    let trail = Trail::with_invoice();
    let page = invoice(&trail, "99", &[], Lane::Admin);
    assert_eq!(page.status, StatusCode::OK);
    let text = page.texts(".empty").join(" ");
    assert!(text.contains("keys look like 4"), "{text}");
    let unknown = row(&trail, &[("table", "invoicse"), ("key", "4")], Lane::Admin);
    let similar = unknown.attributes(".empty a", "href").remove(0);
    assert_eq!(similar, "/audit/rows?table=public.invoices&key=4");
    assert_eq!(get(&trail, &similar, Lane::Admin).status, StatusCode::OK);
}

#[test]
fn a_scope_shows_the_same_for_hidden_rows_hidden_tables_and_nothing() {
    let trail = Trail::with_invoice();
    trail.write("user:bob", 8, "INSERT INTO invoices VALUES (8, 777777)");
    trail.write("user:bob", 8, &format!("INSERT INTO {ODD} VALUES ('x', 1)"));
    assert_eq!(
        invoice(&trail, "4", &[], Lane::Support)
            .texts(".entries > li")
            .len(),
        3
    );
    for rest in [
        &[][..],
        &[("at", "now")],
        &[("restore", "true")],
        &[("field", "total_cents"), ("became", "777777")],
        &[("with_children", "true")],
    ] {
        let hidden = invoice(&trail, "8", rest, Lane::Support);
        let missing = invoice(&trail, "9", rest, Lane::Support);
        assert_eq!(hidden.status, missing.status, "{rest:?}");
        let is_echo = rest.iter().any(|(_, value)| *value == "777777");
        assert!(is_echo || !hidden.text.contains("777777"), "{rest:?}");
        assert_eq!(hidden.texts("main .empty"), missing.texts("main .empty"));
        assert!(
            hidden
                .texts(".empty")
                .join(" ")
                .contains("No changes match")
        );
    }
    let hidden = row(&trail, &[("table", ODD), ("key", "x")], Lane::Support);
    let missing = row(&trail, &[("table", "nothing"), ("key", "x")], Lane::Support);
    assert_eq!(hidden.status, missing.status);
    assert_eq!(hidden.texts(".empty"), missing.texts(".empty"));
}

#[test]
fn without_values_a_row_names_the_fields_that_changed() {
    let trail = Trail::with_invoice();
    for rest in [
        &[][..],
        &[("at", "now")],
        &[("field", "total_cents")],
        &[("restore", "true")],
    ] {
        let page = invoice(&trail, "4", rest, Lane::NoValues);
        assert_eq!(page.status, StatusCode::OK, "{rest:?}");
        assert!(page.text.contains("total_cents"), "{rest:?}");
        for value in [">9900<", ">8910<", "draft"] {
            assert!(!page.text.contains(value), "{rest:?}: {value}");
        }
    }
    let json = invoice(&trail, "4", &[("format", "json")], Lane::NoValues);
    assert_eq!(json.status, StatusCode::FORBIDDEN);
}

#[test]
fn the_address_without_a_row_is_a_form_and_invalid_parameters_are_422_at_the_field() {
    let trail = Trail::with_invoice();
    let form = get(&trail, "/audit/rows", Lane::Admin);
    assert_eq!(form.status, StatusCode::OK);
    assert_eq!(
        form.attributes("main input", "name"),
        ["table", "key", "at"]
    );
    for (query, message) in [
        ("?table=invoices", "give the key"),
        ("?key=4", "give the table"),
        ("?table=invoices&key=x", "is not a value of column"),
        ("?table=invoices&key=4&at=soon", "write 2026"),
        ("?table=invoices&key=4&at=now&a=now", "give one instant"),
        ("?table=invoices&key=4&became=1", "a value needs its field"),
        ("?table=invoices&key=4&nmae=1", "no such parameter"),
    ] {
        let answer = get(&trail, &format!("/audit/rows{query}"), Lane::Admin);
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let alert = answer.texts("[role=alert]").join(" ");
        assert!(alert.contains(message), "{query}: {alert}");
    }
}

#[test]
fn a_scope_shows_a_suspension_of_the_table_without_its_reason() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 5)");
    trail.run(
        "BEGIN; SELECT threadline.suspend_capture('{invoices}', 'backfill for Globex');
         UPDATE invoices SET total_cents = 6; COMMIT",
    );
    block_on(async {
        for address in [
            "/audit/rows?table=invoices&key=1",
            "/audit/rows?table=invoices&key=1&at=now",
        ] {
            let whole = site.get(address, Lane::Admin).await;
            assert!(whole.text.contains("backfill for Globex"), "{address}");
            for address in [address.to_owned(), format!("{address}&format=json")] {
                let scoped = site.get(&address, Lane::Support).await;
                assert_eq!(scoped.status, StatusCode::OK, "{address}");
                assert!(scoped.text.contains("suspended"), "{address}");
                assert!(!scoped.text.contains("Globex"), "{address}");
            }
        }
    });
}
