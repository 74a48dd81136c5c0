//! Connection pools and PgBouncer in transaction mode: the context does not leak into the next use of
//! a connection.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use diesel::connection::{CacheSize, Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline::doctor::Doctor;
use threadline::prelude::*;
use threadline::{audited, blocking};

use crate::harness::{Trail, block_on, captured};

diesel::table! {
    t (id) {
        id -> Integer,
    }
}

fn table() -> Trail {
    captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"])
}

fn by(id: &str) -> AuditedWrite {
    AuditedWrite::new(AuditContext::new(ActorRef::user(id).unwrap()))
        .action(Action::new("insert").unwrap())
}

async fn insert(conn: &mut AsyncPgConnection, id: i32) -> Result<(), AuditError> {
    diesel::insert_into(t::table)
        .values(diesel::ExpressionMethods::eq(t::id, id))
        .execute(conn)
        .await?;
    Ok(())
}

/// The recorded actor of each row.
fn authors(trail: &Trail) -> String {
    trail.query_text(
        "SELECT string_agg((data_after ->> 'id') || ':' || COALESCE(actor, '-'), ' ' ORDER BY id) \
         FROM threadline.audit_timeline",
    )
}

#[test]
fn a_cancelled_write_leaves_no_context_on_a_pooled_connection() {
    let trail = table();
    block_on(async {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(trail.url());
        let pool = deadpool::Pool::builder(manager)
            .max_size(1)
            .build()
            .unwrap();
        {
            let mut conn = pool.get().await.unwrap();
            let write = by("cancelled");
            let work = audited(&mut conn, &write, async |conn| {
                insert(conn, 1).await?;
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<_, AuditError>(())
            });
            let timed_out = tokio::time::timeout(Duration::from_millis(300), work).await;
            assert!(timed_out.is_err());
        }
        let mut conn = pool.get().await.unwrap();
        insert(&mut conn, 2).await.unwrap();
        audited(&mut conn, &by("next"), async |conn| insert(conn, 3).await)
            .await
            .unwrap();
    });
    assert_eq!(authors(&trail), "2:- 3:user:next");
}

#[test]
fn a_panicking_closure_leaves_no_context_on_a_pooled_connection() {
    let trail = table();
    block_on(async {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(trail.url());
        let pool = bb8::Pool::builder()
            .max_size(1)
            .build(manager)
            .await
            .unwrap();
        let panicking = pool.clone();
        let panicked = tokio::spawn(async move {
            let mut conn = panicking.get().await.unwrap();
            audited(&mut conn, &by("panicked"), async |conn| {
                insert(conn, 1).await?;
                panic!("the host's closure panics");
                #[expect(unreachable_code, reason = "gives the closure its type")]
                Ok::<(), AuditError>(())
            })
            .await
        })
        .await;
        assert!(panicked.is_err());
        let mut conn = pool.get().await.unwrap();
        insert(&mut conn, 2).await.unwrap();
    });
    assert_eq!(authors(&trail), "2:-");
}

/// PgBouncer in transaction mode with a single server connection.
pub(crate) struct PgBouncer {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PORT: u16 = 6432;

impl PgBouncer {
    /// Starts PgBouncer in front of the shared cluster, or returns `None` if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
        ]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())?;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let at = folder.path().display();
        let settings = folder.path().join("pgbouncer.ini");
        let cluster = crate::harness::cluster();
        fs::write(
            &settings,
            format!(
                "[databases]\n* = host={} port={} user=postgres pool_size=1\n\
                 [pgbouncer]\nlisten_addr=\nlisten_port={PORT}\nunix_socket_dir={at}\n\
                 auth_type=any\npool_mode=transaction\nlogfile={at}/log\npidfile={at}/pid\n",
                cluster.socket_dir().unwrap().display(),
                cluster.port(),
            ),
        )
        .unwrap();
        let mut command = Command::new(program);
        command
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if is_root() {
            command.uid(65534).gid(65534);
        }
        let bouncer = Self {
            process: command.spawn().unwrap(),
            folder,
        };
        let socket = bouncer.folder.path().join(format!(".s.PGSQL.{PORT}"));
        for _ in 0..200 {
            if socket.exists() {
                return Some(bouncer);
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!(
            "PgBouncer does not start: {}",
            fs::read_to_string(bouncer.folder.path().join("log")).unwrap_or_default()
        );
    }

    pub(crate) fn url(&self, database: &str) -> String {
        // A folder as the host selects its Unix socket.
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{PORT}/{database}")
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(Path::new("/proc/self")).is_ok_and(|process| process.uid() == 0)
}

#[test]
fn clients_that_share_a_server_connection_through_pgbouncer_do_not_share_a_context() {
    let trail = table();
    let Some(bouncer) = PgBouncer::start() else {
        eprintln!("skipped: PgBouncer is not installed");
        return;
    };
    let url = bouncer.url(&trail.query_text("SELECT current_database()"));
    // Named prepared statements need PgBouncer 1.21. Without a cache Diesel uses none.
    let connect = || {
        let mut conn = PgConnection::establish(&url).unwrap();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn
    };
    let insert = |conn: &mut PgConnection, id: i32| {
        conn.batch_execute(&format!("INSERT INTO t VALUES ({id})"))
            .map_err(AuditError::from)
    };
    let (mut ada, mut eve) = (connect(), connect());
    for round in 0..5 {
        blocking::audited(&mut ada, &by("ada"), |conn| insert(conn, round * 10)).unwrap();
        insert(&mut eve, round * 10 + 1).unwrap();
        let failed = blocking::audited(&mut ada, &by("ada"), |conn| {
            insert(conn, round * 10 + 2)?;
            Err::<(), _>(AuditError::NothingCaptured)
        });
        assert!(failed.is_err());
        blocking::audited(&mut eve, &by("eve"), |conn| insert(conn, round * 10 + 3)).unwrap();
    }
    let expected: Vec<_> = (0..5)
        .flat_map(|round| {
            [
                format!("{}:user:ada", round * 10),
                format!("{}:-", round * 10 + 1),
                format!("{}:user:eve", round * 10 + 3),
            ]
        })
        .collect();
    assert_eq!(authors(&trail), expected.join(" "));
    // All transactions used one server connection.
    assert_eq!(
        trail.query_text("SELECT count(DISTINCT backend_pid) FROM threadline.audit_transactions"),
        "1"
    );
}

#[test]
fn the_doctor_detects_a_pooler_in_transaction_mode() {
    let trail = table();
    let Some(bouncer) = PgBouncer::start() else {
        eprintln!("skipped: PgBouncer is not installed");
        return;
    };
    let connect = async |url: &str| {
        let mut conn = AsyncPgConnection::establish(url).await.unwrap();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        conn
    };
    let pid = async |conn: &mut AsyncPgConnection| {
        let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()");
        diesel::select(pid).get_result::<i32>(conn).await.unwrap()
    };
    let mode = |url: &str| {
        block_on(async {
            let (mut one, mut two) = (connect(url).await, connect(url).await);
            let query = Doctor::new()
                .answered_by(pid(&mut one).await)
                .other_answered_by(pid(&mut two).await);
            let report = threadline::doctor(&mut one, &query).await;
            report.check("pooler").unwrap().details[0]["mode"].clone()
        })
    };
    let database = trail.query_text("SELECT current_database()");
    assert_eq!(mode(&bouncer.url(&database)), "transaction");
    assert_eq!(mode(&trail.url()), "none_seen");
}
