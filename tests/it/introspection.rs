//! Relations that cannot be captured: the error names the kind of the relation and the table to audit
//! instead.

use diesel_async::SimpleAsyncConnection;
use threadline::coverage::{Coverage, Severity};
use threadline::install::CaptureSql;
use threadline::{coverage, introspect};

use crate::harness::{captured, empty_trail};

#[test]
fn relations_that_cannot_be_captured_are_refused_by_kind() {
    let trail = empty_trail();
    trail.run(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t;
         CREATE MATERIALIZED VIEW mv AS SELECT * FROM t; CREATE SEQUENCE s; CREATE TABLE nothing ();
         CREATE INDEX i ON t (id); CREATE TYPE pair AS (a int, b int);
         CREATE TABLE \"Parted\" (id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
         CREATE TABLE part_eu PARTITION OF \"Parted\" FOR VALUES IN ('eu') PARTITION BY LIST (id);
         CREATE TABLE part_eu_1 PARTITION OF part_eu FOR VALUES IN (1);
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w;
         CREATE FOREIGN TABLE f (id int) SERVER far",
    );
    trail.run_async(async |conn| {
    conn.batch_execute("CREATE TEMPORARY TABLE mine (id int PRIMARY KEY)")
        .await
        .unwrap();
    for (name, expected) in [
        (
            "v",
            "public.v is a view, so its rows cannot be captured: audit the tables behind the view",
        ),
        (
            "mv",
            "public.mv is a materialized view, so its rows cannot be captured: audit the tables behind the view",
        ),
        (
            "f",
            "public.f is a foreign table, so its rows cannot be captured: audit it in the database that keeps its rows",
        ),
        ("s", "public.s is a sequence"),
        ("i", "public.i is an index"),
        ("pair", "public.pair is a composite type"),
        (
            "mine",
            "public.mine is a temporary table, so its rows cannot be captured: it belongs to one session",
        ),
        (
            "pg_catalog.pg_class",
            "pg_catalog.pg_class is a system catalog",
        ),
        (
            "part_eu",
            r#"table public.part_eu is a partition of "Parted": audit "Parted""#,
        ),
        (
            "part_eu_1",
            r#"table public.part_eu_1 is a partition of "Parted": audit "Parted""#,
        ),
        ("nothing", "table public.nothing has no columns"),
        (
            "absent",
            "table public.absent does not exist in this database",
        ),
    ] {
        let error = introspect(conn, &name.parse().unwrap())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(
        introspect(conn, &"t".parse().unwrap())
            .await
            .unwrap()
            .columns()
            .len(),
        1
    );
    let report = coverage(conn, &Coverage::new()).await.unwrap();
    let tables = report.tables.iter().map(|table| table.table.name());
    assert_eq!(tables.collect::<Vec<_>>(), ["Parted", "mv", "t"]);
    });
}

#[test]
fn capturing_an_inheritance_child_and_its_parent_is_refused() {
    let schema = "CREATE TABLE grand (id int PRIMARY KEY); CREATE TABLE p (PRIMARY KEY (id)) INHERITS (grand);
                  CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p)";
    for (first, then) in [("grand", "c"), ("c", "grand"), ("p", "c"), ("c", "p")] {
        let trail = captured(schema, &[first]);
        let refused = trail.expect_capture_error(&trail.introspect(then));
        assert!(
            refused.contains("is an inheritance child of"),
            "{first}, {then}: {refused}"
        );
        // Capturing the first table again succeeds.
        trail.capture(&trail.introspect(first));
        trail.run("INSERT INTO c VALUES (1)");
        assert_eq!(trail.events(), [format!("insert {first} 1")]);
    }
}

#[test]
fn a_captured_child_of_a_captured_parent_is_reported_until_one_is_disabled() {
    let trail = captured(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)",
        &["p", "c"],
    );
    trail.run("ALTER TABLE c INHERIT p");
    let errors = || -> Vec<String> {
        let query = Coverage::new();
        let report = trail.run_async(async |conn| coverage(conn, &query).await.unwrap());
        let findings = report.findings.iter();
        let errors = findings.filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.code.to_string()).collect()
    };
    assert_eq!(errors(), ["captured_twice"]);
    let child = trail.introspect("c");
    trail.run(&format!(
        "BEGIN; {} COMMIT",
        CaptureSql::new(&child).disable()
    ));
    assert_eq!(errors(), ["child_uncovered", "child_uncovered"]);
    trail.capture(&trail.introspect("p"));
    assert_eq!(errors(), Vec::<String>::new());
    trail.run("INSERT INTO c VALUES (1)");
    assert_eq!(trail.events(), ["insert p 1"]);
}
