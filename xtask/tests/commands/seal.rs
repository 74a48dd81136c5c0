//! Seals as a whole: from the first checkpoint to a verification without the database, a restore, and sealers that
//! are killed.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use super::*;

/// The PEM of an Ed25519 key.
pub(crate) fn pem(base64: &str) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

fn write_key(path: &Path, base64: &str) {
    fs::write(path, pem(base64)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) const FIRST_KEY: &str =
    "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
const SECOND_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

/// The program `threadline-verify`, beside `threadline`.
fn verifier() -> PathBuf {
    static VERIFIER: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let program =
            Path::new(env!("CARGO_BIN_EXE_threadline")).with_file_name("threadline-verify");
        let target = program.ancestors().nth(2).expect("a target directory");
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "threadline-seal",
                "--bin",
                "threadline-verify",
            ])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert_eq!(code(&built), 0, "{}", err(&built));
        program
    };
    VERIFIER.get_or_init(build).clone()
}

/// A database with a captured table, and a folder with keys.
struct Site {
    database: Database,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let (database, folder) = (installed(ORDERS), tempfile::tempdir().unwrap());
        let print = ["gen-triggers", "--tables", "orders", "--print"];
        let sql = out(&threadline(folder.path(), Some(&database), &print));
        database.execute_script(&sql).unwrap();
        let site = Self { database, folder };
        write_key(&site.path("seal.pem"), FIRST_KEY);
        write_key(&site.path("second.pem"), SECOND_KEY);
        site
    }

    fn begun() -> Self {
        let site = Self::new();
        site.answers("seal begin example.com/trail");
        fs::write(
            site.path("trail.vkey"),
            site.answers("seal key --key-file seal.pem"),
        )
        .unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sql(&self, sql: &str) {
        self.database.execute_script(sql).unwrap();
    }

    fn insert(&self, from: u32, to: u32) {
        self.sql(&format!(
            "INSERT INTO orders SELECT n, 'open', 'card-' || n FROM generate_series({from}, {to}) AS n"
        ));
    }

    fn run(&self, command: &str) -> Output {
        let arguments: Vec<_> = command.split(' ').collect();
        threadline(self.folder.path(), Some(&self.database), &arguments)
    }

    fn answers(&self, command: &str) -> String {
        let output = self.run(command);
        assert_eq!(
            code(&output),
            0,
            "{command}: {}{}",
            out(&output),
            err(&output)
        );
        out(&output)
    }

    fn fails(&self, command: &str, expected_code: i32, expected: &str) {
        let output = self.run(command);
        let text = format!("{}{}", out(&output), err(&output));
        assert_eq!(code(&output), expected_code, "{command}: {text}");
        assert!(text.contains(expected), "{command}: {text}");
    }

    /// Seals until everything is sealed: other transactions of the server delay the last records.
    fn seal(&self, options: &str) {
        loop {
            self.answers(&format!("seal run {options}"));
            let status: serde_json::Value =
                serde_json::from_str(&self.answers("seal status --json")).unwrap();
            if status["sealed_to"] == status["last_id"] {
                return;
            }
        }
    }

    /// The answer of `threadline-verify`, and its exit code.
    fn verify(&self, options: &str) -> (i32, serde_json::Value) {
        let output = Command::new(verifier())
            .args(options.split(' '))
            .arg("--json")
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| err(&output).into());
        (code(&output), answer)
    }
}

const RUN: &str = "--key-file seal.pem --publish published";
const VERIFY: &str = "--vkey trail.vkey --checkpoints published";

#[test]
fn sealed_records_are_verified_by_the_command_and_without_the_database() {
    let site = Site::begun();
    site.fails(
        "seal begin example.com/trail",
        1,
        "has a log of seals already",
    );
    site.fails("seal status", 1, "no checkpoint");
    site.fails(
        "seal export --output early.ndjson",
        3,
        "no checkpoint is signed yet",
    );
    site.insert(1, 500);
    site.seal(&format!("{RUN} --publish-tiles"));
    assert!(site.answers("seal status").contains(", published"));
    let verified: serde_json::Value =
        serde_json::from_str(&site.answers(&format!("seal verify {VERIFY} --json"))).unwrap();
    assert_eq!(
        (&verified["verified"], &verified["origin"]),
        (&true.into(), &"example.com/trail".into())
    );
    site.answers("seal export --output export.ndjson");
    let (code, answer) = site.verify(&format!(
        "{VERIFY} --export export.ndjson --tiles published --state state"
    ));
    assert_eq!(code, 0, "{answer}");
    assert_eq!(
        (&answer["verified"], &answer["size"]),
        (&true.into(), &verified["size"])
    );

    // A forged record has the same answer from both programs.
    site.sql("SET session_replication_role = replica; UPDATE threadline.audit_changes SET actor = 'user:1' WHERE row_key = '7'");
    let output = site.run(&format!("seal verify {VERIFY} --json"));
    assert_eq!(super::code(&output), 1);
    let finding = json(&output);
    site.answers("seal export --output forged.ndjson");
    let (code, answer) = site.verify(&format!("{VERIFY} --export forged.ndjson"));
    assert_eq!((code, &answer), (1, &finding));
    assert_eq!(
        (&answer["verified"], &answer["reason"]),
        (&false.into(), &"content_differs".into())
    );
}

#[test]
fn keys_that_are_wrong_or_readable_by_others_are_refused() {
    let site = Site::begun();
    site.insert(1, 3);
    fs::set_permissions(site.path("seal.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    site.fails(
        &format!("seal run {RUN}"),
        3,
        "seal.pem can be read by other users (mode 644)",
    );
    fs::set_permissions(site.path("seal.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    site.fails(
        "seal run --key-variable NO_SUCH_KEY --publish published",
        3,
        "`NO_SUCH_KEY` has no key",
    );
    site.fails("seal run --key-file trail.vkey --publish published", 3, "");
    site.fails("seal run --publish published", 2, "--key-file");
    site.fails("seal run --key-file seal.pem", 2, "--publish");
    site.fails(
        "seal run --key-file seal.pem --publish-storage s3",
        2,
        "there is no storage `s3`",
    );
    site.seal(RUN);
    site.answers("seal export --output export.ndjson");
    // Another key signs the same origin: the auditor's key finds it.
    site.insert(4, 5);
    site.seal("--key-file second.pem --publish published");
    let (code, answer) = site.verify(VERIFY);
    assert_eq!((code, &answer["reason"]), (1, &"signature_bad".into()));
    // After a rotation the auditor has both keys.
    let keys = fs::read_to_string(site.path("trail.vkey")).unwrap()
        + &site.answers("seal key --key-file second.pem");
    fs::write(site.path("both.vkey"), keys).unwrap();
    site.answers("seal verify --vkey both.vkey --checkpoints published");
}

#[test]
fn a_program_signs_with_a_key_that_the_sealer_does_not_have() {
    let site = Site::begun();
    site.insert(1, 3);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify");
    let program = format!(
        "import sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, {examples:?})\nimport make_vectors\n\
         sys.stdout.buffer.write(make_vectors.sign(bytes([7] * 32), sys.stdin.buffer.read())[1])\n"
    );
    fs::write(site.path("sign.py"), program).unwrap();
    let arguments = |command| {
        [
            "seal",
            "run",
            "--key-command",
            command,
            "--vkey",
            "trail.vkey",
            "--publish",
            "published",
        ]
    };
    let signed = threadline(
        site.folder.path(),
        Some(&site.database),
        &arguments("python3 sign.py"),
    );
    assert_eq!(code(&signed), 0, "{}", err(&signed));
    assert_eq!(site.verify(VERIFY).0, 0);
    site.insert(4, 5);
    // Nothing is signed before the records are settled, and transactions of other tests delay that.
    let failed = (0..200)
        .map(|_| {
            threadline(
                site.folder.path(),
                Some(&site.database),
                &arguments("python3 no-such-file.py"),
            )
        })
        .find(|output| code(output) != 0)
        .expect("a failure");
    assert_eq!(code(&failed), 3);
    assert!(
        err(&failed).contains("`python3` did not sign"),
        "{}",
        err(&failed)
    );
    site.fails(
        "seal run --key-command sign --publish published",
        2,
        "--vkey",
    );
}

#[test]
fn a_record_and_evidence_are_proven_without_the_export() {
    let site = Site::begun();
    site.insert(1, 300);
    site.answers("evidence run coverage policy continuity");
    site.seal(RUN);
    let change = site
        .database
        .query_text("SELECT id::text FROM threadline.audit_changes WHERE row_key = '250'");
    let change = change.unwrap().unwrap();
    let proven = site.answers(&format!(
        "seal prove change:{change} --output change.tlog-proof"
    ));
    assert!(
        proven.starts_with(&format!("change:{change} is leaf ")),
        "{proven}"
    );
    let (code, answer) =
        site.verify("--vkey trail.vkey --proof change.tlog-proof --checkpoints published");
    assert_eq!(code, 0, "{answer}");
    assert_eq!(answer["id"].to_string(), change);
    let proof = fs::read_to_string(site.path("change.tlog-proof")).unwrap();
    fs::write(
        site.path("bad.tlog-proof"),
        proof.replacen("index ", "index 1", 1),
    )
    .unwrap();
    assert_eq!(site.verify("--vkey trail.vkey --proof bad.tlog-proof").0, 1);
    site.fails(
        "seal prove change:999999 --output x.tlog-proof",
        1,
        "change:999999 is not in a checkpoint",
    );
    site.fails(
        "seal prove orders:1 --output x.tlog-proof",
        2,
        "`orders:1` is not a record",
    );

    let document = site.answers("evidence document --from 2026-01-01 --to 2099-01-01");
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let records = document["records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    for record in records {
        fs::write(
            site.path("evidence.tlog-proof"),
            record["seal"]["proof"].as_str().unwrap(),
        )
        .unwrap();
        let (code, answer) = site.verify("--vkey trail.vkey --proof evidence.tlog-proof");
        assert_eq!(code, 0, "{answer}");
        assert_eq!(
            (&answer["leaf"], &answer["id"]),
            (&record["seal"]["leaf"], &record["order_id"])
        );
    }
}

#[test]
fn a_database_restored_from_a_dump_is_refused_and_continues_under_another_origin() {
    let site = Site::begun();
    site.insert(1, 50);
    site.seal(RUN);
    let bin = ServerBinaries::obtain(None, Progress::Terminal).unwrap();
    let server = |program: &str, database: &Database| {
        let mut command = Command::new(bin.bin_dir().join(program));
        command.arg("--dbname").arg(database.url());
        command
    };
    let dump = server("pg_dump", &site.database).output().unwrap();
    assert_eq!(code(&dump), 0, "{}", err(&dump));
    site.insert(51, 60);
    site.seal(RUN);

    let mut restored = Site {
        database: database(),
        folder: site.folder,
    };
    fs::write(restored.path("dump.sql"), &dump.stdout).unwrap();
    let mut psql = server("psql", &restored.database);
    psql.args(["--quiet", "-v", "ON_ERROR_STOP=1", "--file"])
        .arg(restored.path("dump.sql"));
    let loaded = psql.stdout(Stdio::null()).output().unwrap();
    assert_eq!(code(&loaded), 0, "{}", err(&loaded));
    restored.insert(100, 110);
    restored.fails(
        &format!("seal run {RUN}"),
        3,
        "`seal continue` continues the log under another origin",
    );
    restored.fails(
        "seal continue --origin example.com/trail --reason r --publish published",
        2,
        "is the origin of the earlier log",
    );
    let continued = restored
        .answers("seal continue --origin example.com/trail/2 --reason drill --publish published");
    assert!(
        continued.contains("continues as example.com/trail/2"),
        "{continued}"
    );
    restored.fails(
        "seal run --key-file second.pem --publish published",
        3,
        "publish to another place",
    );
    restored.seal("--key-file second.pem --publish second");
    fs::write(
        restored.path("second.vkey"),
        restored.answers("seal key --key-file second.pem"),
    )
    .unwrap();
    restored.answers("seal verify --vkey second.vkey --checkpoints second");
    restored.answers("seal export --output second.ndjson");
    let (code, answer) =
        restored.verify("--vkey second.vkey --checkpoints second --export second.ndjson");
    assert_eq!(code, 0, "{answer}");
    // The earlier checkpoints hold for the common leaves, which the sealed evidence tells.
    let common = "SELECT detail ->> 'size' FROM threadline.audit_evidence WHERE subject = 'seal_verification'";
    let common = restored.database.query_text(common).unwrap().unwrap();
    let (code, answer) =
        restored.verify(&format!("{VERIFY} --export second.ndjson --size {common}"));
    assert_eq!(code, 0, "{answer}");
    restored.fails(
        "seal continue --origin example.com/trail/3 --reason drill --publish second",
        1,
        "there is nothing to continue",
    );
    restored.database = database();
}

#[test]
fn a_sealer_killed_at_any_moment_leaves_no_gap_and_no_double_leaf() {
    let site = Site::begun();
    site.insert(1, 30_000);
    let mut killed = 0;
    for step in 0_u32..60 {
        site.insert(100_000 + step * 100, 100_099 + step * 100);
        let arguments: Vec<_> = RUN.split(' ').collect();
        let arguments = [&["seal", "run", "--publish-tiles"], arguments.as_slice()].concat();
        let mut sealer = command(site.folder.path(), Some(&site.database), &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Moments over the whole run, which takes longer at the beginning.
        std::thread::sleep(Duration::from_millis(u64::from(step * 37 % 400)));
        if sealer.try_wait().unwrap().is_none() {
            killed += 1;
            sealer.kill().unwrap();
        }
        sealer.wait().unwrap();
    }
    assert!(killed > 10, "{killed}");
    site.seal(&format!("{RUN} --publish-tiles"));
    site.answers("seal export --output export.ndjson");
    let (code, answer) = site.verify(&format!(
        "{VERIFY} --export export.ndjson --tiles published"
    ));
    assert_eq!(code, 0, "{answer}");
    let export = fs::read_to_string(site.path("export.ndjson")).unwrap();
    let changes = export
        .lines()
        .filter(|line| line.contains(r#""kind":"change""#))
        .count();
    assert_eq!(changes, 36_000);
    let transactions = export
        .lines()
        .filter(|line| line.contains(r#""kind":"transaction""#))
        .count();
    assert_eq!(transactions, 61);
}

#[test]
fn work_seals_beside_its_jobs() {
    let site = Site::begun();
    fs::create_dir(site.path("files")).unwrap();
    site.insert(1, 20);
    let options = "--storage-dir files --seal-key-file seal.pem";
    site.fails(&format!("work --once {options}"), 2, "--seal-publish");
    site.fails(
        "work --once --storage-dir files --seal-publish published",
        2,
        "--seal-key-file",
    );
    let sealed = site.run(&format!("work --once {options} --seal-publish published"));
    assert_eq!(code(&sealed), 0, "{}", err(&sealed));
    assert!(err(&sealed).contains("sealed "), "{}", err(&sealed));
    site.insert(21, 22);
    let last = "SELECT max(id) FROM threadline.audit_changes";
    let arguments = format!("work {options} --seal-publish-storage local --seal-every 1");
    let arguments: Vec<_> = arguments.split(' ').collect();
    // The first checkpoint is in another place: the storage gets the next ones.
    let mut worker = command(site.folder.path(), Some(&site.database), &arguments)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let is_sealed =
        format!("SELECT (SELECT sealed_to FROM threadline.audit_seal_logs) >= ({last})");
    let published = format!(
        "{is_sealed} AND NOT EXISTS (SELECT FROM threadline.audit_seal_checkpoints WHERE published_at IS NULL)"
    );
    for round in 0..2 {
        site.insert(30 + round, 30 + round);
        while site.database.query_text(&published).unwrap().as_deref() != Some("t") {
            assert!(worker.try_wait().unwrap().is_none(), "the worker ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(site.path("files/checkpoint").exists());
}
