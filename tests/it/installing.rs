//! Installation: repeated, concurrent, and the rights it grants.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use diesel::connection::{Connection, SimpleConnection};
use diesel::pg::PgConnection;

use crate::harness::{Trail, captured, cluster, empty_trail};

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap()
}

fn tables() -> Trail {
    captured(
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int);
         INSERT INTO a SELECT g, 0 FROM generate_series(1, 100) AS g;
         INSERT INTO b SELECT g, 0 FROM generate_series(1, 100) AS g",
        &["a", "b"],
    )
}

/// Runs `work` beside eight writers, half of which change the tables in the opposite order, and returns
/// the number of their transactions. No transaction may fail.
fn run_beside_writers(trail: &Trail, work: impl FnOnce()) -> usize {
    let (is_done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for writer in 0..8 {
            let (is_done, written) = (&is_done, &written);
            writers.push(scope.spawn(move || {
                let mut conn = connect(&trail.url());
                let (first, second) = if writer % 2 == 0 { ("a", "b") } else { ("b", "a") };
                while !is_done.load(Ordering::Relaxed) {
                    conn.batch_execute(&format!(
                        r#"BEGIN;
                           SELECT threadline.begin_audited_work('{{"actor_ref": {{"type": "user", "id": "u"}}}}');
                           UPDATE {first} SET v = v + 1 WHERE id = {writer} + 1;
                           SELECT pg_sleep(0.002);
                           UPDATE {second} SET v = v + 1, id = id + 1000 WHERE id = {writer} + 11;
                           UPDATE {second} SET id = id - 1000 WHERE id = {writer} + 1011;
                           SELECT threadline.end_audited_work('{{}}');
                           COMMIT"#
                    ))
                    .unwrap();
                    conn.batch_execute("SELECT pg_sleep(0.02)").unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        // Stop the writers also if `work` panics.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_done.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    written.into_inner()
}

#[test]
fn installing_again_is_refused_and_changes_nothing() {
    let trail = tables();
    let catalog = "SELECT md5(string_agg(oid::text, ',' ORDER BY oid)) FROM pg_class WHERE relnamespace = 'threadline'::regnamespace";
    let before = trail.query_text(catalog);
    let error = trail.expect_error(&threadline::install::up_sql());
    assert!(error.contains("already installed"), "{error}");
    assert_eq!(trail.query_text(catalog), before);
    trail.run("INSERT INTO a VALUES (500, 0)");
    assert_eq!(trail.events(), ["insert a 500"]);
}

#[test]
fn the_installed_schema_version_is_that_of_the_crate() {
    let trail = empty_trail();
    assert_eq!(
        trail.query_text("SELECT threadline.schema_version()"),
        threadline::install::SCHEMA_VERSION.to_string()
    );
}

#[test]
fn exactly_one_of_several_concurrent_installations_succeeds() {
    let database = cluster().create_database().unwrap();
    let url = database.url();
    let installed: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| connect(&url).batch_execute(&threadline::install::up_sql())))
            .collect();
        all.into_iter()
            .map(|one| usize::from(one.join().unwrap().is_ok()))
            .sum()
    });
    assert_eq!(installed, 1);
}

#[test]
fn installing_does_not_use_functions_in_the_sessions_search_path() {
    let database = cluster().create_database().unwrap();
    let mut conn = connect(&database.url());
    conn.batch_execute(&format!(
        "CREATE SCHEMA evil;
         CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1/0; SELECT NULL::timestamptz';
         CREATE FUNCTION evil.format(text, variadic text[]) RETURNS text LANGUAGE sql AS $$SELECT (1/0)::text$$;
         CREATE FUNCTION evil.eq(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT 1/0 = 1';
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
         SET search_path = evil, pg_catalog, public; BEGIN; {}; COMMIT",
        threadline::install::up_sql()
    ))
    .unwrap();
    conn.batch_execute(
        "DO $$ BEGIN ASSERT pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) 'evil, pg_catalog, public'; END $$;
         CREATE TABLE public.t (id int PRIMARY KEY);
         SELECT threadline.begin_audited_work('{}')",
    )
    .unwrap();
}

/// Creates two roles: one that default privileges grant everything, and one with SELECT.
fn roles(trail: &Trail) -> (String, String) {
    let name = trail.query_text("SELECT current_database()");
    let (app, reader) = (format!("app_{name}"), format!("reader_{name}"));
    trail.run(&format!(
        "CREATE ROLE \"{app}\" LOGIN; CREATE ROLE \"{reader}\" LOGIN"
    ));
    (app, reader)
}

fn alter_default_privileges(trail: &Trail, app: &str, verb: &str, preposition: &str) {
    for kind in ["TABLES", "SEQUENCES", "FUNCTIONS", "SCHEMAS"] {
        trail.run(&format!(
            "ALTER DEFAULT PRIVILEGES {verb} ALL ON {kind} {preposition} \"{app}\""
        ));
    }
}

/// The privileges of a role on the trail, beyond those of PUBLIC.
fn rights(trail: &Trail, role: &str) -> String {
    trail.query_text(&format!(
        "SELECT string_agg(may.what, ', ' ORDER BY may.what) FROM (
            SELECT class.relname || ' ' || given.privilege_type AS what
            FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS given
            WHERE class.relnamespace = 'threadline'::regnamespace AND given.grantee = '\"{role}\"'::regrole
            UNION ALL
            SELECT function.proname || ' ' || given.privilege_type
            FROM pg_proc AS function CROSS JOIN LATERAL aclexplode(function.proacl) AS given
            WHERE function.pronamespace = 'threadline'::regnamespace AND given.grantee = '\"{role}\"'::regrole
            UNION ALL
            SELECT 'schema ' || given.privilege_type
            FROM pg_namespace AS namespace CROSS JOIN LATERAL aclexplode(namespace.nspacl) AS given
            WHERE namespace.nspname = 'threadline' AND given.grantee = '\"{role}\"'::regrole AND given.privilege_type <> 'USAGE'
         ) AS may"
    ))
}

#[test]
fn default_privileges_grant_no_right_on_the_trail() {
    let trail = empty_trail();
    let (app, reader) = roles(&trail);
    alter_default_privileges(&trail, &app, "GRANT", "TO");
    trail.run("DROP SCHEMA threadline CASCADE");
    trail.run(&threadline::install::up_sql());
    assert_eq!(rights(&trail, &app), "NULL");
    // New partitions copy the SELECT grants of their parent.
    trail.run(&format!(
        "GRANT SELECT ON threadline.audit_changes TO \"{reader}\";
         CREATE TABLE t (id int PRIMARY KEY);
         SELECT threadline.create_partition('audit_changes', now() + interval '14 months', 0);
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT 1, now() - interval '5 months', gen_random_uuid(), 'truncate', 'public', 't'"
    ));
    trail.capture(&trail.introspect("t"));
    trail.run("SELECT threadline.maintain()");
    assert_eq!(rights(&trail, &app), "NULL");
    let readable = trail.query_text(
        "SELECT string_agg(DISTINCT given.grantee::regrole::text || ' ' || given.privilege_type, ', ')
         FROM threadline.trail_partitions() AS part JOIN pg_class AS class ON class.oid = part.partition
         CROSS JOIN LATERAL aclexplode(class.relacl) AS given
         WHERE part.parent = 'audit_changes' AND class.relowner <> given.grantee
            AND (part.from_instant IS NULL OR part.from_instant < now() - interval '4 months')"
    );
    assert_eq!(readable, format!("{reader} SELECT"));
    alter_default_privileges(&trail, &app, "REVOKE", "FROM");
    trail.run(&format!(
        "DROP OWNED BY \"{app}\", \"{reader}\"; DROP ROLE \"{app}\", \"{reader}\""
    ));
}

#[test]
fn enable_capture_creates_missing_triggers_while_writers_run() {
    let trail = captured(
        "CREATE TABLE m (id int, v int, PRIMARY KEY (id));
         CREATE TABLE a (PRIMARY KEY (id)) INHERITS (m); CREATE TABLE b (PRIMARY KEY (id)) INHERITS (m);
         INSERT INTO a SELECT g, 0 FROM generate_series(1, 100) AS g;
         INSERT INTO b SELECT g, 0 FROM generate_series(1, 100) AS g",
        &["m"],
    );
    let missing = "SELECT 2 - count(*) FROM pg_trigger WHERE tgrelid IN ('a'::regclass, 'b'::regclass) AND tgname = '00_threadline_capture'";
    let function =
        trail.query_text("SELECT proname FROM pg_proc WHERE proname LIKE 'capture_public_m_%'");
    let written = run_beside_writers(&trail, || {
        let mut conn = connect(&trail.url());
        for _ in 0..10 {
            for table in ["a", "b"] {
                conn.batch_execute(&format!(
                    "DROP TRIGGER \"00_threadline_capture\" ON {table}"
                ))
                .unwrap();
            }
            assert_eq!(trail.query_text(missing), "2");
            conn.batch_execute(&format!(
                "SELECT threadline.enable_capture('public', 'm', '{function}')"
            ))
            .unwrap();
        }
    });
    assert!(written > 20, "{written}");
    assert_eq!(trail.query_text(missing), "0");
}
