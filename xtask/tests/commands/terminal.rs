//! Stored text does not control the terminal and cannot begin a line of its own.

use super::*;

/// Text of an attacker: escape sequences, a C1 control character, line breaks and a bidirectional override.
fn hostile(name: &str) -> String {
    format!("{name}\u{1b}[31m\u{9b}1m\u{202e}\r\nFORGED {name}\u{2028}FORGED {name}")
}

/// A database in which all texts that can be stored are hostile.
fn hostile_database() -> (Database, String) {
    let table = format!("\"{}\"", hostile("t"));
    let database = installed(&format!(
        "CREATE TABLE {table} (id text PRIMARY KEY, \"{}\" text, masked text, tags jsonb)",
        hostile("c")
    ));
    let folder = tempfile::tempdir().unwrap();
    let mask = format!("{table}.masked");
    let arguments = [
        "gen-triggers",
        "--tables",
        &table,
        "--mask",
        &mask,
        "--print",
    ];
    let printed = threadline(folder.path(), Some(&database), &arguments);
    assert_eq!(code(&printed), 0, "{}", err(&printed));
    database.execute_script(&out(&printed)).unwrap();
    let json = |name: &str| serde_json::to_string(&hostile(name)).unwrap();
    let work = format!(
        r#"{{"actor_ref": {{"type": "user", "id": {}}},
            "context": {{"request_id": {}, "correlation_id": "c-1", "job_id": {}, "source": {},
                        "meta": {{"m": {}}},
                        "on_behalf_of": {{"type": "user", "id": {}}}}},
            "action": {{"id": "019a0000-0000-7000-8000-000000000001", "name": {}, "reason": {},
                       "comment": {}}}}}"#,
        json("a"),
        json("r"),
        json("j"),
        json("s"),
        json("m"),
        json("b"),
        json("n"),
        json("w"),
        json("x")
    );
    let row = format!(
        "'{}', '{}', 'm', jsonb_build_object('{}', '{}')",
        hostile("k"),
        hostile("v"),
        hostile("p"),
        hostile("q")
    );
    database
        .execute_script(&format!("INSERT INTO {table} VALUES ({row})"))
        .unwrap();
    database
        .execute_script(&format!(
            "SELECT threadline.begin_audited_work($work${work}$work$);
             UPDATE {table} SET \"{}\" = 'x', masked = 'n', tags = '{{}}';",
            hostile("c")
        ))
        .unwrap();
    database
        .execute_script(&format!(
            "ALTER TABLE {table} ADD COLUMN \"{}\" text",
            hostile("new")
        ))
        .unwrap();
    (database, table)
}

#[test]
fn stored_text_has_no_effect_on_a_terminal() {
    let (database, table) = hostile_database();
    let ask = |sql: &str| database.query_text(sql).unwrap().unwrap();
    let transaction =
        ask("SELECT transaction_id::text FROM threadline.audit_changes ORDER BY id DESC LIMIT 1");
    let change = ask("SELECT max(id)::text FROM threadline.audit_changes");
    let (key, later) = (hostile("k"), "2099-01-01T00:00:00Z");
    let actor = format!("user:{}", hostile("a"));
    let url = database.url();
    let commands: &[&[&str]] = &[
        &["timeline"],
        &["timeline", "--table", &table, "--changed", "none"],
        &["timeline", "--table", "t"],
        &["history", &table, &key],
        &["history", &table, "none"],
        &[
            "history", &table, &key, "--field", "masked", "--became", "m",
        ],
        &["as-of", &table, &key, later],
        &["as-of", &table, &key, "2000-01-01T00:00:00Z"],
        &["incident", &transaction],
        &["diff", &change],
        &["actor", &actor],
        &["actions"],
        &["correlation", "c-1"],
        &["continuity"],
        &["baseline", "--table", &table],
        &[
            "baseline",
            "--table",
            &table,
            "--all",
            "--execute",
            "--actor",
            "admin:rita",
        ],
        &["coverage"],
        &["policy"],
        &["verify"],
        &["doctor"],
        &["retention", "plan", "--keep-days", "30"],
        &["gen-triggers", "--tables", &table],
        &["redeploy-triggers", &table],
        &["disable-capture", &table],
    ];
    let documents: &[&[&str]] = &[
        &["timeline", "--json"],
        &["timeline", "--ndjson"],
        &["history", &table, &key, "--json"],
        &["incident", &transaction, "--json"],
        &["diff", &change, "--json"],
        &["coverage", "--json"],
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    for arguments in [commands, documents].concat() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_threadline"));
        let output = command
            .current_dir(folder.path())
            .args(arguments)
            .env("DATABASE_URL", &url)
            .env_remove("CARGO")
            .output()
            .unwrap();
        let shown = out(&output) + &err(&output);
        assert!(code(&output) <= 2, "{arguments:?}: {shown}");
        let active = shown
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{2028}' | '\u{202e}'));
        assert_eq!(active, None, "{arguments:?}: {shown}");
        // A cell of a table may be wrapped, which indents it.
        let forged = shown.lines().find(|line| {
            line.find("FORGED")
                .is_some_and(|indent| line[..indent].trim().is_empty() && indent < 20)
        });
        assert_eq!(forged, None, "{arguments:?}: {shown}");
    }
}

#[test]
fn exports_and_scripts_on_a_terminal_are_escaped() {
    let (database, table) = hostile_database();
    let quoted = table.replace('\'', "'\\''");
    for arguments in [
        "export".to_owned(),
        "export --format ndjson".to_owned(),
        format!("gen-triggers --print --tables '{quoted}'"),
    ] {
        let line = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_threadline"));
        let on_a_terminal = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("DATABASE_URL", database.url())
            .stdin(std::process::Stdio::null())
            .output();
        let Ok(output) = on_a_terminal else {
            eprintln!("skipped: `script` is not installed");
            return;
        };
        let shown = out(&output);
        assert!(output.status.success(), "{arguments}: {shown}");
        assert!(shown.contains("FORGED"), "{arguments}: {shown}");
        for active in ['\u{1b}', '\u{9b}', '\u{202e}', '\u{2028}'] {
            assert!(!shown.contains(active), "{arguments}: {shown:?}");
        }
    }
}
