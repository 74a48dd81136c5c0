//! Installing, and installing again: beside writers and beside each other, as a whole or not at all,
//! and leaving nobody more rights than were meant.

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

/// Eight writers, half of whom change the tables the other way round, until something is done beside
/// them. Gives how many transactions they made. None of them may fail.
fn beside_writers(trail: &Trail, work: impl FnOnce()) -> usize {
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
                           SELECT threadline.open_audited_work('{{"actor_ref": {{"type": "user", "id": "u"}}}}');
                           UPDATE {first} SET v = v + 1 WHERE id = {writer} + 1;
                           SELECT pg_sleep(0.002);
                           UPDATE {second} SET v = v + 1, id = id + 1000 WHERE id = {writer} + 11;
                           UPDATE {second} SET id = id - 1000 WHERE id = {writer} + 1011;
                           SELECT threadline.leave_audited_work('{{}}');
                           COMMIT"#
                    ))
                    .unwrap();
                    conn.batch_execute("SELECT pg_sleep(0.02)").unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        // The writers have to hear of a panic.
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
fn installing_a_trail_that_is_up_to_date_takes_no_lock_that_a_writer_meets() {
    let trail = tables();
    let held = trail.ask(&format!(
        "BEGIN; {}; SELECT string_agg(DISTINCT class.relname || ' ' || held.mode, ', ')
         FROM pg_locks AS held JOIN pg_class AS class ON class.oid = held.relation
         WHERE held.pid = pg_backend_pid() AND class.relnamespace = 'threadline'::regnamespace
            AND class.relkind IN ('r', 'p', 'v', 'i', 'I')
            AND class.relname ~ '^(audit_changes|audit_transactions|audit_actions|audit_renames|audit_timeline)'
            AND held.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')",
        threadline::install::up_sql()
    ));
    assert_eq!(held, "NULL");
}

#[test]
fn writers_go_on_beside_installations() {
    let trail = tables();
    let up = threadline::install::up_sql();
    let written = beside_writers(&trail, || {
        let mut conn = connect(&trail.url());
        for round in 0..6 {
            // As a migration runs it, with another after it.
            conn.batch_execute(&format!("BEGIN; {up}; COMMIT")).unwrap();
            if round % 2 == 0 {
                // Something has to change that takes locks.
                trail.run("DROP INDEX threadline.audit_changes_actor_idx; ALTER TABLE threadline.audit_renames DISABLE TRIGGER guard_row");
            }
        }
    });
    assert!(written > 50, "{written}");
    assert_eq!(trail.ask("SELECT count(*) FROM threadline.coverage_findings() WHERE severity <> 'info' AND code NOT LIKE 'writer%'"), "0");
}

#[test]
fn an_installation_that_has_to_wait_for_long_gives_up_and_nobody_waits_behind_it() {
    let trail = tables();
    trail.run("DROP INDEX threadline.audit_changes_actor_idx");
    let mut slow = connect(&trail.url());
    slow.batch_execute("BEGIN; INSERT INTO a VALUES (5000, 0)")
        .unwrap();
    thread::scope(|scope| {
        let installing =
            scope.spawn(|| connect(&trail.url()).batch_execute(&threadline::install::up_sql()));
        let mut writer = connect(&trail.url());
        // Nobody waits for it as long as a deadlock takes to be found.
        writer.batch_execute("SET lock_timeout = '900ms'").unwrap();
        for row in 0..100 {
            writer
                .batch_execute(&format!(
                    "INSERT INTO b VALUES ({row} + 5000, 0); SELECT pg_sleep(0.02)"
                ))
                .unwrap();
        }
        slow.batch_execute("COMMIT").unwrap();
        installing.join().unwrap().unwrap();
    });
    assert_ne!(
        trail.ask("SELECT to_regclass('threadline.audit_changes_actor_idx')"),
        "NULL"
    );
}

#[test]
fn an_installation_that_fails_changes_nothing_also_where_nobody_began_a_transaction() {
    let trail = tables();
    trail.run(
        "COMMENT ON FUNCTION threadline.installation() IS '{}';
         DROP VIEW threadline.audit_timeline; CREATE TABLE threadline.audit_timeline (in_the_way int)",
    );
    let mut conn = connect(&trail.url());
    let error = conn
        .batch_execute(&threadline::install::up_sql())
        .unwrap_err()
        .to_string();
    assert!(error.contains("is not a view"), "{error}");
    assert_eq!(trail.ask("SELECT threadline.installation()"), "{}");
    trail.run("INSERT INTO a VALUES (500, 0)");
    trail.run("DROP TABLE threadline.audit_timeline");
    conn.batch_execute(&threadline::install::up_sql()).unwrap();
    trail.run("INSERT INTO a VALUES (501, 0)");
}

#[test]
fn installations_at_once_wait_for_each_other() {
    let database = cluster().create_database().unwrap();
    let url = database.url();
    thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| connect(&url).batch_execute(&threadline::install::up_sql())))
            .collect();
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
}

#[test]
fn whatever_path_a_session_has_the_trail_is_the_same_and_the_path_stays() {
    let trail = tables();
    let before = trail.ask("SELECT threadline.installation() ->> 'functions'");
    trail.run(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1/0; SELECT NULL::timestamptz';
         CREATE FUNCTION evil.format(text, variadic text[]) RETURNS text LANGUAGE sql AS $$SELECT (1/0)::text$$;
         CREATE FUNCTION evil.eq(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT 1/0 = 1';
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq)",
    );
    let mut conn = connect(&trail.url());
    conn.batch_execute(&format!(
        "SET search_path = evil, pg_catalog, public; SET lock_timeout = '7s'; {}",
        threadline::install::up_sql()
    ))
    .unwrap();
    conn.batch_execute(
        "DO $$ BEGIN ASSERT pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) 'evil, pg_catalog, public';
         ASSERT pg_catalog.current_setting('lock_timeout') OPERATOR(pg_catalog.=) '7s';
         ASSERT pg_catalog.current_setting('client_min_messages') OPERATOR(pg_catalog.=) 'notice'; END $$",
    )
    .unwrap();
    assert_eq!(
        trail.ask("SELECT threadline.installation() ->> 'functions'"),
        before
    );
}

/// A role to which default privileges give everything, and one that was meant to read.
fn roles(trail: &Trail) -> (String, String) {
    let name = trail.ask("SELECT current_database()");
    let (app, reader) = (format!("app_{name}"), format!("reader_{name}"));
    trail.run(&format!(
        "CREATE ROLE \"{app}\" LOGIN; CREATE ROLE \"{reader}\" LOGIN"
    ));
    (app, reader)
}

fn by_default(trail: &Trail, app: &str, verb: &str, preposition: &str) {
    for kind in ["TABLES", "SEQUENCES", "FUNCTIONS", "SCHEMAS"] {
        trail.run(&format!(
            "ALTER DEFAULT PRIVILEGES {verb} ALL ON {kind} {preposition} \"{app}\""
        ));
    }
}

/// What a role may do to the trail, beyond what everybody may.
fn rights(trail: &Trail, role: &str) -> String {
    trail.ask(&format!(
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
fn default_privileges_give_nobody_a_right_on_the_trail() {
    let trail = empty_trail();
    let (app, reader) = roles(&trail);
    by_default(&trail, &app, "GRANT", "TO");
    trail.run("DROP SCHEMA threadline CASCADE");
    trail.run(&threadline::install::up_sql());
    assert_eq!(rights(&trail, &app), "NULL");
    // What is made later has the readers of what it belongs to.
    trail.run(&format!(
        "GRANT SELECT ON threadline.audit_changes TO \"{reader}\";
         CREATE TABLE t (id int PRIMARY KEY);
         SELECT threadline.create_partitions(now() + interval '13 months', 1);
         INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
         SELECT 1, now() - interval '5 months', gen_random_uuid(), 'truncate', 'public', 't'"
    ));
    trail.capture(&trail.introspect("t"));
    trail.run("CALL threadline.maintain()");
    assert_eq!(rights(&trail, &app), "NULL");
    let readable = trail.ask(
        "SELECT string_agg(DISTINCT given.grantee::regrole::text || ' ' || given.privilege_type, ', ')
         FROM threadline.trail_partitions() AS part JOIN pg_class AS class ON class.oid = part.partition
         CROSS JOIN LATERAL aclexplode(class.relacl) AS given
         WHERE part.parent = 'audit_changes' AND class.relowner <> given.grantee
            AND (part.from_instant IS NULL OR part.from_instant < now() - interval '4 months')"
    );
    assert_eq!(readable, format!("{reader} SELECT"));
    by_default(&trail, &app, "REVOKE", "FROM");
    trail.run(&format!(
        "DROP OWNED BY \"{app}\", \"{reader}\"; DROP ROLE \"{app}\", \"{reader}\""
    ));
}

#[test]
fn installing_again_takes_back_what_nobody_meant_to_give_and_leaves_the_rest() {
    let trail = tables();
    let (app, reader) = roles(&trail);
    trail.run(&format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA threadline TO \"{app}\"; GRANT ALL ON ALL SEQUENCES IN SCHEMA threadline TO \"{app}\";
         GRANT ALL ON ALL FUNCTIONS IN SCHEMA threadline TO \"{app}\"; GRANT CREATE ON SCHEMA threadline TO \"{app}\";
         REVOKE SELECT ON ALL TABLES IN SCHEMA threadline FROM \"{app}\"; REVOKE SELECT ON ALL SEQUENCES IN SCHEMA threadline FROM \"{app}\";
         GRANT UPDATE (actor_ref) ON threadline.audit_transactions TO \"{app}\";
         GRANT SELECT ON threadline.audit_changes, threadline.audit_timeline TO \"{reader}\";
         GRANT EXECUTE ON FUNCTION threadline.suspend_capture, threadline.coverage_findings TO \"{reader}\""
    ));
    let named = trail.ask("SELECT string_agg(DISTINCT code, ', ' ORDER BY code) FROM threadline.coverage_findings() WHERE severity = 'error'");
    assert_eq!(
        named,
        "function_executable, schema_writable, secret_readable, trail_function_executable, trail_writable"
    );
    trail.run(&threadline::install::up_sql());
    assert_eq!(rights(&trail, &app), "NULL");
    assert_eq!(
        rights(&trail, &reader),
        "audit_changes SELECT, audit_timeline SELECT, coverage_findings EXECUTE, suspend_capture EXECUTE"
    );
    assert_eq!(
        trail.ask("SELECT count(*) FROM threadline.coverage_findings() WHERE severity = 'error'"),
        "0"
    );
    trail.run("INSERT INTO a VALUES (600, 0)");
    trail.run(&format!(
        "DROP OWNED BY \"{app}\", \"{reader}\"; DROP ROLE \"{app}\", \"{reader}\""
    ));
}

#[test]
fn triggers_are_put_in_order_beside_writers() {
    let trail = captured(
        "CREATE TABLE m (id int, v int, PRIMARY KEY (id));
         CREATE TABLE a (PRIMARY KEY (id)) INHERITS (m); CREATE TABLE b (PRIMARY KEY (id)) INHERITS (m);
         INSERT INTO a SELECT g, 0 FROM generate_series(1, 100) AS g;
         INSERT INTO b SELECT g, 0 FROM generate_series(1, 100) AS g",
        &["m"],
    );
    let left = "SELECT count(*) FROM threadline.coverage_findings() WHERE code LIKE 'trigger%' OR code LIKE 'child%'";
    let written = beside_writers(&trail, || {
        let mut conn = connect(&trail.url());
        for _ in 0..10 {
            for table in ["a", "b"] {
                conn.batch_execute(&format!("DROP TRIGGER \"00_threadline_insert\" ON {table}"))
                    .unwrap();
            }
            assert_eq!(trail.ask(left), "2");
            conn.batch_execute("SELECT threadline.refresh_capture('public', 'm')")
                .unwrap();
        }
    });
    assert!(written > 20, "{written}");
    assert_eq!(trail.ask(left), "0");
}
