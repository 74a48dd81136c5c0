//! Diffs of changes, JSON documents and texts, including values that are not known.

use proptest::prelude::*;
use serde_json::{Value, json};
use threadline::AuditChange;
use threadline::models::StoredJson;
use threadline::query::diff::{ChangeDiff, FieldState, JsonDiff, RowDiff, RulesSource, TextDiff};
use threadline::table::AuditedTable;

use crate::harness::{Trail, block_on, captured, empty_trail};

fn stored(text: &str) -> StoredJson {
    serde_json::from_str(text).unwrap()
}

/// A document without insignificant whitespace and with sorted fields.
fn canonical(document: &StoredJson) -> String {
    if document.as_str().starts_with('{') {
        let mut fields: Vec<_> = document
            .fields()
            .iter()
            .map(|(name, value)| format!("{name:?}:{}", canonical(value)))
            .collect();
        fields.sort();
        return format!("{{{}}}", fields.join(","));
    }
    match document.read::<Vec<StoredJson>>() {
        Ok(elements) => {
            let elements: Vec<_> = elements.iter().map(canonical).collect();
            format!("[{}]", elements.join(","))
        }
        Err(_) => document.as_str().to_owned(),
    }
}

/// JSON text from a small vocabulary, so that two documents share parts.
fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1.0".to_owned()),
        Just("1.00".to_owned()),
        Just("12345678901234567890.123456789".to_owned()),
        Just(r#""a/b~c""#.to_owned()),
        (0..5_i32).prop_map(|number| number.to_string()),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|elements| format!("[{}]", elements.join(", "))),
            prop::collection::btree_map("[ab/~]{0,2}", inner, 0..5).prop_map(|fields| {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| format!("{}: {value}", Value::from(name.as_str())))
                    .collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn applying_a_json_diff_to_before_gives_after(before in any_json(), after in any_json()) {
        let (before, after) = (stored(&before), stored(&after));
        let diff = JsonDiff::between(&before, &after);
        prop_assert_eq!(diff.edits.is_empty(), canonical(&before) == canonical(&after));
        let applied = diff.apply(&before).unwrap();
        prop_assert_eq!(canonical(&applied), canonical(&after));
        let read: JsonDiff = serde_json::from_str(&serde_json::to_string(&diff).unwrap()).unwrap();
        prop_assert_eq!(read, diff);
    }

    #[test]
    fn applying_a_text_diff_to_before_gives_after(
        before in "([abc]{0,1}\r?\n){0,20}[ab]?", after in "([abc]{0,1}\r?\n){0,20}[ab]?"
    ) {
        let diff = TextDiff::between(&before, &after);
        prop_assert_eq!(diff.hunks.is_empty(), before == after);
        prop_assert_eq!(diff.apply(&before), Ok(after));
    }
}

#[test]
fn a_diff_applied_to_another_document_is_refused() {
    let diff = JsonDiff::between(&stored(r#"{"a": 1}"#), &stored(r#"{"a": 2}"#));
    assert!(diff.apply(&stored(r#"{"a": 3}"#)).is_err());
    assert!(diff.apply(&stored("[]")).is_err());
    assert!(TextDiff::between("a\n", "b\n").apply("c\n").is_err());
}

/// All recorded changes in the order of their ids.
fn changes(trail: &Trail) -> Vec<AuditChange> {
    let ids = trail.query_json("SELECT jsonb_agg(id ORDER BY id) FROM threadline.audit_changes");
    block_on(async {
        let mut conn = trail.connect().await;
        let mut changes = Vec::new();
        for id in ids.as_array().unwrap() {
            let found = threadline::change(&mut conn, id.as_i64().unwrap()).await;
            changes.push(found.unwrap().unwrap().change);
        }
        changes
    })
}

fn deployed(trail: &Trail) -> Vec<AuditedTable> {
    block_on(async {
        threadline::deployed_tables(&mut trail.connect().await)
            .await
            .unwrap()
    })
}

/// The states of a field before and after a change.
fn states(diff: &ChangeDiff, field: &str) -> (&'static str, &'static str) {
    let field = diff.field(field).unwrap();
    (field.before.as_str(), field.after.as_str())
}

fn articles() -> Trail {
    let trail = empty_trail();
    trail.run(
        "CREATE TABLE articles (id int PRIMARY KEY, price numeric, body text, meta jsonb, \
         raw json, author_email text, secret text, note text)",
    );
    let table = trail
        .introspect("articles")
        .redact(["secret"], ["author_email"])
        .unwrap();
    trail.capture(&table);
    trail.run(
        "INSERT INTO articles VALUES (1, 1.10, E'one\\ntwo\\nthree\\n', \
         '{\"tags\": [\"a\", \"b\"], \"limit\": 1.0}', '{\"k\":  1}', 'a@example.org', 's', NULL)",
    );
    trail
}

#[test]
fn field_states_distinguish_absent_null_value_masked_and_excluded() {
    let trail = articles();
    trail.run(
        "UPDATE articles SET price = 1.100, note = 'x', author_email = 'b@example.org', secret = 't'",
    );
    trail.run("DELETE FROM articles");
    let rules = deployed(&trail);
    let changes = changes(&trail);
    let [insert, update, delete] = &changes[..] else {
        panic!("{changes:?}")
    };
    let diff = ChangeDiff::with_rules_among(insert, &rules);
    assert_eq!(diff.rules, RulesSource::Declared);
    assert_eq!(
        (diff.key_before.as_ref(), diff.key_after.is_some()),
        (None, true)
    );
    assert_eq!(states(&diff, "price"), ("absent", "value"));
    assert_eq!(states(&diff, "note"), ("absent", "null"));
    assert_eq!(states(&diff, "author_email"), ("absent", "masked"));
    assert_eq!(states(&diff, "secret"), ("absent", "excluded"));

    let diff = ChangeDiff::with_rules_among(update, &rules);
    let fields: Vec<_> = diff
        .fields
        .iter()
        .map(|field| field.field.as_str())
        .collect();
    assert_eq!(fields, ["author_email", "note", "price", "secret"]);
    assert_eq!(states(&diff, "note"), ("null", "value"));
    assert_eq!(states(&diff, "author_email"), ("masked", "masked"));
    assert_eq!(states(&diff, "secret"), ("excluded", "excluded"));
    let price = diff.field("price").unwrap();
    assert_eq!(price.before, FieldState::Value(stored("1.10")));
    assert_eq!(price.after, FieldState::Value(stored("1.100")));

    let diff = ChangeDiff::with_rules_among(delete, &rules);
    assert_eq!(
        (diff.key_before.is_some(), diff.key_after.as_ref()),
        (true, None)
    );
    assert_eq!(states(&diff, "note"), ("value", "absent"));
    assert_eq!(states(&diff, "author_email"), ("masked", "absent"));
    assert_eq!(states(&diff, "secret"), ("excluded", "absent"));

    // Without the rules a placeholder is an ordinary value, and excluded columns are absent.
    let diff = ChangeDiff::of(update);
    assert_eq!(diff.rules, RulesSource::Unknown);
    assert_eq!(states(&diff, "author_email"), ("value", "value"));
    assert!(diff.field("secret").is_none());
}

#[test]
fn a_masked_value_that_became_null_is_shown_as_null_if_the_rule_keeps_null() {
    let trail = empty_trail();
    trail.run("CREATE TABLE contacts (id int PRIMARY KEY, phone text)");
    let table = trail.introspect("contacts");
    trail.capture(&table.mask_keep_null(["phone"]).unwrap());
    trail.run("INSERT INTO contacts VALUES (1, '555')");
    trail.run("UPDATE contacts SET phone = NULL");
    let update = &changes(&trail)[1];
    let diff = ChangeDiff::with_rules_among(update, &deployed(&trail));
    assert_eq!(states(&diff, "phone"), ("masked", "null"));
    assert!(diff.to_string().contains("(masked) → (null)"), "{diff}");
}

#[test]
fn fields_that_are_not_stored_have_the_state_unknown() {
    let trail = articles();
    // After a column was dropped, capture uses its fallback, which compares every column.
    trail.run("ALTER TABLE articles DROP COLUMN note, ADD COLUMN added text");
    trail.run("UPDATE articles SET added = 'x'");
    let update = &changes(&trail)[1];
    for diff in [
        ChangeDiff::of(update),
        ChangeDiff::with_rules_among(update, &deployed(&trail)),
    ] {
        assert_eq!(states(&diff, "added"), ("unknown", "unknown"));
    }
}

#[test]
fn json_is_diffed_by_path_and_long_text_by_line() {
    let trail = articles();
    trail.run(
        "UPDATE articles SET body = replace(body, 'two', '2'), \
         meta = '{\"tags\": [\"a\", \"c\", \"b\"], \"limit\": 1.00}', raw = '{\"k\": 2}'",
    );
    let diff = ChangeDiff::with_rules_among(&changes(&trail)[1], &deployed(&trail));
    let paths = |field: &str| -> Vec<_> {
        let edits = &diff.field(field).unwrap().json.as_ref().unwrap().edits;
        edits.iter().map(|edit| edit.path.as_str()).collect()
    };
    assert_eq!(paths("meta"), ["/limit", "/tags/1"]);
    assert_eq!(paths("raw"), ["/k"]);
    let body = diff.field("body").unwrap();
    assert_eq!(
        body.text
            .as_ref()
            .unwrap()
            .apply("one\ntwo\nthree\n")
            .unwrap(),
        "one\n2\nthree\n"
    );
    let shown = diff.to_string();
    for line in [
        "update public.articles id=1",
        "    @@ -1,3 +1,3 @@",
        "    -two",
        "    +2",
        "    ~ /limit  1.0 → 1.00",
        "    + /tags/1  \"c\"",
        "  never stored: secret",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[test]
fn a_diff_document_has_a_schema_version_and_round_trips() {
    let trail = articles();
    trail.run("UPDATE articles SET id = 2, price = 12345678901234567890.10");
    trail.run("TRUNCATE articles");
    let changes = changes(&trail);
    let rules = deployed(&trail);
    for change in &changes {
        let diff = ChangeDiff::with_rules_among(change, &rules);
        let text = serde_json::to_string(&diff).unwrap();
        assert_eq!(serde_json::from_str::<ChangeDiff>(&text).unwrap(), diff);
    }
    let update = serde_json::to_string(&ChangeDiff::of(&changes[1])).unwrap();
    assert!(
        update.contains(r#""after":{"state":"value","value":12345678901234567890.10}"#),
        "{update}"
    );
    let update: Value = serde_json::from_str(&update).unwrap();
    assert_eq!(update["schema_version"], json!(1));
    assert_eq!(update["key_before"], json!({"id": "1"}));
    assert_eq!(update["key_after"], json!({"id": "2"}));
    let truncate = ChangeDiff::of(&changes[2]);
    assert!(truncate.fields.is_empty() && truncate.key_before.is_none());
}

#[test]
fn applying_the_diff_of_an_update_to_the_old_row_gives_the_new_row() {
    let trail = captured(
        "CREATE TABLE t (id int, \"Odd \"\"Name\" text, n numeric, f float8, a int[], j jsonb, PRIMARY KEY (id))",
        &["t"],
    );
    trail.run("INSERT INTO t SELECT g, 'x' || g, g * 1.10, g / 3.0, ARRAY[g], jsonb_build_object('g', g) FROM generate_series(1, 20) AS g");
    trail.run("UPDATE t SET n = n * 2, f = '-0', a = '{}' WHERE id % 2 = 0");
    trail.run("UPDATE t SET id = id + 100, \"Odd \"\"Name\" = NULL, j = NULL WHERE id % 3 = 0");
    for change in changes(&trail) {
        if change.changed_from.is_none() {
            continue;
        }
        let before = stored(&trail.query_text(&format!(
            "SELECT (data_after || changed_from)::text FROM threadline.audit_changes WHERE id = {}",
            change.id
        )));
        let diff = ChangeDiff::of(&change);
        let row: Vec<_> = before
            .fields()
            .into_iter()
            .map(|(name, value)| {
                let Some(field) = diff.field(&name) else {
                    return (name, value);
                };
                assert_eq!(field.before.json(), Some(value.clone()));
                if let Some(json) = &field.json {
                    assert_eq!(json.apply(&value).ok(), field.after.json());
                }
                (name, field.after.json().unwrap())
            })
            .collect();
        assert_eq!(row, change.data_after.unwrap().fields());
    }
}

#[test]
fn the_images_of_two_instants_are_compared_under_the_rules_of_the_table() {
    let trail = articles();
    trail.run("INSERT INTO articles VALUES (2, 1.0, 'old', '{\"a\": 1, \"b\": 2}', NULL, 'x@y.z', 's', 'same')");
    let created_at =
        trail.query_text("SELECT max(captured_at)::text FROM threadline.audit_changes");
    trail.run("UPDATE articles SET price = 1.00, author_email = 'new@y.z'");
    trail.run("UPDATE articles SET meta = '{\"a\": 1, \"b\": 3}', body = NULL");
    let rules = deployed(&trail);
    let table: threadline::TableName = "articles".parse().unwrap();
    let key = threadline::RowKeyText::from_values(vec!["2".to_owned()]);
    let as_of = |instant: &str| {
        let instant = instant
            .replace(' ', "T")
            .replace("+00", "Z")
            .parse()
            .unwrap();
        let query = threadline::DocumentAsOf::new(table.clone(), &key, instant);
        trail
            .run_async(async |conn| threadline::document_as_of(conn, &query).await)
            .unwrap()
            .row()
    };
    let (before, after) = (as_of(&created_at), as_of("2099-01-01 00:00:00+00"));
    let diff = RowDiff::between(&table, before.as_ref(), after.as_ref(), &rules);
    let shown: Vec<_> = diff
        .fields
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one.field,
                one.before.as_str(),
                one.after.as_str()
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "author_email masked masked",
            "body value null",
            "meta value value",
            "price value value",
            "secret excluded excluded",
        ]
    );
    assert_eq!(diff.fields[2].json.as_ref().unwrap().edits[0].path, "/b");
    assert_eq!(diff.rules, RulesSource::Declared);
    let created = RowDiff::between(&table, None, after.as_ref(), &[]);
    assert!(
        created
            .fields
            .iter()
            .all(|one| one.before == FieldState::Absent)
    );
    assert_eq!(created.fields.len(), 7);
    assert!(
        RowDiff::between(&table, None, None, &rules)
            .fields
            .is_empty()
    );
}
