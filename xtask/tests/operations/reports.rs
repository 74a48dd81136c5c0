//! The order and grouping of reports on a terminal.

use super::*;

#[test]
fn coverage_shows_findings_first_and_equal_remedies_once() {
    let site = Site::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, v int);
         CREATE TABLE uncovered (id int); CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM b",
    );
    site.answers(&["gen-triggers", "--tables", "a,b"]);
    site.migrate();
    site.run("ALTER TABLE a SET UNLOGGED; ALTER TABLE b SET UNLOGGED; ALTER TABLE b ADD w int, ADD x int");
    let shown = site.answers(&["coverage"]);
    let at = |text: &str| {
        shown
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {shown}"))
    };
    assert!(
        at("column_unclassified") < at("public.uncovered:"),
        "{shown}"
    );
    assert!(at("public.uncovered:") < at("needs capture"), "{shown}");
    assert!(at("needs capture") < at("captured"), "{shown}");
    assert!(
        shown.contains("table_unlogged public.a, public.b: "),
        "{shown}"
    );
    assert!(shown.contains("not capturable"), "{shown}");
    assert_eq!(shown.matches("column_unclassified").count(), 2, "{shown}");
    assert_eq!(
        shown.matches("gen-triggers --tables public.b").count(),
        1,
        "{shown}"
    );

    let short = site.answers(&["coverage", "--only-findings"]);
    assert!(short.contains("column_unclassified"), "{short}");
    assert!(!short.contains("not capturable"), "{short}");
    let json = site.coverage();
    let tables = json["tables"].as_array().unwrap();
    let view = tables
        .iter()
        .find(|table| table["name"] == "totals")
        .unwrap();
    assert_eq!(view["status"], "not_capturable");
    assert_eq!(json["summary"]["needs_capture"], 1);
}

#[test]
fn continuity_shows_tables_without_history_first() {
    let site = Site::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1)",
    );
    site.answers(&["gen-triggers", "--tables", "a,b"]);
    site.migrate();
    let shown = out(&site.threadline(&["continuity"]));
    assert!(
        shown.find("public.b").unwrap() < shown.find("public.a").unwrap(),
        "{shown}"
    );
    let short = out(&site.threadline(&["continuity", "--only-findings"]));
    assert!(
        short.contains("public.b") && !short.contains("public.a"),
        "{short}"
    );
    site.answers(&[
        "baseline",
        "--table",
        "b",
        "--execute",
        "--actor",
        "admin:rita",
    ]);
    assert_eq!(
        site.answers(&["continuity", "--only-findings"]),
        "all rows have a history\n"
    );
}

#[test]
fn verify_says_that_it_did_not_check_migrations() {
    let site = Site::captured();
    let shown = site.answers(&["verify"]);
    assert!(
        shown.ends_with("verified: yes, migrations: not checked\n"),
        "{shown}"
    );
}

#[test]
fn one_problem_of_eleven_tables_is_one_entry() {
    let names: Vec<_> = (1..=11).map(|number| format!("t{number:02}")).collect();
    let on_each = |statement: &str| -> String {
        let statements = names.iter().map(|name| statement.replace("{}", name) + ";");
        statements.collect()
    };
    let site = Site::new(&on_each("CREATE TABLE {} (id int PRIMARY KEY)"));
    let entries = |what: &str| {
        let shown = site.answers(&["coverage", "--only-findings"]);
        let lines = shown.lines().filter(|line| !line.starts_with(' '));
        let entries = lines.filter(|line| line.contains("t01") || line.contains("t11"));
        assert_eq!(entries.count(), 1, "{what}: {shown}");
        shown
    };
    let shown = entries("tables that need capture");
    let every = format!("public.{}", names.join(",public."));
    let command = format!("gen-triggers --tables {every}");
    assert!(shown.contains(&command), "{shown}");
    site.answers(&["gen-triggers", "--all-tables"]);
    site.migrate();

    let trigger =
        |action: &str| format!("ALTER TABLE {{}} {action} TRIGGER \"00_threadline_capture\"");
    for (drift, repair) in [
        (
            "ALTER TABLE {} ADD COLUMN w int",
            "ALTER TABLE {} DROP COLUMN w",
        ),
        (
            "DO $$ BEGIN EXECUTE format('COMMENT ON FUNCTION %s IS NULL', (
                 SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'capture_public_{}%')); END $$",
            "",
        ),
        (&trigger("DISABLE"), &trigger("ENABLE")),
        (
            "GRANT TRIGGER ON {} TO PUBLIC",
            "REVOKE TRIGGER ON {} FROM PUBLIC",
        ),
        ("ALTER TABLE {} SET UNLOGGED", "ALTER TABLE {} SET LOGGED"),
    ] {
        site.run(&on_each(drift));
        let shown = entries(drift);
        if drift.contains("ADD COLUMN") {
            assert!(shown.contains(&command), "{shown}");
        }
        if repair.is_empty() {
            let redeploy = [&["redeploy-triggers".to_owned()][..], &names].concat();
            let command = redeploy.join(" public.");
            assert!(shown.contains(&command), "{shown}");
            site.answers(&redeploy);
            site.migrate();
        } else {
            site.run(&on_each(repair));
        }
    }
}
