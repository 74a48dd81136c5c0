//! Generation: what a migration changes.

use super::*;

#[test]
fn gen_triggers_lists_added_removed_and_masked_columns_of_quoted_tables() {
    let database =
        installed(r#"CREATE TABLE "It's \ odd" (id int PRIMARY KEY, note text, pin text)"#);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    let table = r#""It's \ odd""#;
    let first = threadline(
        folder.path(),
        Some(&database),
        &["gen-triggers", "--tables", table],
    );
    assert_eq!(code(&first), 0, "{}", err(&first));
    assert!(out(&first).contains("capture begins"), "{}", out(&first));
    database
        .execute_script(r#"ALTER TABLE "It's \ odd" DROP COLUMN note, ADD COLUMN phone text"#)
        .unwrap();
    let mask = format!("{table}.pin");
    let phone = format!("{table}.phone");
    let arguments = [
        "gen-triggers",
        "--tables",
        table,
        "--mask",
        &mask,
        "--mask-keep-null",
        &phone,
        "--check",
    ];
    let check = threadline(folder.path(), Some(&database), &arguments);
    assert_eq!(code(&check), 1, "{}", err(&check));
    for change in [
        "pin: masked, was stored in clear",
        "phone: added, masked, NULL is stored",
        "note: removed",
    ] {
        assert!(out(&check).contains(change), "{}", out(&check));
    }
    assert!(!out(&check).contains("id: added"), "{}", out(&check));
}
