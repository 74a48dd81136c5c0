//! Empty answers are explained on standard error.

use crate::wrong_questions::{CUSTOMER, captured_warehouse, run};

#[test]
fn a_history_of_an_unknown_row_shows_an_example_of_a_key() {
    let database = captured_warehouse();
    let unknown = CUSTOMER.replace('0', "1");
    for question in [
        vec!["history", "customers", unknown.as_str()],
        vec![
            "timeline",
            "--table",
            "customers",
            "--key",
            unknown.as_str(),
        ],
    ] {
        let (code, out, err) = run(&database, &question);
        assert_eq!((code, out.as_str()), (0, "no changes match\n"));
        assert!(err.contains(&format!("like `{CUSTOMER}`")), "{err}");
    }
    let quiet = [
        "timeline",
        "--table",
        "customers",
        "--key",
        CUSTOMER,
        "--op",
        "delete",
    ];
    let (code, out, err) = run(&database, &quiet);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "no changes match\n", "")
    );
}

#[test]
fn a_value_of_a_masked_or_excluded_column_is_a_bad_answer() {
    let database = captured_warehouse();
    let became = |column: &str, value: &str| {
        let question = ["history", "customers", CUSTOMER, "--field", column];
        run(&database, &[&question[..], &["--became", value]].concat())
    };
    let (code, _, err) = became("email", "a@b.c");
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("`email` of table public.customers is masked"),
        "{err}"
    );
    let (code, _, err) = became("password", "x");
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("`password` of table public.customers is never stored"),
        "{err}"
    );
    let (code, out, err) = became("name", "Bob");
    assert_eq!((code, out.as_str()), (0, "no changes match\n"));
    assert!(
        err.contains("never set to this value; newest values: Ada"),
        "{err}"
    );
}

#[test]
fn a_misspelt_actor_or_action_is_explained_with_similar_ones() {
    let database = captured_warehouse();
    for (question, expected) in [
        (
            vec!["timeline", "--actor", "user:7"],
            "no changes and actions by `user:7` are recorded",
        ),
        (
            vec!["actor", "admin:77"],
            "`admin:77` are recorded; similar: admin:7\n",
        ),
        (
            vec!["timeline", "--action", "item.ad"],
            "no actions named `item.ad` are recorded; similar: item.add\n",
        ),
        (
            vec!["actions", "--name", "items.add", "--actor", "admin:8"],
            "`items.add` are recorded; similar: item.add\n",
        ),
    ] {
        let (code, _, err) = run(&database, &question);
        assert_eq!(code, 0, "{question:?}: {err}");
        assert!(err.contains(expected), "{question:?}: {err}");
    }
    let quiet = ["timeline", "--actor", "admin:7", "--op", "delete"];
    assert_eq!(run(&database, &quiet).2, "");
}

#[test]
fn a_window_without_changes_is_explained_with_the_nearest_changes() {
    let database = captured_warehouse();
    let window = |from: &str, to: &str| {
        let question = ["timeline", "--table", "lines", "--from", from, "--to", to];
        run(&database, &question)
    };
    let (code, _, err) = window("2001-01-01T00:00Z", "2001-01-02T00:00Z");
    assert_eq!(code, 0);
    assert!(
        err.starts_with("nearest change after the window: 20"),
        "{err}"
    );
    assert!(err.contains("insert of public.lines, change "), "{err}");
    let (_, _, err) = window("2099-01-01T00:00Z", "2099-01-02T00:00Z");
    assert!(
        err.starts_with("nearest change before the window: 20"),
        "{err}"
    );
}

#[test]
fn an_empty_list_of_an_actor_actions_or_a_correlation_is_explained() {
    let database = captured_warehouse();
    let early = ["--from", "2001-01-01T00:00Z", "--to", "2001-01-02T00:00Z"];
    for (question, expected) in [
        (
            vec!["actor", "admin:7"],
            "nearest transaction after the window: 20",
        ),
        (vec!["actions"], "nearest action after the window: 20"),
    ] {
        let (code, _, err) = run(&database, &[&question[..], &early[..]].concat());
        assert_eq!(code, 0, "{question:?}: {err}");
        assert!(err.starts_with(expected), "{question:?}: {err}");
    }
    let (code, _, err) = run(&database, &["timeline", "--request", "req-2"]);
    let expected = "no changes and actions of request `req-2` are recorded; similar: req-1\n";
    assert_eq!((code, err.as_str()), (0, expected));
    let (code, out, err) = run(&database, &["correlation", "order-1"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("nothing is recorded for correlation order-1"),
        "{out}"
    );
    assert_eq!(
        err,
        "no changes and actions of correlation `order-1` are recorded\n"
    );
}

#[test]
fn an_export_without_changes_is_explained_on_standard_error() {
    let database = captured_warehouse();
    let export = |arguments: &[&str]| run(&database, &[&["export"], arguments].concat());
    let (code, out, err) = export(&["--table", "lines", "--op", "delete"]);
    assert_eq!((code, out.lines().count()), (0, 1), "{out}");
    assert_eq!(err, "no changes match\n");
    let (code, _, err) = export(&[
        "--actor",
        "admin:8",
        "--to",
        "2001-01-01T00:00Z",
        "--dry-run",
    ]);
    assert_eq!(code, 0);
    assert_eq!(
        err,
        "no changes and actions by `admin:8` are recorded; similar: admin:7\n"
    );
    let (_, _, err) = export(&["--table", "lines", "--to", "2001-01-01T00:00Z"]);
    assert!(err.contains("nearest change after the window: 20"), "{err}");
}
