//! Saved views.

use super::{code, err, installed, out, threadline};

#[test]
fn a_view_is_saved_listed_run_and_removed() {
    let database = installed("CREATE TABLE notes (id int PRIMARY KEY)");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);
    let sql = out(&run(&["gen-triggers", "--print", "--tables", "notes"]));
    database.execute_script(&sql).unwrap();
    database
        .execute_script("INSERT INTO notes VALUES (1), (2)")
        .unwrap();

    let save = [
        "views",
        "save",
        "recent notes",
        "--owner",
        "user:1",
        "--table",
        "notes",
        "--since",
        "1h",
    ];
    let saved = run(&save);
    assert_eq!(code(&saved), 0, "{}", err(&saved));
    assert!(
        out(&saved).contains("--table public.notes --from 1h"),
        "{}",
        out(&saved)
    );
    assert!(out(&run(&["views", "list"])).contains("no saved views"));
    assert!(out(&run(&["views", "list", "--owner", "user:1"])).contains("recent notes"));

    let others = run(&["views", "run", "recent notes"]);
    assert_eq!(code(&others), 1);
    assert!(
        err(&others).contains("no view is named `recent notes`"),
        "{}",
        err(&others)
    );
    let view = ["views", "run", "recent notes", "--owner", "user:1"];
    let page = run(&[&view[..], &["--limit", "1"]].concat());
    assert_eq!(code(&page), 0, "{}", err(&page));
    let more = err(&page);
    let command = more.trim().strip_prefix("more: threadline ").unwrap();
    let next = run(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(code(&next), 0, "{}", err(&next));
    assert!(out(&next).contains("insert"), "{}", out(&next));

    let remove = ["views", "remove", "recent notes", "--owner", "user:1"];
    assert!(out(&run(&remove)).contains("nothing was removed"));
    assert_eq!(code(&run(&[&remove[..], &["--execute"]].concat())), 0);
    assert_eq!(code(&run(&view)), 1);
}

#[test]
fn a_missing_migration_is_named() {
    let database = installed("DROP TABLE threadline.audit_saved_views");
    let folder = tempfile::tempdir().unwrap();
    let output = threadline(folder.path(), Some(&database), &["views", "list"]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("threadline_0002"), "{}", err(&output));
}
