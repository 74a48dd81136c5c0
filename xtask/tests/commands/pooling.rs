//! PgBouncer in transaction mode without support for prepared statements.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use tokio_postgres::NoTls;

use super::delivery::Request;
use super::*;

const PORT: u16 = 6433;

/// PgBouncer with two server connections for each database.
struct PgBouncer {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl PgBouncer {
    fn start() -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer"]
            .into_iter()
            .find(|path| Path::new(path).is_file())?;
        let version = out(&Command::new(program).arg("--version").output().unwrap());
        let version = version.lines().next().unwrap_or_default().to_owned();
        let minor = version.split('.').nth(1).and_then(|n| n.parse().ok());
        // Older versions do not know the setting.
        let no_statements = if minor.is_some_and(|minor: u32| minor >= 21) {
            "max_prepared_statements=0\n"
        } else {
            ""
        };
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let at = folder.path().display();
        let settings = format!(
            "[databases]\n* = host={} port={} user=postgres\n\
             [pgbouncer]\nlisten_addr=\nlisten_port={PORT}\nunix_socket_dir={at}\nauth_type=any\n\
             pool_mode=transaction\ndefault_pool_size=2\nserver_round_robin=1\nlogfile={at}/log\n\
             pidfile={at}/pid\n{no_statements}",
            cluster().socket_dir().unwrap().display(),
            cluster().port(),
        );
        let path = folder.path().join("pgbouncer.ini");
        fs::write(&path, settings).unwrap();
        let mut command = Command::new(program);
        command
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            command.uid(65534).gid(65534);
        }
        let process = command.spawn().unwrap();
        let socket = folder.path().join(format!(".s.PGSQL.{PORT}"));
        let bouncer = Self { process, folder };
        for _ in 0..200 {
            if socket.exists() {
                return Some(bouncer);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("PgBouncer does not start");
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{PORT}/{database}")
    }

    /// Leaves only these statements on both server connections, with the names of tokio-postgres.
    fn leave_statements(&self, database: &str, count: u32) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let url = self.url(database);
            let (one, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let (two, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            for client in [&one, &two] {
                client.batch_execute("BEGIN").await.unwrap();
            }
            for client in [&one, &two] {
                let prepare = (0..count).map(|n| format!("PREPARE s{n} AS SELECT 1; "));
                let prepare = prepare.collect::<String>();
                client
                    .batch_execute(&format!("DEALLOCATE ALL; {prepare} COMMIT"))
                    .await
                    .unwrap();
            }
        });
    }
}

#[test]
fn every_command_works_behind_pgbouncer_without_prepared_statements() {
    let Some(bouncer) = PgBouncer::start() else {
        eprintln!("skipped: PgBouncer is not installed");
        return;
    };
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let print = ["gen-triggers", "--tables", "orders", "--print"];
    let sql = out(&threadline(folder.path(), Some(&database), &print));
    database
        .execute_script(&format!(
            "INSERT INTO orders VALUES (1, 'old', 'c'); {sql} INSERT INTO orders VALUES (2, 'new', 'c')"
        ))
        .unwrap();
    let ask = |sql: &str| database.query_text(sql).unwrap().unwrap();
    let transaction = ask("SELECT transaction_id::text FROM threadline.audit_changes");
    let change = ask("SELECT id::text FROM threadline.audit_changes");
    let url = bouncer.url(database.name());
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver_address = receiver.local_addr().unwrap();
    std::thread::spawn(move || {
        loop {
            Request::accept(&receiver).respond(200);
        }
    });
    let commands = [
        "timeline --table orders --key 2",
        "timeline --correlation c-1 --json",
        "history orders 2 --field status --became new",
        "as-of orders 2 2099-01-01T00:00:00Z",
        &format!("incident {transaction} --json"),
        &format!("diff {change}"),
        "actor user:42",
        "actions --name none",
        "correlation c-1",
        "continuity --table orders",
        "gen-triggers --tables orders",
        "redeploy-triggers orders",
        "export --table orders",
        "export --dry-run",
        "feed create consumer",
        "feed list",
        "feed lag consumer",
        "feed read consumer --acknowledge",
        "feed drop consumer --execute",
        &format!(
            "feed deliver siem --create --once --allow-private-addresses --to http://{receiver_address}/"
        ),
        "coverage",
        "policy",
        "verify",
        "doctor",
        "baseline --table orders",
        "baseline --table orders --execute --actor admin:rita",
        "retention plan --keep-days 30",
        "retention purge --keep-days 30 --execute --pause-ms 0",
        "retention runs",
        "evidence run coverage policy continuity",
        "evidence run roles --application-role pg_monitor",
        "evidence show",
        "evidence history --limit 2",
        "evidence document --from 2026-01-01 --to 2099-01-01",
        "views save all-orders --owner user:42 --table orders",
        "views list --owner user:42",
        "views run all-orders --owner user:42",
        "export --table orders --background",
        "schedule add daily @daily --table orders",
        "schedule list",
        "schedule run-now daily",
        "work --once --storage-dir .",
        "jobs list",
        "erase status",
        "seal begin example.com/trail",
        "seal run --key-variable THREADLINE_SEAL_KEY --publish published",
        "seal key --key-variable THREADLINE_SEAL_KEY",
        "seal status",
        &format!("seal prove change:{change} --output proof"),
        "seal export --output export.ndjson",
    ];
    for command in commands {
        // These commands have transactions that the library begins.
        let own = [
            "export",
            "feed deliver",
            "retention purge",
            "baseline --table orders --execute",
            "schedule",
            "work",
            "seal begin",
            "seal run",
            "seal prove",
            "seal export",
        ];
        let is_own = own.iter().any(|name| command.starts_with(name));
        bouncer.leave_statements(database.name(), if is_own { 0 } else { 30 });
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("migrations")).unwrap();
        let mut arguments: Vec<_> = command.split(' ').collect();
        arguments.extend(["--database-url", &url]);
        // Another client takes the other server connection in turn.
        let output = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let folder = tempfile::tempdir().unwrap();
                threadline(folder.path(), None, &["timeline", "--database-url", &url])
            });
            let output = threadline(folder.path(), None, &arguments);
            assert_eq!(code(&other.join().unwrap()), 0);
            output
        });
        let failed = format!("{command}: {}{}", out(&output), err(&output));
        // The continuity of `orders` is broken before its baseline.
        assert!(code(&output) <= 1, "{failed}");
        assert!(!failed.contains("prepared statement"), "{failed}");
    }
}
