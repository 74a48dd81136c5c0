//! The application on its own database, with helpers for requests and for queries of the trail.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use http_body_util::BodyExt;
use saas::app::App;
use saas::database;
use saas::session::Sessions;
use serde_json::{Value, json};
use threadline::export::storage::object_store::memory::InMemory;
use threadline::export::storage::{Storage, Storages};
use threadline::schema::audit_actions;
use threadline::{AuditAction, Timeline, TimelineEntry};
use threadline_testdb::{Cluster, Database, Error, Progress, ServerBinaries};
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tower::ServiceExt;

/// The timeout for a background job.
const JOB_LIMIT: Duration = Duration::from_secs(10);

/// The session token of Rita, a staff user.
pub(crate) const RITA: &str = "the-token-of-rita";

/// The server of all tests of this process.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        start().unwrap_or_else(|error| panic!("no PostgreSQL for the tests: {error}"))
    })
}

fn start() -> Result<Cluster, Error> {
    match Cluster::from_env_or_start() {
        Err(Error::Binaries(_)) => {
            let binaries = ServerBinaries::obtain(None, Progress::Terminal)?;
            Cluster::builder().binaries(binaries).start()
        }
        started_or_failed => started_or_failed,
    }
}

/// Creates an empty database with the application's migrations.
fn migrated_database() -> Result<Database, Error> {
    let template = cluster().template("saas", |url| {
        let pool = database::pool(url)?;
        Runtime::new()?.block_on(database::migrate(&pool))
    })?;
    template.create_database()
}

/// A storage that ends with the process.
fn memory() -> Storages {
    Storages::new().with("memory", Storage::new(Arc::new(InMemory::new())))
}

/// A request to the application.
#[derive(Debug)]
pub(crate) struct TestRequest {
    request: axum::http::request::Builder,
}

impl TestRequest {
    pub(crate) fn get(path: impl AsRef<str>) -> Self {
        Self::new("GET", path.as_ref())
    }

    pub(crate) fn post(path: impl AsRef<str>) -> Self {
        Self::new("POST", path.as_ref())
    }

    pub(crate) fn patch(path: impl AsRef<str>) -> Self {
        Self::new("PATCH", path.as_ref())
    }

    fn new(method: &str, path: &str) -> Self {
        let request = Request::builder().method(method).uri(path);
        Self {
            request: request.header("content-type", "application/json"),
        }
    }

    /// Adds the token of a session.
    pub(crate) fn by(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn with(mut self, header: &str, value: &str) -> Self {
        self.request = self.request.header(header, value);
        self
    }
}

/// The application with one organization, whose first member is Alice.
#[derive(Debug)]
pub(crate) struct Saas {
    router: Router,
    pub(crate) sessions: Sessions,
    /// The session token of Alice.
    pub(crate) alice: String,
    /// The database, which is dropped after the application.
    pub(crate) database: Database,
}

impl Saas {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let database = tokio::task::spawn_blocking(migrated_database).await??;
        let app = App::new(database::pool(database.url())?, memory())?;
        app.sessions().open_for_admin(RITA.to_owned(), "rita")?;
        let mut saas = Self {
            router: app.router(),
            sessions: app.sessions().clone(),
            alice: String::new(),
            database,
        };
        saas.sign_up("Acme", "alice").await?;
        saas.alice = saas.log_in("alice").await?;
        Ok(saas)
    }

    /// Sends a request and returns the body of the response, which must have this status.
    pub(crate) async fn send(
        &self,
        request: TestRequest,
        body: Value,
        status: StatusCode,
    ) -> anyhow::Result<Value> {
        let request = request.request.body(Body::from(body.to_string()))?;
        let response = self.respond(request).await?;
        let answered = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        ensure!(answered == status, "answered {answered}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    pub(crate) async fn respond(&self, request: Request<Body>) -> anyhow::Result<Response<Body>> {
        Ok(self.router.clone().oneshot(request).await?)
    }

    pub(crate) async fn sign_up(&self, organization: &str, handle: &str) -> anyhow::Result<()> {
        let body = json!({ "organization": organization, "member": member(handle) });
        self.send(
            TestRequest::post("/organizations"),
            body,
            StatusCode::CREATED,
        )
        .await?;
        Ok(())
    }

    /// Signs a member in and returns the session's token.
    pub(crate) async fn log_in(&self, handle: &str) -> anyhow::Result<String> {
        let body = json!({ "handle": handle, "password": password_of(handle) });
        let answer = self
            .send(TestRequest::post("/login"), body, StatusCode::OK)
            .await?;
        let token = answer["token"].as_str().context("no token")?;
        Ok(token.to_owned())
    }

    /// Issues an invoice as Alice.
    pub(crate) async fn invoice(&self) -> anyhow::Result<i64> {
        let body = json!({
            "customer": "Initech",
            "due_on": "2026-12-31",
            "lines": [
                { "description": "consulting", "amount_cents": 100_000 },
                { "description": "travel", "amount_cents": 20_000 },
            ],
        });
        let request = TestRequest::post("/invoices").by(&self.alice);
        let invoice = self.send(request, body, StatusCode::CREATED).await?;
        invoice["id"].as_i64().context("no id")
    }

    /// A connection that sets no audit context.
    pub(crate) async fn conn(&self) -> anyhow::Result<AsyncPgConnection> {
        Ok(AsyncPgConnection::establish(&self.database.url()).await?)
    }

    /// Reads the first page of a timeline, oldest change first.
    pub(crate) async fn changes(&self, query: Timeline) -> anyhow::Result<Vec<TimelineEntry>> {
        let page = threadline::timeline(&mut self.conn().await?, &query).await?;
        Ok(page.entries.into_iter().rev().collect())
    }

    /// Waits for changes with an action and returns them.
    pub(crate) async fn changes_of_job(&self, name: &str) -> anyhow::Result<Vec<TimelineEntry>> {
        let end = Instant::now() + JOB_LIMIT;
        loop {
            let changes = self.changes(Timeline::new().action(name)).await?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            ensure!(Instant::now() < end, "the job did not run");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads the actions of a name, oldest first.
    pub(crate) async fn actions(&self, name: &str) -> anyhow::Result<Vec<AuditAction>> {
        let actions = audit_actions::table
            .filter(audit_actions::name.eq(name.to_owned()))
            .order(audit_actions::id)
            .select(AuditAction::as_select())
            .load(&mut self.conn().await?)
            .await?;
        Ok(actions)
    }
}

pub(crate) fn member(handle: &str) -> Value {
    json!({
        "handle": handle,
        "name": handle.to_uppercase(),
        "email": format!("{handle}@acme.example"),
        "password": password_of(handle),
    })
}

pub(crate) fn password_of(handle: &str) -> String {
    format!("{handle}'s secret")
}

/// The actor of each change, or `unattributed`.
pub(crate) fn actors(changes: &[TimelineEntry]) -> Vec<String> {
    let actor = |entry: &TimelineEntry| entry.actor().map(ToString::to_string);
    changes
        .iter()
        .map(|entry| actor(entry).unwrap_or_else(|| "unattributed".to_owned()))
        .collect()
}

/// The table of each change.
pub(crate) fn tables(changes: &[TimelineEntry]) -> Vec<&str> {
    let tables = changes.iter().map(|entry| &entry.change.table_name);
    tables.map(String::as_str).collect()
}
