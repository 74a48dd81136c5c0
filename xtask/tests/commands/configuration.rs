//! Configuration: `.env`, `diesel.toml` and the directory of migrations.

use super::*;

#[test]
fn database_url_is_read_from_dotenv_in_a_parent_directory() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("crates/app");
    fs::create_dir_all(&nested).unwrap();
    let dotenv = folder.path().join(".env");
    fs::write(&dotenv, format!("DATABASE_URL=\"{}\"\n", database.url())).unwrap();
    let found = threadline(&nested, None, &["timeline"]);
    assert_eq!(code(&found), 0, "{}", err(&found));

    // The environment and the option take precedence.
    fs::write(
        &dotenv,
        "DATABASE_URL=postgres://nobody@127.0.0.1:1/nothing\n",
    )
    .unwrap();
    assert_eq!(code(&threadline(&nested, None, &["timeline"])), 3);
    assert_eq!(
        code(&threadline(&nested, Some(&database), &["timeline"])),
        0
    );
    let url = database.url();
    let given = threadline(&nested, None, &["timeline", "--database-url", url.as_ref()]);
    assert_eq!(code(&given), 0, "{}", err(&given));

    fs::write(&dotenv, "SECRET='unfinished\n").unwrap();
    let broken = threadline(&nested, None, &["timeline"]);
    assert_eq!(code(&broken), 2);
    let message = err(&broken);
    assert!(message.contains("cannot parse .env"), "{message}");
    assert!(!message.contains("unfinished"), "{message}");
}

#[test]
fn migrations_are_written_to_the_directory_of_diesel_toml_in_a_parent() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("crates/app");
    fs::create_dir_all(nested.join("migrations")).unwrap();
    fs::write(
        folder.path().join("diesel.toml"),
        "[migrations_directory]\ndir = \"db/migrations\"\n",
    )
    .unwrap();
    let missing = threadline(&nested, None, &["install"]);
    assert_eq!(code(&missing), 2);
    assert!(
        err(&missing).contains("db/migrations does not exist"),
        "{}",
        err(&missing)
    );

    fs::create_dir_all(folder.path().join("db/migrations")).unwrap();
    let done = threadline(&nested, None, &["install"]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    assert_eq!(
        migrations(&folder.path().join("db"))[0],
        "00000000000001_threadline_0001"
    );
    assert!(migrations(&nested).is_empty());

    fs::write(folder.path().join("diesel.toml"), "[migrations_directory\n").unwrap();
    let broken = threadline(&nested, None, &["install"]);
    assert_eq!(code(&broken), 2);
    assert!(err(&broken).contains("cannot parse"), "{}", err(&broken));
}

#[test]
fn without_diesel_toml_the_nearest_migrations_directory_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("crates/app");
    fs::create_dir_all(&nested).unwrap();
    let none = threadline(&nested, None, &["install"]);
    assert_eq!(code(&none), 2);
    assert!(
        err(&none).contains("there is no directory of migrations"),
        "{}",
        err(&none)
    );

    fs::create_dir(folder.path().join("migrations")).unwrap();
    assert_eq!(code(&threadline(&nested, None, &["install"])), 0);
    assert!(migrations(folder.path())[0].ends_with("_threadline_0001"));
    assert!(!nested.join("migrations").exists());

    let named = threadline(&nested, None, &["install", "--migrations-dir", "other"]);
    assert_eq!(code(&named), 2);
    assert!(
        err(&named).contains("migrations other does not exist"),
        "{}",
        err(&named)
    );
}
