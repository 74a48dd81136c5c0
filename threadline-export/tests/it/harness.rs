//! Databases with a trail to export.

use std::io::{self, Write};
use std::sync::OnceLock;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use threadline_core::capture::CaptureMigration;
use threadline_core::table::AuditedTable;
use threadline_diesel::introspect;
use threadline_export::connections::{Connection, ConnectionPool, PoolError};
use threadline_export::{Export, Manifest};
use threadline_testdb::{Cluster, Database, Progress, ServerBinaries, Template};

fn server() -> &'static (Cluster, Template) {
    static SERVER: OnceLock<(Cluster, Template)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
        let cluster = Cluster::builder()
            .binaries(binaries)
            .start()
            .expect("PostgreSQL starts");
        let template = cluster
            .template("trail", |url| {
                Cluster::existing(url)?.execute_script(&threadline_core::install::up_sql())
            })
            .expect("the trail installs");
        (cluster, template)
    })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

const MANY_CHANGES: &str = "
    SELECT threadline.create_partition(parent, '2020-01-01 00:00+00', 0)
    FROM unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) AS parent;
    CREATE TEMP TABLE work AS
    SELECT n, at, encode(timestamptz_send(at) || int8send(n), 'hex')::uuid AS id,
        CASE WHEN n % 2 = 0 THEN 'bulk' WHEN n = 77 THEN 'rare' ELSE 'other-' || n END AS correlation_id
    FROM generate_series(1, 600) AS n
    CROSS JOIN LATERAL (SELECT '2020-01-15 00:00+00'::timestamptz + n * interval '1 s' AS at) AS start;
    INSERT INTO threadline.audit_transactions
        (id, occurred_at, xid, backend_pid, actor, correlation_id, db_user)
    SELECT id, at, n::text::xid8, 1, 'user:' || correlation_id, correlation_id, 'app'
    FROM work;
    INSERT INTO threadline.audit_changes
        (id, captured_at, transaction_id, actor, op, table_schema, table_name, row_key, table_pk, data_after)
    SELECT nextval('threadline.audit_changes_id_seq'), at + k * interval '1 ms', id,
        'user:' || correlation_id, 'insert', 'public',
        CASE WHEN k % 2 = 0 THEN 'notes' ELSE 'letters' END, k::text,
        jsonb_build_object('id', k::text), jsonb_build_object('id', k, 'body', repeat('text ', 20))
    FROM work CROSS JOIN generate_series(1, 100) AS k;
    ANALYZE threadline.audit_changes, threadline.audit_transactions";

/// The log of the server.
pub(crate) fn server_log() -> String {
    let (cluster, _) = server();
    cluster.log().expect("a log")
}

/// A database with a captured table.
pub(crate) struct Trail {
    database: Database,
}

impl Trail {
    /// Creates a database with one table, captured as introspection describes it.
    pub(crate) fn with_table(table: &str, columns: &str) -> Self {
        let trail = Self {
            database: server().1.create_database().expect("a database"),
        };
        trail.run(&format!("CREATE TABLE {table} ({columns})"));
        trail.capture(table);
        trail
    }

    /// A copy of the database, as restored from a backup. There must be no connections.
    pub(crate) fn copy(&self) -> Self {
        let copy = server().0.create_database_from(self.database.name());
        Self {
            database: copy.expect("a database"),
        }
    }

    /// Enables capture of a table as introspection describes it.
    pub(crate) fn capture(&self, table: &str) {
        self.capture_as(table, |table| table);
    }

    /// Enables capture of a table as introspection describes it, with further rules.
    pub(crate) fn capture_as(&self, table: &str, rules: impl FnOnce(AuditedTable) -> AuditedTable) {
        let name = table.parse().expect("a table name");
        let table = block_on(async { introspect(&mut self.connect().await, &name).await })
            .expect("a table");
        self.run(CaptureMigration::new([&rules(table)], |_| None).up());
    }

    /// Creates a trail of 60,000 changes of two tables. One correlation and its actor have half of the
    /// changes, another one has 100. The changes are inserted, not captured.
    pub(crate) fn with_60_000_changes() -> Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let template = server().0.template("many_changes", |url| {
                let session = Cluster::existing(url)?;
                session.execute_script(&threadline_core::install::up_sql())?;
                session.execute_script(MANY_CHANGES)
            });
            template.expect("many changes")
        });
        Self {
            database: template.create_database().expect("a database"),
        }
    }

    /// Creates a database with a table that has this number of changes.
    pub(crate) fn with_changes(count: u32) -> Self {
        let trail = Self::with_table("notes", "id int PRIMARY KEY, body text");
        trail.run(&format!(
            "INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, {count}) AS n"
        ));
        trail
    }

    pub(crate) async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.database.url())
            .await
            .expect("a connection")
    }

    /// A pool that connects anew each time.
    pub(crate) fn pool(&self) -> Connector {
        Connector(self.database.url())
    }

    pub(crate) fn run(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{error}\nin: {sql}");
        }
    }

    /// A connection as another role.
    pub(crate) async fn connect_as(&self, role: &str) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.database.url_as(role))
            .await
            .expect("a connection")
    }

    /// Runs a script that may fail.
    pub(crate) fn try_run(&self, sql: &str) -> Result<(), String> {
        let outcome = self.database.execute_script(sql);
        outcome.map_err(|error| error.to_string())
    }

    pub(crate) fn query(&self, sql: &str) -> String {
        self.database
            .query_text(sql)
            .expect("an answer")
            .expect("a value")
    }

    /// The output of an export, and its manifest.
    pub(crate) fn export(&self, export: &Export) -> (String, Manifest) {
        let mut bytes = Vec::new();
        let manifest = block_on(async {
            export
                .write_to(&mut self.connect().await, &mut bytes, |_| {})
                .await
        });
        (
            String::from_utf8(bytes).expect("UTF-8"),
            manifest.expect("an export"),
        )
    }
}

/// A pool that connects anew each time.
pub(crate) struct Connector(String);

impl ConnectionPool for Connector {
    fn connection(&self) -> BoxFuture<'_, Result<Connection, PoolError>> {
        async {
            let conn = AsyncPgConnection::establish(&self.0).await?;
            Ok(Box::new(Box::new(conn)) as Connection)
        }
        .boxed()
    }
}

/// A writer that runs a closure before the first write and fails when `room` bytes are exceeded.
pub(crate) struct HookedWriter<F> {
    pub(crate) first: Option<F>,
    pub(crate) room: usize,
    pub(crate) failure: io::ErrorKind,
    pub(crate) written: Vec<u8>,
}

impl<F: FnOnce()> Write for HookedWriter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(first) = self.first.take() {
            first();
        }
        if self.written.len() + bytes.len() > self.room {
            return Err(self.failure.into());
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
