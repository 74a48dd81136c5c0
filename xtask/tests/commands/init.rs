//! `init` in applications of several layouts.

use super::*;

/// An application: its files, by path.
fn application(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

const MANIFEST: &str = "# The shop.
[package]
name = \"my-shop\"
edition = \"2024\"

[dependencies]
axum = \"0.8\" # the web
diesel = { version = \"2.3\", default-features = false, features = [\"postgres_backend\"] }
diesel-async = { version = \"0.9\", features = [\"postgres\"] }
";

const PACKAGE: [(&str, &str); 3] = [
    ("Cargo.toml", MANIFEST),
    ("src/lib.rs", ""),
    ("migrations/2026-01-01-000000_first/up.sql", "SELECT 1;"),
];

/// All files below a folder with their texts, but the SQL of migrations.
fn snapshot(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn text(files: &[(String, String)], name: &str) -> String {
    let found = files.iter().find(|(file, _)| file == name);
    found
        .unwrap_or_else(|| panic!("{name}: {files:?}"))
        .1
        .clone()
}

#[test]
fn init_adds_xtask_alias_dependency_and_migrations_once() {
    let folder = application(&PACKAGE);
    let root = folder.path().canonicalize().unwrap();
    let before = snapshot(&root);
    let dry = threadline(&root, None, &["init", "--dry-run"]);
    assert_eq!(code(&dry), 0, "{}", err(&dry));
    insta::assert_snapshot!(out(&dry));
    assert_eq!(snapshot(&root), before);

    let refused = threadline(&root, None, &["init"]);
    assert_eq!(code(&refused), 2);
    assert!(err(&refused).contains("pass --yes"), "{}", err(&refused));
    assert!(out(&refused).contains("create xtask/Cargo.toml"));
    assert_eq!(snapshot(&root), before);

    let done = threadline(&root, None, &["init", "--yes"]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    let after = snapshot(&root);
    assert_eq!(
        text(&after, "Cargo.toml"),
        format!(
            "{MANIFEST}threadline = {{ version = \"0.1\", features = [\"async\", \"axum\"] }}\n\n\
             [workspace]\nmembers = [\"xtask\"]\n"
        )
    );
    assert_eq!(
        text(&after, "xtask/src/main.rs"),
        "threadline_xtask::xtask!(my_shop);\n"
    );
    assert!(migrations(&root)[1].ends_with("_threadline_0001"));

    // From any directory of the workspace.
    for below in ["", "src", "xtask"] {
        let arguments: &[&str] = if below == "xtask" {
            &["init", "--package", "my-shop"]
        } else {
            &["init"]
        };
        let again = threadline(&root.join(below), None, arguments);
        assert_eq!(code(&again), 0, "{below}: {}{}", out(&again), err(&again));
        assert!(out(&again).starts_with("nothing to do"), "{}", out(&again));
    }
    assert_eq!(snapshot(&root), after);
}

#[test]
fn init_of_a_member_of_a_workspace_edits_both_manifests() {
    let folder = application(&[
        (
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\n    \"crates/*\",\n]\n",
        ),
        (
            "crates/models/Cargo.toml",
            "[package]\nname = \"models\"\nedition = \"2024\"\n[lib]\nname = \"shop_models\"\n\
             [dependencies]\ndiesel = { version = \"2.3\", features = [\"postgres\"] }\n",
        ),
        ("crates/models/src/lib.rs", ""),
        ("crates/models/migrations/.keep", ""),
        (
            "crates/web/Cargo.toml",
            "[package]\nname = \"web\"\nedition = \"2024\"\n",
        ),
        ("crates/web/src/main.rs", "fn main() {}"),
        (
            ".cargo/config.toml",
            "[alias]\nxtask = \"run --package tasks --\"\n",
        ),
    ]);
    let root = folder.path().canonicalize().unwrap();
    let before = snapshot(&root);
    let alias = threadline(&root, None, &["init", "--yes"]);
    assert_eq!(code(&alias), 2);
    assert!(
        err(&alias).contains("the alias `xtask` is `run --package tasks --` already"),
        "{}",
        err(&alias)
    );
    let other = threadline(&root.join("crates/web"), None, &["init", "--yes"]);
    assert_eq!(code(&other), 2);
    assert!(
        err(&other).contains("`web` does not depend on diesel")
            && err(&other).contains("these depend on diesel: models"),
        "{}",
        err(&other)
    );
    let unknown = threadline(&root, None, &["init", "--yes", "--package", "model"]);
    assert_eq!(code(&unknown), 2);
    assert!(
        err(&unknown).contains("has no package `model`"),
        "{}",
        err(&unknown)
    );
    assert_eq!(snapshot(&root), before);

    let done = threadline(&root, None, &["init", "--yes", "--name", "audit"]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    let after = snapshot(&root);
    assert_eq!(
        text(&after, "Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\n    \"crates/*\",\n    \"audit\",\n]\n"
    );
    let manifest = text(&after, "audit/Cargo.toml");
    assert!(
        manifest.contains("models = { path = \"../crates/models\" }"),
        "{manifest}"
    );
    assert_eq!(
        text(&after, "audit/src/main.rs"),
        "threadline_xtask::xtask!(shop_models);\n"
    );
    assert!(
        text(&after, ".cargo/config.toml").contains("audit = \"run --quiet --package audit --\"")
    );
    let manifest = text(&after, "crates/models/Cargo.toml");
    assert!(
        manifest.contains("threadline = { version = \"0.1\", features = [\"sync\"] }"),
        "{manifest}"
    );
    assert!(migrations(&root.join("crates/models"))[1].ends_with("_threadline_0001"));
}

#[test]
fn init_explains_what_an_application_lacks() {
    let without = |path: &str| {
        let files: Vec<_> = PACKAGE
            .into_iter()
            .filter(|(file, _)| *file != path)
            .collect();
        application(&files)
    };
    let with = |file: (&'static str, &'static str)| {
        let mut files = PACKAGE.to_vec();
        files.push(file);
        application(&files)
    };
    let binary = without("src/lib.rs");
    fs::create_dir(binary.path().join("src")).unwrap();
    fs::write(binary.path().join("src/main.rs"), "fn main() {}").unwrap();
    let configured = with((
        "diesel.toml",
        "[migrations_directory]\ndir = \"db/migrations\"\n",
    ));
    for (folder, expected) in [
        (tempfile::tempdir().unwrap(), "has a Cargo.toml"),
        (binary, "package `my-shop` has no library"),
        (
            without("migrations/2026-01-01-000000_first/up.sql"),
            "run `diesel setup`",
        ),
        (configured, "db/migrations does not exist"),
        (
            with(("xtask/Cargo.toml", "[package]\nname = \"xtask\"\n")),
            "xtask exists and is not a member",
        ),
        (
            application(&[("Cargo.toml", "[package\n")]),
            "cargo cannot read this package",
        ),
    ] {
        let before = snapshot(folder.path());
        let refused = threadline(folder.path(), None, &["init", "--yes"]);
        assert_eq!(code(&refused), 2, "{expected}: {}", out(&refused));
        assert!(
            err(&refused).contains(expected),
            "{expected}: {}",
            err(&refused)
        );
        assert_eq!(err(&refused).lines().count(), 1, "{}", err(&refused));
        assert_eq!(snapshot(folder.path()), before, "{expected}");
    }

    let tasks = with((
        "xtask/Cargo.toml",
        "[package]\nname = \"xtask\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n",
    ));
    let manifest = format!("{MANIFEST}\n[workspace]\nmembers = [\"xtask\"]\n");
    fs::write(tasks.path().join("Cargo.toml"), manifest).unwrap();
    fs::write(tasks.path().join("xtask/lib.rs"), "").unwrap();
    let refused = threadline(tasks.path(), None, &["init", "--yes"]);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused)
            .contains("package `xtask`, which does not depend on threadline-xtask: pass --name"),
        "{}",
        err(&refused)
    );
}

#[test]
fn init_on_a_terminal_asks_before_it_writes() {
    let folder = application(&PACKAGE);
    let program = env!("CARGO_BIN_EXE_threadline");
    let answer = |answer: &str| {
        let command = format!("printf '{answer}\\n' | script -qec '{program} init' /dev/null");
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .env_remove("MIGRATION_DIRECTORY")
            .env_remove("DIESEL_CONFIG_FILE")
            .output()
            .unwrap();
        out(&output)
    };
    let declined = answer("n");
    assert!(
        declined.contains("Write these changes? [y/N]"),
        "{declined}"
    );
    assert!(declined.contains("nothing was written"), "{declined}");
    assert!(!folder.path().join("xtask").exists());
    let accepted = answer("y");
    assert!(accepted.contains("next: derive Audited"), "{accepted}");
    assert!(folder.path().join("xtask/src/main.rs").exists());
}
