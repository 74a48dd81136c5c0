//! Follows the guide "Getting started" in a new application: its commands run, its Rust blocks become files of
//! the application, and the application serves a request. The first line of a block names its file.
//!
//! The packages of the workspace take the place of those of crates.io; with `THREADLINE_PACKAGES`, those in
//! that directory, each in `<name>-<version>`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use threadline_testdb::{Cluster, Database};

use crate::guides::{Part, command_line, parts, root, shown, target_dir};
use crate::harness::start_cluster;

const GUIDE: &str = include_str!("../../guides/getting-started.md");

/// The application of the guide while its commands run.
struct Application {
    folder: PathBuf,
    database: Database,
    // Stops after the database was used last.
    _cluster: Cluster,
    applied: BTreeSet<String>,
    port: u16,
    server: Option<Child>,
}

impl Application {
    fn new() -> Self {
        // The same path in every run, so that cargo replaces what an earlier run built; not in the target
        // directory, which is below the manifest of another workspace.
        let mut hasher = DefaultHasher::new();
        target_dir().hash(&mut hasher);
        let name = format!("threadline_getting_started_{:x}", hasher.finish());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        copy(
            &root().join("tests/it/getting_started/application"),
            &folder,
        );
        fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
        let manifest = folder.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        fs::write(manifest, format!("{text}\n{}", patch())).expect("a manifest");
        let cluster = start_cluster();
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut application = Self {
            database: cluster.create_database().expect("a database"),
            _cluster: cluster,
            folder,
            applied: BTreeSet::new(),
            port: free.local_addr().expect("an address").port(),
            server: None,
        };
        application.migrate();
        application
    }

    fn run_guide(&mut self) {
        let mut prints = None;
        for part in parts(GUIDE) {
            match part {
                Part::Comment(word, text) if word == "prints" => prints = Some(text),
                Part::Comment(word, _) => panic!("getting-started.md has no comments `{word}`"),
                Part::Block(language, text, line) => {
                    let prints = prints.take();
                    match language.as_str() {
                        "sh" => self.run_commands(&text, prints.as_deref(), line),
                        "rust" | "toml" => self.apply_file(&text, line),
                        "text" => {}
                        other => panic!("line {line}: unknown block language `{other}`"),
                    }
                }
            }
        }
    }

    /// Writes a block to its file. What `init` writes must have the lines of the block.
    fn apply_file(&self, block: &str, line: usize) {
        let (first, text) = block.split_once('\n').expect("a block has lines");
        let name = first.trim_start_matches(['/', '#', ' ']);
        let path = self.folder.join(name);
        if name.starts_with("src/") {
            fs::write(path, text).expect("a source file");
            return;
        }
        let written =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("line {line}: {name}: {error}"));
        for expected in text.lines() {
            assert!(
                written.lines().any(|line| line == expected),
                "line {line}: init writes {name} without `{expected}`:\n{written}"
            );
        }
    }

    fn run_commands(&mut self, block: &str, prints: Option<&str>, line: usize) {
        for command in block.lines().map(str::trim) {
            if command.starts_with("cargo install") {
                continue;
            }
            if command == "diesel migration run" {
                self.migrate();
                continue;
            }
            if command == "cargo run &" {
                self.start();
                continue;
            }
            let output = if command == "threadline init" {
                // Answers the question as a person on a terminal would.
                let program = command_line().join("threadline");
                self.shell(&format!(
                    "echo y | script -qec '{} init' /dev/null",
                    program.display()
                ))
            } else {
                let address = format!("localhost:{}", self.port);
                self.shell(&command.replace("localhost:3000", &address))
            };
            let shown = shown(&output);
            assert!(
                output.status.success(),
                "getting-started.md:{line}: {command}\n{shown}"
            );
            if let Some(prints) = prints {
                assert!(
                    shown.contains(prints),
                    "getting-started.md:{line}: {command}\n{shown}"
                );
            }
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("CARGO_INCREMENTAL", "0")
            // The profile of the workspace, so that dependencies are not compiled again.
            .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
            .env("CARGO_TARGET_DIR", target_dir())
            .env("DATABASE_URL", self.database.url())
            .env("PORT", self.port.to_string());
        command
    }

    fn shell(&self, line: &str) -> Output {
        let ask = |sql| self.database.query_text(sql).expect("a query");
        let transaction = ask("SELECT to_regclass('threadline.audit_transactions')::text")
            .and_then(|_| {
                ask("SELECT id FROM threadline.audit_transactions ORDER BY id DESC LIMIT 1")
            });
        self.command("sh")
            .args(["-c", line])
            .env("TRANSACTION", transaction.unwrap_or_default())
            .output()
            .expect("a shell")
    }

    /// Builds and starts the application, and waits until it accepts connections.
    fn start(&mut self) {
        let built = self
            .command("cargo")
            .args(["build", "--quiet"])
            .output()
            .expect("cargo");
        assert!(built.status.success(), "{}", shown(&built));
        let mut server = self
            .command("cargo")
            .args(["run", "--quiet"])
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("cargo");
        let start = Instant::now();
        // Another build of the same target directory may keep cargo waiting.
        while TcpStream::connect(("127.0.0.1", self.port)).is_err()
            && server.try_wait().expect("a process").is_none()
            && start.elapsed() < Duration::from_secs(300)
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
    }

    /// Does what `diesel migration run` does.
    fn migrate(&mut self) {
        let folder = self.folder.join("migrations");
        let mut names: Vec<_> = fs::read_dir(&folder)
            .expect("migrations")
            .map(|entry| entry.expect("a migration").file_name())
            .map(|name| name.into_string().expect("UTF-8"))
            .collect();
        names.sort_by_key(|name| name.replace('-', ""));
        for name in names {
            if self.applied.insert(name.clone()) {
                let up = fs::read_to_string(folder.join(name).join("up.sql")).expect("up.sql");
                self.database.execute_script(&up).expect("a migration");
            }
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // The application is a child of cargo.
            let group = format!("-{}", server.id());
            let _ = Command::new("kill").args(["--", &group]).status();
            let _ = server.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}

/// The section of a manifest that replaces the published packages of crates.io.
fn patch() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = std::env::var_os("THREADLINE_PACKAGES").map(PathBuf::from);
    let mut patch = String::from("[patch.crates-io]\n");
    for package in metadata["packages"].as_array().expect("packages") {
        let text = |field: &str| package[field].as_str().expect("a text");
        if !package["publish"].is_null() {
            continue;
        }
        let folder = match &packages {
            Some(folder) => folder.join(format!("{}-{}", text("name"), text("version"))),
            None => Path::new(text("manifest_path"))
                .parent()
                .expect("a folder")
                .to_owned(),
        };
        let _ = writeln!(
            patch,
            "{} = {{ path = {:?} }}",
            text("name"),
            folder.display().to_string()
        );
    }
    patch
}

#[test]
fn getting_started_adds_threadline_to_a_new_application() {
    Application::new().run_guide();
}
