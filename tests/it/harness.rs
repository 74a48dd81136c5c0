//! A database with an installed trail, and the helpers that the scenarios share.

use std::sync::OnceLock;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::Deserialize;
use serde_json::Value;
use threadline::install::CaptureMigration;
use threadline::table::AuditedTable;
use threadline::{TableName, introspect};
use threadline_testdb::{Cluster, Database, MajorVersion, Progress, ServerBinaries};

/// The server that all tests of the process share. `THREADLINE_TEST_PG` selects another major version
/// than the installed one.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start_cluster)
}

/// The server programs under test.
pub(crate) fn binaries() -> &'static ServerBinaries {
    static BINARIES: OnceLock<ServerBinaries> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let version = std::env::var("THREADLINE_TEST_PG")
            .ok()
            .map(|version| MajorVersion::new(version.parse().expect("a major version")));
        ServerBinaries::obtain(version, Progress::Terminal).expect("a PostgreSQL")
    })
}

/// Starts a separate server.
pub(crate) fn start_cluster() -> Cluster {
    Cluster::builder()
        .binaries(binaries().clone())
        .start()
        .expect("PostgreSQL starts")
}

/// Whether the server supports a feature: the statement must succeed.
pub(crate) fn server_can(select: &str) -> bool {
    empty_trail().database.query_text(select).is_ok()
}

/// The SQL that creates the partitions of the months from an SQL instant on.
pub(crate) fn create_partitions(from: &str, months: u32) -> String {
    format!(
        "SELECT threadline.create_partition(parent, period, 0)
         FROM unnest(ARRAY['audit_changes', 'audit_transactions', 'audit_actions']) AS parent,
            generate_series(date_trunc('month', {from}), {from} + interval '{months} months', '1 month') AS period"
    )
}

/// A database with an empty trail.
pub(crate) fn empty_trail() -> Trail {
    static TEMPLATE: OnceLock<threadline_testdb::Template> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        cluster()
            .template("trail", |url| {
                Cluster::existing(url)?.execute_script(&threadline::install::up_sql())
            })
            .expect("the trail installs")
    });
    Trail {
        database: template.create_database().expect("a database"),
    }
}

/// A database with the tables of `schema`, of which `tables` are captured as introspected.
pub(crate) fn captured(schema: &str, tables: &[&str]) -> Trail {
    let trail = empty_trail();
    trail.run(schema);
    for table in tables {
        trail.capture(&trail.introspect(table));
    }
    trail
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Runs async work on a connection of its own.
pub(crate) fn run_async_at<T>(url: &str, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> T) -> T {
    block_on(async {
        let mut conn = AsyncPgConnection::establish(url)
            .await
            .expect("a connection");
        work(&mut conn).await
    })
}

/// A database with a trail.
pub(crate) struct Trail {
    database: Database,
}

/// A row of `audit_changes`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) op: String,
    #[serde(rename = "table_name")]
    pub(crate) table: String,
    #[serde(rename = "table_pk")]
    pub(crate) key: Option<Value>,
    pub(crate) row_key: Option<String>,
    pub(crate) previous_key: Option<String>,
    #[serde(rename = "data_after")]
    pub(crate) after: Option<Value>,
    #[serde(rename = "changed_from")]
    pub(crate) from: Option<Value>,
    pub(crate) transaction_id: String,
    pub(crate) action_id: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) partition_name: Option<String>,
}

impl Trail {
    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    pub(crate) fn url_as(&self, role: &str) -> String {
        self.database.url_as(role)
    }

    pub(crate) async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.url())
            .await
            .expect("a connection")
    }

    /// Runs async work on a connection of its own.
    pub(crate) fn run_async<T>(&self, work: impl AsyncFnOnce(&mut AsyncPgConnection) -> T) -> T {
        run_async_at(&self.url(), work)
    }

    /// Runs a script as one transaction, unless the script has its own BEGIN and COMMIT.
    pub(crate) fn run(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{error}\nin: {sql}");
        }
    }

    /// Runs a script as another role.
    pub(crate) fn run_as(&self, role: &str, sql: &str) -> Result<(), String> {
        Cluster::existing(&self.url_as(role))
            .and_then(|session| session.execute_script(sql))
            .map_err(|error| error.to_string())
    }

    /// Runs a script that must fail, and returns the error message.
    pub(crate) fn expect_error(&self, sql: &str) -> String {
        match self.database.execute_script(sql) {
            Ok(()) => panic!("this was expected to fail: {sql}"),
            Err(error) => error.to_string(),
        }
    }

    /// The first column of the first row of a query, as text.
    pub(crate) fn query_text(&self, sql: &str) -> String {
        match self.database.query_text(sql) {
            Ok(value) => value.unwrap_or_else(|| "NULL".to_owned()),
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }

    /// The first value of a query, parsed as JSON.
    pub(crate) fn query_json(&self, sql: &str) -> Value {
        serde_json::from_str(&self.query_text(sql)).expect("JSON")
    }

    pub(crate) fn introspect(&self, table: &str) -> AuditedTable {
        let name: TableName = table.parse().expect("a table name");
        block_on(async {
            introspect(&mut self.connect().await, &name)
                .await
                .unwrap_or_else(|error| panic!("{error}"))
        })
    }

    /// Enables capture of a table.
    pub(crate) fn capture(&self, table: &AuditedTable) {
        self.run(CaptureMigration::new([table], |_| None).up());
    }

    /// Tries to enable capture of a table, which must fail, and returns the error message.
    pub(crate) fn expect_capture_error(&self, table: &AuditedTable) -> String {
        self.expect_error(CaptureMigration::new([table], |_| None).up())
    }

    /// All recorded changes in the order of their ids.
    pub(crate) fn changes(&self) -> Vec<Recorded> {
        let all = self.query_json(
            "SELECT COALESCE(jsonb_agg(to_jsonb(c) ORDER BY c.id), '[]') \
             FROM threadline.audit_changes AS c",
        );
        serde_json::from_value(all).expect("changes")
    }

    /// The number of recorded changes.
    pub(crate) fn count(&self) -> usize {
        self.query_text("SELECT count(*) FROM threadline.audit_changes")
            .parse()
            .expect("a count")
    }

    /// All recorded changes as `op table key`.
    pub(crate) fn events(&self) -> Vec<String> {
        self.changes()
            .iter()
            .map(|change| {
                let key = change.row_key.as_deref().unwrap_or("-");
                format!("{} {} {key}", change.op, change.table)
            })
            .collect()
    }

    /// The number of audit transactions.
    pub(crate) fn transactions(&self) -> usize {
        self.query_text("SELECT count(*) FROM threadline.audit_transactions")
            .parse()
            .expect("a count")
    }
}
