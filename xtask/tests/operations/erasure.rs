//! Erasure of a person by the command line of a host.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::*;

/// A host with changes by `user:1`.
fn site() -> Site {
    let site = Site::declared();
    for n in 0..200 {
        site.run(&format!(
            r#"SELECT set_config('threadline.actor_ref', '{{"type": "user", "id": "1"}}', true); UPDATE t SET v = {n} + 100"#
        ));
    }
    site
}

fn spawn(site: &Site, arguments: &[&str]) -> Child {
    Command::new(&site.program)
        .current_dir(site.folder.path())
        .args(arguments)
        .env("DATABASE_URL", site.database.url())
        .env_remove("CARGO")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const RUN: [&str; 6] = ["erase", "run", "1", "--reason", "request 17", "--execute"];

#[test]
fn an_erasure_killed_in_the_middle_is_unfinished_and_the_next_run_completes_it() {
    let site = site();
    let slow = [&RUN[..], &["--batch-size", "5", "--pause-ms", "20"]].concat();
    let mut child = spawn(&site, &slow);
    let erased = "SELECT count(*) FROM threadline.audit_changes WHERE actor LIKE 'user:erased-%'";
    while site.ask(erased).parse::<u32>().unwrap() < 20 {
        sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let status = site.threadline(&["erase", "status"]);
    assert_eq!(code(&status), 1, "{}", out(&status));
    assert!(out(&status).contains("unfinished"), "{}", out(&status));
    assert_ne!(site.ask(erased), "200");

    let run: Value =
        serde_json::from_str(&site.answers(&[&RUN[..], &["--json"]].concat())).unwrap();
    assert_eq!(run["progress"]["changes"], 200, "{run}");
    let actors = "SELECT string_agg(DISTINCT actor, ',') FROM threadline.audit_changes WHERE actor IS NOT NULL";
    assert_eq!(
        site.ask(actors),
        format!("user:{}", run["pseudonym"].as_str().unwrap())
    );
    site.answers(&["erase", "status"]);
    let report = site.answers(&["erase", "report", "--backup-days", "30"]);
    assert!(
        report.contains("out of reach") && report.contains("by 20"),
        "{report}"
    );
}

#[test]
fn a_plan_changes_nothing_and_recorded_erasures_are_replayed_from_a_file() {
    let site = site();
    let plan = site.answers(&["erase", "plan", "1"]);
    assert!(plan.contains("200"), "{plan}");
    let changes = site.answers(&["erase", "plan", "1", "--changes"]);
    assert_eq!(
        changes.lines().count(),
        201,
        "each change once, with the insert of the row"
    );
    site.answers(&RUN[..5]);
    assert_eq!(
        site.ask("SELECT count(*) FROM threadline.audit_removals"),
        "0"
    );
    site.answers(&RUN);
    let records = site.answers(&["erase", "report", "--records"]);
    let file = site.folder.path().join("erasures.ndjson");
    fs::write(&file, records).unwrap();
    let file = file.to_str().unwrap();
    let counted = site.answers(&["erase", "replay", file]);
    assert!(counted.contains("nothing was changed"), "{counted}");
    let replayed = site.answers(&["erase", "replay", file, "--execute"]);
    assert!(replayed.starts_with("0 erasures applied"), "{replayed}");
}

#[test]
fn a_program_without_a_subject_map_says_how_to_declare_one() {
    let site = Site::new(TABLE);
    let output = site.threadline(&["erase", "plan", "1"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("subject_map"), "{}", err(&output));
}
