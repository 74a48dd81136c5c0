//! The layout of lists and reports at widths of the terminal, colours and time zones.

use super::*;

/// Changes and actions, with the same ids and instants in every run.
const TRAIL: &str = r#"
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :cron;
GRANT USAGE ON SCHEMA threadline TO :cron;
BEGIN;
SELECT threadline.begin_audited_work('{"actor_ref": {"type": "admin", "id": "rita"},
    "context": {"request_id": "req-14", "correlation_id": "order-7002", "meta": {"tenant": 7},
                "on_behalf_of": {"type": "user", "id": "alice"}},
    "action": {"id": "019a0000-0000-7000-8000-000000000001", "name": "shipment.book",
               "reason": "customer_call", "comment": "The customer called and asked for delivery before noon, to the back door"}}');
INSERT INTO shipments (id, customer, street, city, zip, country, weight, carrier, service, price, booked_on)
VALUES ('019a0000-0000-7000-8000-00000000aaaa', 'Initech GmbH & Co. KG', 'Hauptstraße 14', 'Berlin', '10115',
        'DE', 12.50, 'Postbote', 'express before noon', 129.90, '2026-11-20');
INSERT INTO orders VALUES (7002, 'open', '4111');
COMMIT;
BEGIN;
SELECT threadline.begin_audited_work('{"actor_ref": {"type": "user", "id": "019a0000-0000-7000-8000-00000000beef"},
    "context": {"request_id": "019a0000-0000-7000-8000-00000000cafe"},
    "action": {"id": "019a0000-0000-7000-8000-000000000002", "name": "shipment.redirect"}}');
UPDATE shipments SET street = 'Unter den Linden 77, Hinterhaus, dritter Stock links', city = 'Potsdam', zip = '14467';
COMMIT;
BEGIN;
SELECT threadline.record_action('{"id": "019a0000-0000-7000-8000-000000000003", "name": "order.refund",
    "status": "error", "reason": "work_failed"}', '{"type": "user", "id": "bob"}', '{"request_id": "req-15"}');
COMMIT;
SET SESSION AUTHORIZATION :cron;
SET application_name = 'psql';
BEGIN; UPDATE orders SET status = 'paid'; COMMIT;
BEGIN; DELETE FROM shipments; COMMIT;
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
CREATE TEMP TABLE ids AS
SELECT id, ('000303c2-476f-25e9-0000-00000000000' || row_number() OVER (ORDER BY occurred_at, id))::uuid AS stable
FROM threadline.audit_transactions;
UPDATE threadline.audit_changes AS c SET transaction_id = stable FROM ids WHERE ids.id = transaction_id;
UPDATE threadline.audit_actions AS c SET transaction_id = stable FROM ids WHERE ids.id = transaction_id;
UPDATE threadline.audit_transactions AS t SET id = stable, backend_pid = 4711 FROM ids WHERE ids.id = t.id;
UPDATE threadline.audit_changes SET captured_at = '2026-11-20 22:59:00Z'::timestamptz + id * interval '7 minutes';
UPDATE threadline.audit_actions SET recorded_at = '2026-11-20 22:59:00Z'::timestamptz + order_id * interval '7 minutes';
UPDATE threadline.audit_transactions AS t SET occurred_at = c.captured_at
FROM (SELECT transaction_id, min(captured_at) AS captured_at FROM threadline.audit_changes GROUP BY 1) AS c
WHERE c.transaction_id = t.id;
"#;

const SHIPMENTS: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text, card text);
    CREATE TABLE shipments (id uuid PRIMARY KEY, customer text, street text, city text, zip text, country text,
        weight numeric, carrier text, service text, price numeric, booked_on date, picked_up_at timestamptz);
    CREATE TABLE a_table_with_a_name_that_is_as_long_as_postgresql_permits_123456 (id int)";

fn captured(schema: &str, tables: &str) -> Database {
    let database = installed(schema);
    let folder = tempfile::tempdir().unwrap();
    let print = ["gen-triggers", "--tables", tables, "--print"];
    let sql = out(&threadline(folder.path(), Some(&database), &print));
    database.execute_script(&sql).unwrap();
    database
}

fn trail() -> Database {
    let database = captured(SHIPMENTS, "orders,shipments");
    // Roles belong to the server, which other tests share.
    let role = "layout_cron";
    database.execute_script(&format!("DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} LOGIN; END IF; END $$")).unwrap();
    let script = TRAIL.replace(":cron", role);
    database.execute_script(&script).unwrap();
    database
}

/// Runs `threadline` as on a terminal of some width.
fn run_at(database: &Database, columns: usize, arguments: &[&str]) -> String {
    let output = run_with(database, &[("COLUMNS", &columns.to_string())], arguments);
    out(&output)
}

fn run_with(database: &Database, env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadline"));
    for name in ["CARGO", "COLUMNS", "NO_COLOR", "TZ"] {
        command.env_remove(name);
    }
    command
        .current_dir(folder.path())
        .args(arguments)
        .env("DATABASE_URL", database.url())
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

const SHIPMENT: &str = "019a0000-0000-7000-8000-00000000aaaa";

#[test]
fn lists_are_stacked_below_110_columns_and_tables_above() {
    let database = trail();
    let lists: &[&[&str]] = &[
        &["timeline"],
        &["timeline", "--table", "orders"],
        &["history", "shipments", SHIPMENT],
        &["history", "shipments", SHIPMENT, "--field", "city"],
        &["actor", "admin:rita"],
        &["actions"],
        &["correlation", "order-7002"],
        &["incident", "000303c2-476f-25e9-0000-000000000001"],
        &["incident", "9"],
        &["timeline", "--limit", "2", "--tz", "Europe/Berlin"],
    ];
    for columns in [80, 120, 200] {
        let mut shown = String::new();
        for arguments in lists {
            let list = run_at(&database, columns, arguments);
            shown.push_str(&format!("$ threadline {}\n{list}\n", arguments.join(" ")));
            for line in list.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        insta::assert_snapshot!(format!("lists_at_{columns}_columns"), shown);
    }
}

#[test]
fn reports_have_no_table_wider_than_80_columns() {
    let database = captured(SHIPMENTS, "orders,shipments");
    database
        .execute_script(
            "INSERT INTO orders VALUES (7002, 'open'); ALTER TABLE orders ADD note text",
        )
        .unwrap();
    let reports: &[&[&str]] = &[
        &["coverage"],
        &["policy"],
        &["verify"],
        &["doctor"],
        &["continuity"],
        &["retention", "plan", "--keep-days", "1"],
        &["retention", "runs"],
        &["as-of", "orders", "7002", "now"],
    ];
    let mut shown = String::new();
    for arguments in reports {
        let report = run_at(&database, 80, arguments);
        for line in report.lines().filter(|line| line.chars().count() > 80) {
            // Commands and SQL to copy are not wrapped.
            assert!(line.starts_with("    "), "{arguments:?}: {line}");
        }
        // These depend on the server and on the time.
        if ["coverage", "policy", "verify"].contains(&arguments[0]) {
            shown.push_str(&format!("$ threadline {}\n{report}\n", arguments.join(" ")));
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_pipe_gets_a_table_wide_enough_for_every_word() {
    let database = trail();
    let shown = out(&run_with(&database, &[], &["timeline"]));
    assert!(shown.starts_with(" when (UTC)"), "{shown}");
    assert!(
        shown.contains("user:019a0000-0000-7000-8000-00000000beef"),
        "{shown}"
    );
    assert!(shown.contains(SHIPMENT), "{shown}");
}

#[test]
fn colours_are_used_on_terminals_and_on_request() {
    let database = trail();
    let has_colours = |env: &[(&str, &str)], arguments: &[&str]| {
        let output = run_with(&database, env, arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", err(&output));
        out(&output).contains('\u{1b}')
    };
    for columns in ["80", "200"] {
        let narrow = ("COLUMNS", columns);
        assert!(!has_colours(&[narrow], &["timeline"]));
        assert!(has_colours(&[narrow], &["timeline", "--color", "always"]));
        assert!(has_colours(
            &[narrow, ("NO_COLOR", "1")],
            &["--color", "always", "timeline"]
        ));
        assert!(!has_colours(&[narrow], &["timeline", "--color", "never"]));
    }
    let on_a_terminal = |env: &str, options: &str| {
        let line = format!(
            "{env} '{}' timeline {options}",
            env!("CARGO_BIN_EXE_threadline")
        );
        let output = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("DATABASE_URL", database.url())
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .stdin(std::process::Stdio::null())
            .output();
        output.ok().map(|output| out(&output).contains('\u{1b}'))
    };
    let Some(coloured) = on_a_terminal("", "") else {
        eprintln!("skipped: `script` is not installed");
        return;
    };
    assert!(coloured);
    assert_eq!(on_a_terminal("NO_COLOR=1", ""), Some(false));
    assert_eq!(on_a_terminal("", "--color never"), Some(false));
    assert_eq!(on_a_terminal("NO_COLOR=1", "--color always"), Some(true));
}

#[test]
fn local_times_are_read_and_shown_in_the_zone_and_json_is_in_utc() {
    let database = trail();
    // 23:48 UTC is 00:48 in Berlin.
    let window = [
        "timeline",
        "--from",
        "2026-11-21 00:48",
        "--to",
        "2026-11-21 00:48:00",
    ];
    for (env, zone) in [
        (vec![], &["--tz", "Europe/Berlin"][..]),
        (vec![("TZ", "Europe/Berlin")], &[]),
        (vec![("TZ", ":Europe/Berlin")], &[]),
        (vec![("TZ", "America/New_York")], &["--tz", "Europe/Berlin"]),
    ] {
        let output = run_with(&database, &env, &[&window[..], zone].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        let shown = out(&output);
        assert!(shown.contains("when (Europe/Berlin)"), "{shown}");
        assert!(
            shown.contains("2026-11-21 00:48:00") && shown.contains("2026-11-20 23:48:00"),
            "{shown}"
        );
        let json = run_with(&database, &env, &[&window[..], zone, &["--json"]].concat());
        assert!(
            out(&json).contains("2026-11-20T23:48:00Z"),
            "{}",
            out(&json)
        );
    }
    for unusable in [
        "nowhere",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        ":/etc/localtime",
        "",
    ] {
        let shown = out(&run_with(&database, &[("TZ", unusable)], &["timeline"]));
        assert!(
            shown.starts_with(" when (UTC)") && !shown.contains("when (Europe"),
            "{shown}"
        );
    }
}

#[test]
fn relative_windows_of_all_lists_have_pages() {
    let database = captured(ORDERS, "orders");
    let run = |arguments: &[&str]| run_with(&database, &[], arguments);
    // Actions are listed by their ids, which are UUIDs of version 7.
    let start = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis();
    for n in 0..3 {
        let time = format!("{:012x}", start + n);
        let (high, low) = time.split_at(8);
        let insert = format!(
            "BEGIN; SELECT threadline.begin_audited_work('{{\"actor_ref\": {{\"type\": \"user\", \"id\": \"42\"}},
             \"action\": {{\"id\": \"{high}-{low}-7000-8000-000000000000\", \"name\": \"order.add\"}}}}');
             INSERT INTO orders VALUES ({n}); COMMIT"
        );
        database.execute_script(&insert).unwrap();
    }
    for list in [&["timeline"][..], &["actions"], &["actor", "user:42"]] {
        let count = |window: &[&str]| {
            let output = run(&[list, window, &["--ndjson"]].concat());
            assert_eq!(code(&output), 0, "{list:?} {window:?}: {}", err(&output));
            out(&output).lines().count()
        };
        assert_eq!(count(&["--since", "2h"]), 3);
        assert_eq!(count(&["--since", "-15m", "--to", "now"]), 3);
        assert_eq!(count(&["--from", "yesterday"]), 3);
        assert_eq!(count(&["--to", "2h"]), 0);
        let first = out(&run(&[list, &["--since", "1w", "--limit", "2"]].concat()));
        let more = first.lines().last().unwrap();
        let options: Vec<_> = more.strip_prefix("more: ").unwrap().split(' ').collect();
        assert!(options.contains(&"--from"), "{more}");
        assert_eq!(count(&[&options[..], &["--limit", "2"]].concat()), 1);
    }
    assert_eq!(
        out(&run(&[
            "history", "orders", "0", "--since", "2h", "--ndjson"
        ]))
        .lines()
        .count(),
        1
    );
    assert_eq!(
        out(&run(&["history", "orders", "0", "--to", "2h"])),
        "no changes match\n"
    );
    let now = run(&["as-of", "orders", "0", "now"]);
    assert_eq!(code(&now), 0, "{}", err(&now));
    let before = run(&["as-of", "orders", "0", "-15m", "--json"]);
    assert_eq!(code(&before), 1, "{}", err(&before));
    assert!(out(&before).contains("not_yet_known"), "{}", out(&before));
    assert_eq!(code(&run(&["coverage", "--since", "7d"])), 0);
    assert_eq!(code(&run(&["export", "--since", "7d", "--dry-run"])), 0);
}

#[test]
fn a_field_is_shown_alone_and_images_are_shortened_except_in_json() {
    let database = trail();
    let run = |arguments: &[&str]| run_with(&database, &[], arguments);
    let list = out(&run(&["timeline", "--table", "shipments"]));
    assert!(
        list.contains("… 4 more") && !list.contains("booked_on"),
        "{list}"
    );
    let document = out(&run(&["timeline", "--table", "shipments", "--json"]));
    assert!(
        document.contains("booked_on") && !document.contains("more fields"),
        "{document}"
    );

    let city = out(&run(&["history", "shipments", SHIPMENT, "--field", "city"]));
    assert!(
        city.contains("city: Berlin → Potsdam") && city.contains("city=Berlin"),
        "{city}"
    );
    assert!(!city.contains("zip"), "{city}");

    let diff = out(&run(&["diff", "7", "--field", "city"]));
    assert!(
        diff.contains("Berlin → Potsdam") && !diff.contains("zip"),
        "{diff}"
    );
    let diff = json(&run(&["diff", "7", "--field", "city", "--json"]));
    assert_eq!(diff["fields"].as_array().unwrap().len(), 1);
    let other = run(&["diff", "7", "--field", "carrier"]);
    assert_eq!(code(&other), 1);
    assert_eq!(
        err(&other),
        "change 7 did not touch column `carrier`; it touched: city, street, zip\n"
    );
}
