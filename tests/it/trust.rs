//! The application role can cause changes, but can neither write, alter nor delete the trail.

use crate::harness::{Trail, captured};

/// A table that an unprivileged role may write, and the name of the role, unique to the database.
fn with_application_role() -> (Trail, String) {
    let trail = captured(
        "CREATE TABLE accounts (id int PRIMARY KEY, balance numeric, note text)",
        &["accounts"],
    );
    let role = trail.query_text("SELECT 'app_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO \"{role}\";
         GRANT CREATE ON DATABASE \"{}\" TO \"{role}\"; GRANT ALL ON SCHEMA public TO \"{role}\"",
        trail.query_text("SELECT current_database()")
    ));
    (trail, role)
}

impl Drop for Roles<'_> {
    fn drop(&mut self) {
        let _ = self.0.run_as(
            "postgres",
            &format!("DROP OWNED BY \"{0}\" CASCADE; DROP ROLE \"{0}\"", self.1),
        );
    }
}

/// Drops the role at the end of a test: roles belong to the whole server.
struct Roles<'a>(&'a Trail, &'a str);

#[test]
fn writes_of_a_role_without_rights_on_the_trail_are_captured() {
    let (trail, role) = with_application_role();
    let _roles = Roles(&trail, &role);
    trail
        .run_as(&role, "INSERT INTO accounts VALUES (1, 1, 'x'); UPDATE accounts SET balance = 2; DELETE FROM accounts")
        .unwrap();
    assert_eq!(trail.changes().len(), 3);
    let user = trail.query_text("SELECT db_user FROM threadline.audit_transactions");
    assert_eq!(user, role);
}

#[test]
fn the_application_role_can_neither_write_nor_alter_nor_read_the_trail() {
    let (trail, role) = with_application_role();
    let _roles = Roles(&trail, &role);
    trail.run("INSERT INTO accounts VALUES (1, 1, 'x')");
    let function = trail.query_text(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE proname LIKE 'capture_public_accounts%'",
    );
    for attack in [
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name) VALUES (0, now(), gen_random_uuid(), 'insert', 'public', 'accounts')",
        "UPDATE threadline.audit_changes SET data_after = NULL",
        "DELETE FROM threadline.audit_transactions",
        "TRUNCATE threadline.audit_changes",
        "SELECT * FROM threadline.audit_changes",
        "SELECT * FROM threadline.audit_timeline",
        "SELECT nextval('threadline.audit_changes_id_seq')",
        "SELECT setval('threadline.capture_session', 1)",
        "SELECT threadline.allow_trail_delete(true)",
        "SELECT threadline.record_change('insert', 'public', 'accounts', NULL, '1', NULL, '{}', NULL, false, NULL)",
        "SELECT threadline.create_partition('audit_changes', now(), 0)",
        "ALTER TABLE accounts DISABLE TRIGGER ALL",
        "DROP TRIGGER \"00_threadline_capture\" ON accounts",
        "TRUNCATE accounts",
        "SET session_replication_role = replica",
        "SET ROLE postgres",
        "DROP SCHEMA threadline CASCADE",
        &format!(
            "CREATE TABLE mine (LIKE accounts); CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION {function}"
        ),
        "CREATE TABLE mine2 (id int); CREATE TRIGGER t AFTER TRUNCATE ON mine2 FOR EACH STATEMENT EXECUTE FUNCTION threadline.capture_truncate('public', 'accounts', 'false')",
    ] {
        let refused = trail.run_as(&role, attack);
        let error = refused.expect_err(attack);
        assert!(
            error.contains("permission denied") || error.contains("must be owner"),
            "{attack}: {error}"
        );
    }
    assert_eq!(trail.changes().len(), 1);
}

#[test]
fn functions_and_operators_in_the_search_path_are_not_called() {
    // Hazard 50: functions that a SECURITY DEFINER function finds by the search path run as its owner.
    let (trail, role) = with_application_role();
    let _roles = Roles(&trail, &role);
    let body = "RAISE EXCEPTION 'shadow called as %', current_user;";
    let mut shadows =
        String::from("CREATE SCHEMA evil; SET search_path = evil, pg_catalog, public;");
    for (name, arguments, returns) in [
        ("now", "", "timestamptz"),
        ("clock_timestamp", "", "timestamptz"),
        ("nextval", "regclass", "bigint"),
        ("jsonb_build_object", "VARIADIC \"any\"", ""),
        ("to_jsonb", "anyelement", "jsonb"),
        ("concat", "VARIADIC text[]", "text"),
        ("current_setting", "text, boolean", "text"),
        ("set_config", "text, text, boolean", "text"),
        ("encode", "bytea, text", "text"),
        ("pg_backend_pid", "", "int"),
        ("jsonb_typeof", "jsonb", "text"),
        ("lower", "text", "text"),
        ("format", "text, VARIADIC text[]", "text"),
    ] {
        if returns.is_empty() {
            continue;
        }
        shadows.push_str(&format!(
            "CREATE FUNCTION evil.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
        ));
    }
    for (operator, left, right, returns) in [
        ("=", "text", "text", "boolean"),
        ("=", "int", "int", "boolean"),
        ("=", "uuid", "uuid", "boolean"),
        ("=", "jsonb", "jsonb", "boolean"),
        ("=", "record", "record", "boolean"),
        ("<>", "text", "text", "boolean"),
        ("||", "jsonb", "jsonb", "jsonb"),
        ("||", "text", "text", "text"),
        ("||", "bytea", "bytea", "bytea"),
        ("->>", "jsonb", "text", "text"),
        ("*=", "record", "record", "boolean"),
        ("*<>", "record", "record", "boolean"),
    ] {
        let function = format!("op_{}", shadows.len());
        shadows.push_str(&format!(
            "CREATE FUNCTION evil.{function}({left}, {right}) RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE OPERATOR evil.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = evil.{function});"
        ));
    }
    // PostgreSQL does not allow these two kinds of shadows to be created.
    shadows = shadows
        .split_inclusive("$$;")
        .filter(|statement| !statement.contains("(record, record)"))
        .collect();
    let shadows: String = shadows
        .split_inclusive(';')
        .filter(|statement| !statement.contains("LEFTARG = record"))
        .collect();
    trail.run_as(&role, &shadows).unwrap();
    let context = r#"pg_catalog.set_config('threadline.actor_ref', '{"type":"user","id":"1"}', true), pg_catalog.set_config('threadline.context', '{"request_id":"r","meta":{"a":1}}', true)"#;
    trail
        .run_as(
            &role,
            &format!(
                "BEGIN; SET search_path = evil, pg_catalog, public; SELECT {context};
                 INSERT INTO public.accounts VALUES (1, 1.0, 'x');
                 UPDATE public.accounts SET balance = 1.00; UPDATE public.accounts SET note = 'y';
                 SELECT pg_catalog.set_config('threadline.actor_ref', 'broken', true);
                 DELETE FROM public.accounts; COMMIT"
            ),
        )
        .unwrap();
    assert_eq!(trail.changes().len(), 4);
}

#[test]
fn a_forged_marker_does_not_hide_the_transaction() {
    let (trail, role) = with_application_role();
    let _roles = Roles(&trail, &role);
    trail
        .run_as(
            &role,
            "BEGIN; SELECT set_config('threadline.recorded', threadline.current_transaction_id()::text || '|||', true);
             INSERT INTO accounts VALUES (1, 1, 'x'); COMMIT;
             BEGIN; INSERT INTO accounts VALUES (2, 1, 'x');
             SELECT set_config('threadline.recorded', current_setting('threadline.recorded'), false); COMMIT;
             BEGIN; INSERT INTO accounts VALUES (3, 1, 'x'); COMMIT",
        )
        .unwrap();
    assert_eq!(trail.transactions(), 3);
}

#[test]
fn the_owner_cannot_change_recorded_rows() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    for tampering in [
        "UPDATE threadline.audit_changes SET op = 'delete'",
        "DELETE FROM threadline.audit_changes",
        "DELETE FROM threadline.audit_transactions",
        "UPDATE threadline.audit_transactions SET actor = NULL",
        "TRUNCATE threadline.audit_changes",
        "TRUNCATE threadline.audit_changes_default",
        "DO $$ BEGIN EXECUTE (SELECT format('TRUNCATE %s', tableoid::regclass) FROM threadline.audit_changes LIMIT 1); END $$",
        "DO $$ BEGIN EXECUTE (SELECT format('DELETE FROM %s', tableoid::regclass) FROM threadline.audit_changes LIMIT 1); END $$",
    ] {
        let error = trail.expect_error(tampering);
        assert!(error.contains("append-only"), "{tampering}: {error}");
    }
    assert_eq!(trail.changes().len(), 1);
}

#[test]
fn uninstall_refuses_while_changes_exist() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let error = trail.expect_error(&threadline::install::down_sql());
    assert!(error.contains("the audit trail is not empty"), "{error}");
    trail.run(&format!(
        "SET threadline.discard_trail = 'yes'; {}",
        threadline::install::down_sql()
    ));
    trail.run("INSERT INTO t VALUES (2)");
}

#[test]
fn installing_twice_is_refused_and_changes_nothing() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t VALUES (1)");
    let error = trail.expect_error(&threadline::install::up_sql());
    assert!(error.contains("already installed"), "{error}");
    trail.run("INSERT INTO t VALUES (2)");
    assert_eq!(trail.changes().len(), 2);
}
