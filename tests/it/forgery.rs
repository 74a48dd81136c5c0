//! Forged settings, savepoints and shadowing names in a session have no effect on capture.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use threadline::coverage::{Coverage, FindingCode};

use crate::harness::{Trail, captured, run_async_at};

const TABLES: &str = "CREATE TABLE accounts (id int PRIMARY KEY, note text);
    CREATE TABLE documents (title text PRIMARY KEY, at timestamptz, image int);
    CREATE TABLE regions (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
    CREATE TABLE regions_eu PARTITION OF regions FOR VALUES IN ('eu');
    CREATE TABLE regions_us PARTITION OF regions FOR VALUES IN ('us')";

/// A role that may write the tables, dropped at the end of the test.
struct Application {
    trail: Trail,
    role: String,
}

impl Application {
    fn new() -> Self {
        let trail = captured(TABLES, &["accounts", "documents", "regions"]);
        let role = trail.query_text("SELECT 'forger_' || current_database()");
        trail.run(&format!(
            "CREATE ROLE \"{role}\" LOGIN;
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO \"{role}\""
        ));
        Self { trail, role }
    }

    fn run(&self, sql: &str) {
        self.trail.run_as(&self.role, sql).unwrap();
    }

    /// The number of changes without a transaction row.
    fn orphans(&self) -> String {
        self.trail.query_text(
            "SELECT count(*) FROM threadline.audit_changes AS change
             WHERE NOT EXISTS (SELECT FROM threadline.audit_transactions AS t WHERE t.id = change.transaction_id)",
        )
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.trail.run_as(
            "postgres",
            &format!(
                "DROP OWNED BY \"{0}\" CASCADE; DROP ROLE \"{0}\"",
                self.role
            ),
        );
    }
}

#[test]
fn capture_does_not_use_types_of_the_temporary_schema() {
    // PostgreSQL looks up type names in the temporary schema first, and the check of a domain runs as
    // the current user: in capture, as the owner of the trail (hazard 50).
    let app = Application::new();
    app.trail
        .run("ALTER TABLE documents ADD COLUMN unclassified text");
    let shadows = "
        CREATE FUNCTION pg_temp.seen(anyelement) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
            IF current_user::pg_catalog.text <> session_user::pg_catalog.text THEN
                RAISE WARNING 'SHADOW';
                PERFORM pg_catalog.set_config('shadow.seen', 'yes', false);
            END IF;
            RETURN true;
        END $$;
        DO $$ DECLARE shadowed pg_catalog.name; BEGIN
            FOR shadowed IN
                SELECT typname FROM pg_catalog.pg_type
                WHERE typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typtype = 'b' AND typcategory <> 'A'
            LOOP
                BEGIN
                    EXECUTE pg_catalog.format(
                        'CREATE DOMAIN pg_temp.%1$I AS pg_catalog.%1$I CHECK (pg_temp.seen(VALUE))', shadowed
                    );
                EXCEPTION WHEN OTHERS THEN NULL;
                END;
            END LOOP;
        END $$;
        DO $$ BEGIN
            IF pg_catalog.to_regtype('pg_temp.text') IS NULL OR pg_catalog.to_regtype('pg_temp.jsonb') IS NULL
                OR pg_catalog.to_regtype('pg_temp.uuid') IS NULL
            THEN RAISE EXCEPTION 'nothing was shadowed'; END IF;
        END $$;";
    let work = "
        BEGIN;
        SELECT threadline.begin_audited_work(
            '{\"actor_ref\": {\"type\": \"user\", \"id\": \"1\"}, \"context\": {\"request_id\": \"r\"},
              \"action\": {\"id\": \"019356a0-0000-7000-8000-00000000000N\", \"name\": \"outer\"}}');
        INSERT INTO accounts VALUES (1, 'a'), (2, 'b');
        SELECT threadline.begin_audited_work(
            '{\"actor_ref\": {\"type\": \"user\", \"id\": \"2\"},
              \"action\": {\"id\": \"019356a0-0000-7000-8000-00000000001N\", \"name\": \"inner\"}}');
        UPDATE accounts SET note = 'c' WHERE id = 1;
        UPDATE accounts SET id = 3 WHERE id = 2;
        SELECT threadline.end_audited_work('{\"actor_ref\": \"\", \"context\": \"broken\", \"action_id\": \"x\"}');
        DELETE FROM accounts;
        SET LOCAL TimeZone = 'Asia/Tokyo';
        INSERT INTO documents (title, at, image) VALUES (repeat('k', 3000), now(), 1);
        UPDATE documents SET unclassified = 'u';
        UPDATE documents SET image = 2;
        DELETE FROM documents;
        INSERT INTO regions VALUES (1, 'eu'), (2, 'eu');
        UPDATE regions SET region = 'us' WHERE id = 1;
        DELETE FROM regions;
        TRUNCATE accounts;
        SELECT set_config('threadline.actor_ref', repeat('x', 100000), true);
        INSERT INTO accounts VALUES (4, 'd');
        DELETE FROM accounts;
        COMMIT;";
    let actions = |n: &str| work.replace("N\"", &format!("{n}\""));
    app.run(&format!(
        "{shadows} {} SET search_path = pg_temp, pg_catalog, public; {}
         DO $$ BEGIN
             IF pg_catalog.current_setting('shadow.seen', true) = 'yes' THEN RAISE EXCEPTION 'a shadow was used'; END IF;
         END $$",
        actions("1"),
        actions("2"),
    ));
    assert_eq!(app.orphans(), "0");
}

/// Runs a statement in a savepoint, rolls the savepoint back, sets a setting again to the value that the
/// statement left, which only the client still has, and runs another statement.
fn set_again_after_rollback(app: &Application, setting: &str, first: &str, then: &str) {
    #[derive(QueryableByName)]
    struct Kept {
        #[diesel(sql_type = Text)]
        value: String,
    }

    run_async_at(&app.trail.url_as(&app.role), async |conn| {
        conn.batch_execute(&format!("BEGIN; SAVEPOINT s; {first}"))
            .await
            .unwrap();
        let kept = diesel::sql_query(format!("SELECT current_setting('{setting}') AS value"))
            .get_result::<Kept>(conn)
            .await
            .unwrap();
        assert_ne!(kept.value, "");
        conn.batch_execute("ROLLBACK TO s").await.unwrap();
        diesel::sql_query(format!("SELECT set_config('{setting}', $1, true)"))
            .bind::<Text, _>(kept.value)
            .execute(conn)
            .await
            .unwrap();
        conn.batch_execute(&format!("{then}; COMMIT"))
            .await
            .unwrap();
    });
}

#[test]
fn a_savepoint_that_is_rolled_back_takes_the_marker_with_the_transaction_row() {
    let app = Application::new();
    app.run(
        "BEGIN; SAVEPOINT s; INSERT INTO accounts VALUES (1, 'a'); ROLLBACK TO s;
         INSERT INTO accounts VALUES (2, 'b'); COMMIT",
    );
    assert_eq!(app.trail.events(), ["insert accounts 2"]);
    assert_eq!((app.orphans().as_str(), app.trail.transactions()), ("0", 1));
}

#[test]
fn a_marker_set_again_after_its_savepoint_was_rolled_back_hides_no_change_and_is_reported() {
    let app = Application::new();
    set_again_after_rollback(
        &app,
        "threadline.recorded",
        "INSERT INTO accounts VALUES (1, 'a')",
        "INSERT INTO accounts VALUES (2, 'b')",
    );
    // The documented gap: the change has no transaction row.
    assert_eq!(app.trail.events(), ["insert accounts 2"]);
    assert_eq!(app.orphans(), "1");
    let report = app
        .trail
        .run_async(async |conn| threadline::coverage(conn, &Coverage::new()).await);
    let findings = report.unwrap().findings;
    assert!(
        findings
            .iter()
            .any(|finding| finding.code == FindingCode::OrphanChanges),
        "{findings:?}"
    );
}

#[test]
fn a_forged_marker_neither_fails_a_write_nor_hides_a_change() {
    let app = Application::new();
    let forge = "SELECT set_config('threadline.recorded', txid_current() || '|||', true)";
    app.run(&format!(
        "BEGIN; {forge}; INSERT INTO accounts VALUES (1, 'a'); COMMIT"
    ));
    app.run(&format!(
        "BEGIN; {forge}; UPDATE accounts SET note = 'b'; INSERT INTO accounts VALUES (2, 'a'); COMMIT"
    ));
    app.run(
        "BEGIN; UPDATE accounts SET note = 'c'; DISCARD SEQUENCES; UPDATE accounts SET note = 'd';
         DISCARD SEQUENCES; INSERT INTO accounts VALUES (3, 'a'); DISCARD SEQUENCES; DELETE FROM accounts; COMMIT",
    );
    app.run(
        "BEGIN; INSERT INTO accounts VALUES (4, 'a');
         SELECT set_config('threadline.recorded', txid_current() || '||||nobody-at-all', true);
         INSERT INTO accounts VALUES (5, 'a');
         SELECT set_config('threadline.recorded', txid_current() || '||||user:' || repeat('x', 32000), true);
         INSERT INTO accounts VALUES (6, 'a'); COMMIT",
    );
    assert_eq!(app.orphans(), "0");
    assert_eq!(app.trail.transactions(), 4);
    assert_eq!(app.trail.count(), 1 + 2 + 2 + 2 + 1 + 3 + 3);
    let actors = "SELECT count(actor) FROM threadline.audit_changes";
    assert_eq!(app.trail.query_text(actors), "0");
}

#[test]
fn the_application_role_cannot_use_the_objects_behind_the_capture_marker() {
    let app = Application::new();
    for attempt in [
        "SELECT setval('threadline.capture_session', 1)",
        "SELECT nextval('threadline.capture_session')",
        "SELECT threadline.allow_trail_delete(true)",
        "SELECT threadline.record_change('insert', 'public', 'accounts', NULL, '1', NULL, '{}', NULL, false, NULL)",
        "SELECT threadline.setting_as_jsonb('{}')",
    ] {
        let refused = app.trail.run_as(&app.role, attempt).expect_err(attempt);
        assert!(
            refused.contains("permission denied"),
            "{attempt}: {refused}"
        );
    }
}

#[test]
fn a_forged_suspension_setting_is_ignored() {
    let app = Application::new();
    for forged in ["1", "1,2,3", "{public.accounts}"] {
        app.run(&format!(
            "BEGIN; SELECT set_config('threadline.suspended', '{forged}', true), set_config('threadline.recorded', '|||', true);
             INSERT INTO accounts VALUES (1, 'hidden'); DELETE FROM accounts; COMMIT"
        ));
    }
    assert_eq!(app.trail.count(), 6);
    assert_eq!(app.orphans(), "0");
}

#[test]
fn a_suspension_setting_set_again_after_its_savepoint_was_rolled_back_is_ignored() {
    let app = Application::new();
    app.trail.run(&format!(
        "GRANT EXECUTE ON FUNCTION threadline.suspend_capture(regclass[], text) TO \"{}\"",
        app.role
    ));
    set_again_after_rollback(
        &app,
        "threadline.suspended",
        "SELECT threadline.suspend_capture('{accounts}', 'r')",
        "INSERT INTO accounts VALUES (1, 'a')",
    );
    assert_eq!(app.trail.events(), ["insert accounts 1"]);
}

#[test]
fn every_function_sets_search_path_except_those_called_by_capture() {
    let app = Application::new();
    let without_path = app.trail.query_text(
        "SELECT string_agg(proname, ', ' ORDER BY proname) FROM pg_proc
         WHERE pronamespace = 'threadline'::regnamespace
            AND NOT COALESCE(array_to_string(proconfig, ' '), '') LIKE '%search_path=pg_catalog, pg_temp%'",
    );
    assert_eq!(
        without_path,
        "actor_text, move_later_changes, record_change, record_transaction, row_key, setting_as_jsonb"
    );
    let callable = app.trail.query_text(
        "SELECT string_agg(proname, ', ' ORDER BY proname) FROM pg_proc
         WHERE pronamespace = 'threadline'::regnamespace AND prosecdef
            AND has_function_privilege('public', oid, 'EXECUTE')",
    );
    assert_eq!(
        callable,
        "begin_audited_work, count_audited_work, end_audited_work, record_action"
    );
}
