//! A database with a trail to export.

use std::io::{self, Write};
use std::sync::OnceLock;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_core::capture::CaptureMigration;
use threadline_diesel::nonblocking::introspect;
use threadline_export::{Export, Manifest};
use threadline_testdb::{Cluster, Database, ServerBinaries, Template, TerminalProgress};

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<(Cluster, Template)> = OnceLock::new();
    let (_, template) = TEMPLATE.get_or_init(|| {
        let binaries = ServerBinaries::obtain(None, &TerminalProgress).expect("a PostgreSQL");
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
    });
    template
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A database with a captured table.
pub(crate) struct Trail {
    database: Database,
}

impl Trail {
    /// A table, captured as introspection finds it.
    pub(crate) fn of(table: &str, columns: &str) -> Self {
        let trail = Self {
            database: template().create_database().expect("a database"),
        };
        trail.run(&format!("CREATE TABLE {table} ({columns})"));
        let name = table.parse().expect("a table name");
        let described = block_on(async { introspect(&mut trail.connect().await, &name).await })
            .expect("a table");
        trail.run(CaptureMigration::new([&described], |_| None).up());
        trail
    }

    /// A table with so many changes.
    pub(crate) fn with_changes(count: u32) -> Self {
        let trail = Self::of("notes", "id int PRIMARY KEY, body text");
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

    pub(crate) fn run(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{error}\nin: {sql}");
        }
    }

    pub(crate) fn ask(&self, sql: &str) -> String {
        self.database
            .query_text(sql)
            .expect("an answer")
            .expect("a value")
    }

    /// What an export writes, and its manifest.
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

/// A writer that does something before its first byte, and may fail after so many.
pub(crate) struct Interfering<F> {
    pub(crate) first: Option<F>,
    pub(crate) room: usize,
    pub(crate) failure: io::ErrorKind,
    pub(crate) written: Vec<u8>,
}

impl<F: FnOnce()> Write for Interfering<F> {
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
