use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn names(filters: Result<TimelineFilters, InvalidFilters>) -> Vec<String> {
    let errors = filters.unwrap_err().0;
    errors.into_iter().map(|error| error.name).collect()
}

fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

#[test]
fn every_invalid_filter_is_named_with_its_value_and_reason() {
    let pairs = [
        ("op", "drop"),
        ("actor", "rita"),
        ("nmae", "1"),
        ("to", "soon"),
        ("job", ""),
    ];
    let invalid = TimelineFilters::from_pairs(pairs);
    assert_eq!(names(invalid.clone()), ["op", "actor", "job", "to", "nmae"]);
    let first = &invalid.unwrap_err().0[0];
    assert_eq!(first.value, "drop");
    assert!(first.reason.contains("insert"), "{first}");
}

#[test]
fn contradictions_are_refused_in_pairs_documents_and_timelines() {
    for (pairs, name) in [
        (vec![("key", "1")], "key"),
        (vec![("table", "a"), ("schema", "b")], "schema"),
        (
            vec![("unattributed", "true"), ("actor", "user:1")],
            "unattributed",
        ),
        (
            vec![("unattributed", "true"), ("actor_type", "user")],
            "unattributed",
        ),
        (vec![("op", "insert"), ("op", "delete")], "op"),
    ] {
        assert_eq!(names(TimelineFilters::from_pairs(pairs)), [name]);
    }
    let document = r#"{"key": "1"}"#;
    assert!(serde_json::from_str::<TimelineFilters>(document).is_err());
    let filters = TimelineFilters {
        key: "1".parse().ok(),
        ..TimelineFilters::default()
    };
    assert!(filters.timeline(None, now(), Tz::UTC, None).is_err());
}

#[test]
fn values_are_bounded_and_have_no_nul() {
    let long = "x".repeat(9_000);
    for value in [long.as_str(), "a\0b"] {
        let pairs = [("table", "t"), ("key", value)];
        assert_eq!(names(TimelineFilters::from_pairs(pairs)), ["key"]);
    }
    let pairs = (0..40).map(|one| ("key", format!("c{one}=1")));
    let pairs = pairs.chain([("table", "t".to_owned())]);
    assert_eq!(names(TimelineFilters::from_pairs(pairs)), ["key"]);
}

#[test]
fn a_relative_window_is_stored_as_given_and_fixed_by_time_and_zone() {
    let filters = TimelineFilters::from_pairs([("from", "-24h"), ("to", "today")]).unwrap();
    let stored = serde_json::to_value(&filters).unwrap();
    assert_eq!(stored["from"], "-24h");
    let berlin = Tz::Europe__Berlin;
    let fixed = filters.fixed(now(), berlin).unwrap();
    assert_eq!(
        fixed.command_arguments(),
        [
            "--from",
            "2026-11-20T12:00:00Z",
            "--to",
            "2026-11-20T23:00:00Z"
        ]
    );
    assert_eq!(fixed.fixed(Utc::now(), Tz::UTC).unwrap(), fixed);
    let empty = TimelineFilters::from_pairs([("from", "1h"), ("to", "2h")]).unwrap();
    assert_eq!(names(empty.fixed(now(), berlin)), ["from"]);
}

#[test]
fn local_times_become_instants_and_relative_ones_stay() {
    let pairs = [("from", "2026-01-31 12:00"), ("to", "today")];
    let filters = TimelineFilters::from_pairs(pairs).unwrap();
    let portable = filters.without_local_times(Tz::Europe__Berlin).unwrap();
    assert_eq!(
        portable.command_arguments(),
        ["--from", "2026-01-31T11:00:00Z", "--to", "today"]
    );
}

#[test]
fn arguments_that_begin_with_a_hyphen_are_joined_to_their_option() {
    let pairs = [
        ("unattributed", "true"),
        ("scan_values", "-1"),
        ("action", "a.b"),
    ];
    let filters = TimelineFilters::from_pairs(pairs).unwrap();
    assert_eq!(
        filters.command_arguments(),
        ["--unattributed", "--action", "a.b", "--scan-values=-1"]
    );
}

#[test]
fn names_lists_every_filter() {
    let values = [
        "t",
        "a=1",
        "s",
        "c",
        "insert",
        "user:1",
        "user",
        "user:1",
        "true",
        "c",
        "r",
        "j",
        "a.b",
        "c",
        "ok",
        r#"{"a":1}"#,
        "x",
        "1h",
        "now",
    ];
    for (name, value) in TimelineFilters::NAMES.into_iter().zip(values) {
        let mut pairs = vec![(name, value)];
        if name == "key" {
            pairs.push(("table", "t"));
        }
        let filters = TimelineFilters::from_pairs(pairs).unwrap();
        assert!(
            filters.pairs().iter().any(|(one, _)| *one == name),
            "{name}"
        );
    }
}

prop_compose! {
    fn filters()(
        name in option::of("[^\0]{1,12}"),
        key in vec("[a-z]{1,3}=[^\0]{0,12}", 0..3),
        unattributed in any::<bool>(),
        actor in option::of("[!-~]{1,20}"),
        action in option::of("[a-z.&=#%+ü]{1,12}"),
        text in option::of("[^\0 ][^\0]{0,12}"),
        meta in option::of("[a-z]{1,5}"),
        op in option::of(prop::sample::select(vec!["insert", "update", "delete", "truncate", "baseline"])),
        from in option::of(prop::sample::select(vec!["-24h", "2026-01-31T12:00:00Z", "2026-01-31 12:00"])),
        to in option::of(prop::sample::select(vec!["now", "today", "2026-01-31"])),
    ) -> TimelineFilters {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        if let Some(name) = name {
            pairs.push(("table", TableName::new("odd schema", name).to_string()));
            pairs.extend(key.into_iter().map(|key| ("key", key)));
        }
        match actor.filter(|_| !unattributed) {
            Some(id) => pairs.push(("actor", format!("user:{id}"))),
            None => pairs.push(("unattributed", "true".to_owned())),
        }
        pairs.extend(action.map(|name| ("action", name)));
        pairs.extend(text.map(|text| ("scan_values", text)));
        pairs.extend(meta.map(|name| ("meta", format!("{{\"{name}\":[1.10,\"x\"]}}"))));
        pairs.extend(op.map(|op| ("op", op.to_owned())));
        pairs.extend(from.map(|from| ("from", from.to_owned())));
        pairs.extend(to.map(|to| ("to", to.to_owned())));
        // Pairs that name a column twice are no key.
        TimelineFilters::from_pairs(pairs).unwrap_or_default()
    }
}

proptest! {
    #[test]
    fn a_document_of_filters_parses_to_the_same_filters(filters in filters()) {
        let document = serde_json::to_string(&filters).unwrap();
        prop_assert_eq!(serde_json::from_str::<TimelineFilters>(&document).unwrap(), filters.clone());
        prop_assert_eq!(TimelineFilters::from_pairs(filters.pairs()).unwrap(), filters);
    }
}
