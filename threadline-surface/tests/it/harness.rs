//! A console over a throwaway PostgreSQL, with captured tables of hostile names and values.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use scraper::{Html, Selector};
use threadline_core::actor::ActorRef;
use threadline_core::capture::CaptureMigration;
use threadline_core::table::AuditedTableBuilder;
use threadline_diesel::evidence::{CheckOptions, EvidencePlan};
use threadline_diesel::query::MetaPattern;
use threadline_diesel::{Scope, introspect};
use threadline_export::Worker;
use threadline_export::connections::PoolError;
use threadline_export::jobs::{CheckHandler, ScopeResolver};
use threadline_export::storage::object_store::memory::InMemory;
use threadline_export::storage::{Storage, Storages};
use threadline_surface::{
    Authorized, Capability, Console, ConsoleBuilder, Decision, Denial, Grant, Limits, Visit,
};
use threadline_testdb::{Cluster, ClusterBuilder, Database, Progress, ServerBinaries, Template};
use tower::ServiceExt;

/// The lane of a request, sent as a header that the `authorize` of the tests reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Everything.
    Admin,
    /// The tenant 7, read-only.
    Support,
    /// The tenant 7, with downloads, background exports, reports and the log.
    Auditor,
    /// The tenant 7, with background exports and without a key of the scope.
    NoKey,
    /// Everything but values.
    NoValues,
    /// Everything but the log of the console.
    NoLog,
    /// One table, without a rule for actions.
    OneTable,
    /// 303 or 401.
    SignIn,
    /// 403.
    Forbidden,
    /// 404.
    Hidden,
    /// `authorize` returns an error.
    Error,
    /// `authorize` panics.
    Panic,
    /// `authorize` does not answer.
    Timeout,
}

impl Lane {
    pub(crate) const ALL: [Self; 13] = [
        Self::Admin,
        Self::Support,
        Self::Auditor,
        Self::NoKey,
        Self::NoValues,
        Self::NoLog,
        Self::OneTable,
        Self::SignIn,
        Self::Forbidden,
        Self::Hidden,
        Self::Error,
        Self::Panic,
        Self::Timeout,
    ];

    pub(crate) fn is_denied(self) -> bool {
        !matches!(
            self,
            Self::Admin
                | Self::Support
                | Self::Auditor
                | Self::NoKey
                | Self::NoValues
                | Self::NoLog
                | Self::OneTable
        )
    }
}

const LANE: &str = "x-lane";

async fn authorize(visit: Visit) -> Result<Decision, &'static str> {
    let lane = visit.parts().headers.get(LANE);
    Ok(match lane.and_then(|lane| lane.to_str().ok()) {
        Some("Admin") => Grant::everything().label("Admin").into(),
        Some("Support") => Grant::support(tenant_scope()).label("Tenant 7 only").into(),
        Some("Auditor") => Grant::support(tenant_scope())
            .with(Capability::Export)
            .with(Capability::Reports)
            .with(Capability::Log)
            .with(Capability::Background)
            .scope_key(TENANT_KEY)
            .into(),
        Some("NoKey") => Grant::support(tenant_scope())
            .with(Capability::Background)
            .into(),
        Some("NoValues") => Grant::everything().without(Capability::Values).into(),
        Some("NoLog") => Grant::everything().without(Capability::Log).into(),
        Some("OneTable") => {
            let invoices = "invoices".parse().map_err(|_| "a table")?;
            Grant::support(Scope::new().tables([invoices])).into()
        }
        Some("SignIn") => Denial::SignIn("/login".to_owned()).into(),
        Some("Forbidden") => Denial::Forbidden.into(),
        Some("Hidden") => Denial::Hidden.into(),
        Some("Panic") => panic!("authorize panics"),
        Some("Timeout") => std::future::pending().await,
        _ => return Err("no lane"),
    })
}

/// The key of the scope of the auditor lane.
pub(crate) const TENANT_KEY: &str = "tenant:7";

/// The part of the trail that the support lane sees.
pub(crate) fn tenant_scope() -> Scope {
    let tenant = MetaPattern::field("tenant", 7).expect("a pattern");
    Scope::new().meta(&tenant).actions_with_visible_changes()
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| server().start().expect("PostgreSQL starts"))
}

/// A server to start.
pub(crate) fn server() -> ClusterBuilder {
    let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
    Cluster::builder().binaries(binaries)
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A database with a trail: `invoices`, and a table with a hostile name and a composite key.
pub(crate) struct Trail {
    database: Database,
}

/// A value that tries to leave every context of HTML.
pub(crate) const HOSTILE: &str = "\"'><script>alert(1)</script><b>\u{202e}{{7*7}}";

const TABLES: &str = r#"
    CREATE SCHEMA "odd <schema>";
    CREATE TABLE invoices (id bigint PRIMARY KEY, total_cents int, note text, details jsonb);
    CREATE TABLE "odd <schema>"."t ""<b>'1" ("a b" text, "<i>" int, note text, PRIMARY KEY ("a b", "<i>"));
"#;

const CAPTURED: [&str; 2] = ["invoices", r#""odd <schema>"."t ""<b>'1""#];

impl Trail {
    /// A database with captured, empty tables.
    pub(crate) fn new() -> Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            cluster()
                .template("trail", install)
                .expect("the trail installs")
        });
        Self {
            database: template.create_database().expect("a database"),
        }
    }

    /// A database with captured, empty tables on another server.
    pub(crate) fn on(cluster: &Cluster) -> Self {
        let database = cluster.create_database().expect("a database");
        install(&database.url()).expect("the trail installs");
        Self { database }
    }

    /// Runs a script as one transaction of an actor, for a tenant.
    pub(crate) fn write(&self, actor: &str, tenant: u32, sql: &str) {
        let (kind, id) = actor.split_once(':').expect("an actor");
        self.run(&format!(
            r#"BEGIN;
            SELECT set_config('threadline.actor_ref', '{{"type": "{kind}", "id": "{id}"}}', true),
                set_config('threadline.context',
                    '{{"request_id": "req-{tenant}", "meta": {{"tenant": {tenant}}}}}', true);
            {sql};
            COMMIT"#
        ));
    }

    /// Records an action with a context, as JSON, and runs a script under it, as one transaction of an actor.
    pub(crate) fn act(&self, actor: &str, context: &str, action: &str, sql: &str) {
        let (kind, id) = actor.split_once(':').expect("an actor");
        let actor = format!(r#"{{"type": "{kind}", "id": "{id}"}}"#);
        let uuid = "(SELECT format('%s-%s-7%s-8%s-%s', left(ms, 8), right(ms, 4), left(a, 3), right(a, 3), left(b, 12))
            FROM (SELECT lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') AS ms,
                md5(random()::text) AS a, md5(random()::text) AS b) AS parts)";
        self.run(&format!(
            "BEGIN;
            SELECT threadline.begin_audited_work(jsonb_build_object('actor_ref', '{actor}'::jsonb,
                'context', '{context}'::jsonb,
                'action', '{action}'::jsonb || jsonb_build_object('id', {uuid})));
            {sql};
            COMMIT"
        ));
    }

    pub(crate) fn run(&self, sql: &str) {
        if let Err(error) = self.database.execute_script(sql) {
            panic!("{error}\nin: {sql}");
        }
    }

    pub(crate) fn query(&self, sql: &str) -> String {
        self.database
            .query_text(sql)
            .expect("an answer")
            .expect("a value")
    }

    /// Captures a table with masked and excluded columns.
    pub(crate) fn capture(&self, table: &str, masked: &[&str], excluded: &[&str]) {
        let name = table.parse().expect("a table name");
        let table = block_on(async {
            let mut conn = self.connect().await;
            introspect(&mut conn, &name).await.expect("a table")
        });
        let table = AuditedTableBuilder::from(table)
            .mask(masked.iter().copied())
            .exclude(excluded.iter().copied())
            .build()
            .expect("rules");
        self.run(CaptureMigration::new([&table], |_| None).up());
    }

    /// The id of the newest change.
    pub(crate) fn newest_change(&self) -> i64 {
        let id = self.query("SELECT max(id) FROM threadline.audit_changes");
        id.parse().expect("an id")
    }

    /// The name of the database.
    pub(crate) fn name(&self) -> &str {
        self.database.name()
    }

    /// The parameters of a connection, for libpq.
    pub(crate) fn keyword_string(&self) -> String {
        self.database.keyword_string()
    }

    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    pub(crate) async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.database.url())
            .await
            .expect("a connection")
    }

    pub(crate) fn builder(&self) -> ConsoleBuilder<Authorized> {
        builder(&self.database.url())
    }

    /// The builder of a console that records exports and reports.
    pub(crate) fn recording_builder(&self) -> ConsoleBuilder<Authorized> {
        self.builder()
            .writer(pool(&self.database.url()))
            .actor(|parts| {
                let lane = parts.headers.get(LANE)?.to_str().ok()?;
                ActorRef::admin(lane.to_lowercase()).ok()
            })
    }

    /// The builder of a console with background exports, and their storage. An actor may send any number of
    /// requests.
    pub(crate) fn background_builder(&self) -> (ConsoleBuilder<Authorized>, Storages) {
        let storages = Storages::new().with("memory", Storage::new(Arc::new(InMemory::new())));
        let builder = self
            .recording_builder()
            .limits(Limits::default().requests(u32::MAX))
            .background(storages.clone());
        (builder, storages)
    }

    /// The recorded actions of the console as `name status reason`, oldest first; waits for a number of them.
    pub(crate) async fn recorded(&self, expected: usize) -> Vec<String> {
        let sql = "SELECT coalesce(string_agg(concat_ws(' ', name, status, reason), ';' ORDER BY order_id), '')
            FROM threadline.audit_actions WHERE category = 'console'";
        for _ in 0..200 {
            let text = self.query(sql);
            let names: Vec<_> = text.split(';').map(ToOwned::to_owned).collect();
            if names.len() >= expected && !text.is_empty() {
                return names;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Vec::new()
    }

    /// A console at `/audit`.
    pub(crate) fn site(&self) -> Site {
        Site::new(self.builder().build().expect("a console"))
    }
}

/// Installs the trail and the captured tables.
fn install(url: &str) -> Result<(), threadline_testdb::Error> {
    let session = Cluster::existing(url)?;
    session.execute_script(&threadline_core::install::up_sql())?;
    session.execute_script(TABLES)?;
    for table in CAPTURED {
        session.execute_script(&capture_sql(url, table))?;
    }
    Ok(())
}

fn capture_sql(url: &str, table: &str) -> String {
    let name = table.parse().expect("a table name");
    let url = url.to_owned();
    // The template is made inside of a runtime.
    let table = std::thread::spawn(move || {
        block_on(async {
            let mut conn = AsyncPgConnection::establish(&url)
                .await
                .expect("a connection");
            introspect(&mut conn, &name).await.expect("a table")
        })
    });
    let table = table.join().expect("a table");
    CaptureMigration::new([&table], |_| None).up().to_owned()
}

/// A builder over any database.
pub(crate) fn builder(url: &str) -> ConsoleBuilder<Authorized> {
    Console::builder(pool(url)).authorize(authorize)
}

pub(crate) fn pool(url: &str) -> Pool<AsyncPgConnection> {
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
    Pool::builder(manager).max_size(2).build().expect("a pool")
}

/// Runs the jobs that can run now, and enqueues due schedules.
pub(crate) async fn run_worker(trail: &Trail, storages: &Storages) {
    let worker = Worker::builder(pool(&trail.url()))
        .storages(storages.clone())
        .scope_resolver(TenantScopes)
        .handler(CheckHandler::new(EvidencePlan::new(CheckOptions::new())))
        .build();
    worker.run_pending().await.expect("a worker");
}

/// Resolves the key of the auditor lane.
struct TenantScopes;

impl ScopeResolver for TenantScopes {
    fn resolve<'a>(
        &'a self,
        _: Option<&'a ActorRef>,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Scope, PoolError>> {
        Box::pin(async move {
            if key == TENANT_KEY {
                Ok(tenant_scope())
            } else {
                Err("no such tenant".into())
            }
        })
    }
}

/// A host with a console at `/audit`.
#[derive(Clone)]
pub(crate) struct Site {
    router: Arc<Router>,
}

impl Site {
    pub(crate) fn new(console: Console) -> Self {
        Self::of(Router::new().nest_service("/audit", console))
    }

    pub(crate) fn of(router: Router) -> Self {
        Self {
            router: Arc::new(router),
        }
    }

    /// The response, whose body is not read.
    pub(crate) async fn open(&self, request: Request<Body>) -> Response<Body> {
        let router = Router::clone(&self.router);
        router.oneshot(request).await.expect("a response")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.open(request).await.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, address: &str, lane: Lane) -> Answer {
        self.send(request(Method::GET, address, lane, "")).await
    }

    /// The answer to a form of the console's own pages.
    pub(crate) async fn post(&self, address: &str, lane: Lane, form: &str) -> Answer {
        let mut request = request(Method::POST, address, lane, form);
        let site = "same-origin".parse().expect("a value");
        request.headers_mut().insert("sec-fetch-site", site);
        self.send(request).await
    }
}

pub(crate) fn request(method: Method, address: &str, lane: Lane, form: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(address)
        .header("host", "ops.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .header(LANE, format!("{lane:?}"))
        .body(Body::from(form.to_owned()))
        .expect("a request")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn html(&self) -> Html {
        Html::parse_document(&self.text)
    }

    /// The texts of the elements that a selector finds, with single spaces.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).expect("a selector");
        self.html()
            .select(&selector)
            .map(|element| {
                let text: String = element.text().collect();
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    /// The values of an attribute.
    pub(crate) fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let selector = Selector::parse(selector).expect("a selector");
        self.html()
            .select(&selector)
            .filter_map(|element| element.value().attr(name).map(ToOwned::to_owned))
            .collect()
    }

    /// All addresses of the page.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut addresses = self.attributes("[href]", "href");
        addresses.extend(self.attributes("[action]", "action"));
        addresses.extend(self.attributes("[src]", "src"));
        addresses.extend(self.attributes("[data-fragment]", "data-fragment"));
        addresses
    }
}
