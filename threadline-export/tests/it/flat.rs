//! Exports with one record for each field.

use serde_json::{Value, json};
use threadline_diesel::Timeline;
use threadline_export::{CsvOptions, Export, ExportError, FIELD_COLUMNS, Format, Layout};

use crate::harness::{Trail, block_on};

/// A trail of a table with a masked and an excluded column, and of a table with a composite key.
fn contacts() -> Trail {
    let trail = Trail::with_table("lines", "a int, b text, n int, PRIMARY KEY (a, b)");
    trail.run(
        "CREATE TABLE contacts (id int PRIMARY KEY, name text, phone text, pin text, meta jsonb)",
    );
    trail.capture_as("contacts", |table| {
        table
            .redact(["pin"], [])
            .unwrap()
            .mask_keep_null(["phone"])
            .unwrap()
    });
    trail
}

fn csv(trail: &Trail) -> Vec<Vec<String>> {
    let export = Export::new(Timeline::new())
        .format(Format::Csv(CsvOptions::new()))
        .layout(Layout::Fields);
    let (text, _) = trail.export(&export);
    let line = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().map(line).collect()
}

/// The columns row, field, before, after and op of the lines after the header.
fn fields(trail: &Trail) -> Vec<String> {
    csv(trail)[1..]
        .iter()
        .map(|line| [&line[5..10]].concat().join("|"))
        .collect()
}

#[test]
fn an_update_has_a_line_for_each_changed_field_with_who_and_why() {
    let trail = contacts();
    trail.run(
        "INSERT INTO contacts VALUES (1, 'ada', '555', '1', NULL);
         SELECT threadline.begin_audited_work(
             '{\"actor_ref\": {\"type\": \"user\", \"id\": \"alice\"}, \"context\": {\"on_behalf_of\": {\"type\": \"user\", \"id\": \"bob\"}}, '
             '\"action\": {\"id\": \"019a0000-0000-7000-8000-000000000001\", \"name\": \"contact.clean\", \"reason\": \"request 7\"}}');
         UPDATE contacts SET name = 'Ada', phone = NULL, pin = '2'",
    );
    let lines = csv(&trail);
    assert_eq!(lines[0], FIELD_COLUMNS);
    let updated: Vec<_> = lines.iter().filter(|line| line[9] == "update").collect();
    let [name, phone] = updated.as_slice() else {
        panic!("{lines:?}");
    };
    assert!(name[0].ends_with('Z'), "{name:?}");
    assert_eq!(
        name[1..10].join("|"),
        "user:alice on behalf of user:bob|contact.clean|request 7|public.contacts|1|name|ada|Ada|update"
    );
    assert_eq!(phone[6..9].join("|"), "phone|(masked)|(null)");
    let who = &lines[1][1];
    assert!(who.starts_with("(unattributed: database user "), "{who}");
}

#[test]
fn inserts_and_deletes_have_a_line_for_each_field_with_a_value() {
    let trail = contacts();
    trail.run("INSERT INTO contacts VALUES (1, '', '555', '1', NULL)");
    trail.run("DELETE FROM contacts");
    assert_eq!(
        fields(&trail),
        [
            "1|id||1|insert",
            "1|name||\"\"|insert",
            "1|phone||(masked)|insert",
            "1|pin||(excluded)|insert",
            "1|id|1||delete",
            "1|name|\"\"||delete",
            "1|phone|(masked)||delete",
            "1|pin|(excluded)||delete",
        ]
    );
}

#[test]
fn changes_without_fields_and_erased_values_have_a_line() {
    let trail = contacts();
    trail.run("INSERT INTO lines VALUES (1, 'x', NULL)");
    trail.run("UPDATE lines SET n = 7");
    trail.run(
        "SELECT threadline.erase_values('public', 'lines', '[\"1\", \"x\"]', '{n}', 'request')",
    );
    trail.run("TRUNCATE lines");
    let lines = csv(&trail);
    let shown: Vec<_> = lines[1..].iter().map(|line| line[4..].join("|")).collect();
    assert!(
        shown[2].starts_with("public.lines|\"a=1|b=x\"|n||(erased)|insert"),
        "{shown:?}"
    );
    assert!(
        shown[3].contains("|n|(erased)|(erased)|update"),
        "{shown:?}"
    );
    assert!(
        shown[4].starts_with("public.lines|||||truncate|"),
        "{shown:?}"
    );
}

#[test]
fn formulas_are_guarded_and_texts_in_parentheses_are_quoted() {
    let trail = contacts();
    trail.run("INSERT INTO contacts (id, name) VALUES (1, '=1+1'), (2, '(masked)')");
    let names: Vec<_> = fields(&trail)
        .into_iter()
        .filter(|line| line.contains("|name|"))
        .collect();
    assert_eq!(
        names,
        [
            "1|name||'=1+1|insert",
            "2|name||\"\"\"(masked)\"\"\"|insert"
        ]
    );
}

#[test]
fn ndjson_has_an_object_for_each_field_and_the_manifest_counts_changes() {
    let trail = contacts();
    trail.run("INSERT INTO contacts VALUES (1, 'ada', NULL, NULL, '{\"a\": 1.10}')");
    let export = Export::new(Timeline::new()).layout(Layout::Fields);
    let (text, manifest) = trail.export(&export);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let meta = lines.iter().find(|line| line["field"] == "meta").unwrap();
    assert_eq!(meta["after"], json!("{\"a\": 1.10}"));
    assert_eq!(
        (&meta["before"], &meta["action"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(manifest.summary.row_count, 1);
    assert_eq!(manifest.summary.layout, Layout::Fields);
    assert_eq!(manifest.summary.columns, FIELD_COLUMNS);
}

#[test]
fn parquet_has_no_records_of_fields() {
    let trail = contacts();
    let export = Export::new(Timeline::new())
        .format(Format::Parquet)
        .layout(Layout::Fields);
    let refused = block_on(async {
        let mut conn = trail.connect().await;
        export.write_to(&mut conn, &mut Vec::new(), |_| {}).await
    });
    assert!(matches!(refused, Err(ExportError::FieldsInParquet)));
}
