//! Fields from a file are those that the database seals.

use threadline_export::archive::{ArchiveKind, columns, sealed_fields};
use threadline_seal::field::Fields;

use super::Site;

/// JSON values with odd names, numbers and forms.
const VALUES: [&str; 14] = [
    "null",
    "true",
    "1.10",
    "123456789012345678901234567890.000000000000000000001",
    "-0.0",
    r#""NaN""#,
    r#""""#,
    r#""ä🧵 \" \\ \n \u0001 /""#,
    "[]",
    r#"[1, {"a": null}, "x"]"#,
    "{}",
    r#"{"": 1}"#,
    r#"{"a/b": {"c": [1.50]}, "meta": "text"}"#,
    r#"{"meta": {}}"#,
];

const NAMES: [&str; 9] = [
    "", "a", "meta", "meta/x", "/", "ä", "\\\"", "\\u0001", "A b",
];

/// Objects of all pairs of names, with values in turn.
fn documents() -> Vec<String> {
    let mut documents: Vec<String> = VALUES.iter().map(ToString::to_string).collect();
    let mut value = VALUES.iter().cycle();
    let mut next = || *value.next().expect("it repeats");
    for first in NAMES {
        for second in NAMES {
            documents.push(format!(
                r#"{{"{first}": {}, "{second}": {}, "c": {}}}"#,
                next(),
                next(),
                next()
            ));
            documents.push(format!(
                r#"{{"source": "x", "meta": {{"{first}": {}, "{second}": {}}}}}"#,
                next(),
                next()
            ));
        }
    }
    documents
}

#[test]
fn odd_json_has_the_fields_that_the_database_seals() {
    let site = Site::unsealed();
    let list = format!("[{}]", documents().join(","));
    for (kind, column) in [
        (ArchiveKind::Changes, "table_pk"),
        (ArchiveKind::Changes, "data_after"),
        (ArchiveKind::Changes, "changed_from"),
        (ArchiveKind::Transactions, "context"),
        (ArchiveKind::Actions, "meta"),
    ] {
        let sql = format!(
            "SELECT json_agg(json_build_array(doc::text,
                 threadline.seal_fields(jsonb_build_object('{column}', doc))))
             FROM jsonb_array_elements($json${list}$json$) AS doc"
        );
        let expected: Vec<(String, Fields)> =
            serde_json::from_str(&site.trail.query(&sql)).expect("pairs");
        assert_eq!(expected.len(), documents().len());
        for (text, fields) in expected {
            let values: Vec<_> = columns(kind)
                .iter()
                .map(|it| (it.name == column).then(|| text.clone()))
                .collect();
            let found = sealed_fields(kind, &values).expect("JSON");
            assert_eq!(found, fields, "{column}: {text}");
        }
    }
}

#[test]
fn a_repeated_member_is_refused() {
    let mut values = vec![None; columns(ArchiveKind::Actions).len()];
    let last = values.last_mut().expect("meta");
    *last = Some(r#"{"a": 1, "a": 1}"#.to_owned());
    assert!(sealed_fields(ArchiveKind::Actions, &values).is_err());
}
