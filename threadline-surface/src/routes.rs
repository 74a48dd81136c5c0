//! The routes: the one table that the router, the navigation and the tests are made of.

use axum::http::Method;
use futures_util::future::BoxFuture;

use crate::access::Capability;
use crate::download::FileFormat;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::screens::{
    actions, actor, assets, change, correlation, count, coverage, download, evidence, find, follow,
    health, help, moved, not_found, preferences, redaction, report, retention, retention_plan,
    retention_runs, row, start, timeline, transaction, views, volume,
};
#[cfg(feature = "background")]
use crate::screens::{exports, schedules};

/// A route of the console, below its base path.
#[derive(Debug)]
pub struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) screen: &'static str,
    pub(crate) capability: Option<Capability>,
    pub(crate) nav: Option<Nav>,
    /// Whether the answer is a file, which other sites cannot cause a browser to load.
    pub(crate) is_file: bool,
    pub(crate) handler: Handler,
}

impl Route {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, in the notation of axum: `/assets/{name}`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The name of the screen, as in [`Visit::screen`](crate::Visit::screen).
    #[must_use]
    pub fn screen(&self) -> &'static str {
        self.screen
    }

    /// The capability that a grant must have; none if every grant may use the route.
    #[must_use]
    pub fn capability(&self) -> Option<Capability> {
        self.capability
    }
}

/// An entry of the navigation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nav {
    pub(crate) group: NavGroup,
    pub(crate) label: &'static str,
}

/// A group of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NavGroup {
    Find,
    Verify,
    Prove,
}

impl NavGroup {
    pub(crate) const ALL: [Self; 3] = [Self::Find, Self::Verify, Self::Prove];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Find => "Find",
            Self::Verify => "Verify",
            Self::Prove => "Prove",
        }
    }
}

/// A screen that reads the trail.
pub(crate) type ReadScreen =
    for<'a, 'b> fn(&'a mut PageContext<'b>) -> BoxFuture<'a, Result<Screen, PageError>>;

/// A screen that takes its connections itself.
pub(crate) type AsyncScreen =
    for<'a> fn(&'a GrantedRequest) -> BoxFuture<'a, Result<Screen, PageError>>;

/// A screen that reads nothing.
pub(crate) type StaticScreen = fn(&GrantedRequest) -> Result<Screen, PageError>;

/// The function of a screen.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Gets a connection in a read-only transaction with one snapshot.
    Read(ReadScreen),
    /// Gets no connection, and may take one.
    Async(AsyncScreen),
    /// Gets a connection in a read-only transaction in which each statement has its own snapshot.
    ReadCommitted(ReadScreen),
    /// Gets no connection, and works while the database is away.
    Static(StaticScreen),
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Async(_) => "Async",
            Self::ReadCommitted(_) => "ReadCommitted",
            Self::Static(_) => "Static",
        })
    }
}

/// A route by GET. HEAD is answered by the same function.
const fn get(
    path: &'static str,
    screen: &'static str,
    capability: Option<Capability>,
    handler: Handler,
) -> Route {
    Route {
        method: Method::GET,
        path,
        screen,
        capability,
        nav: None,
        is_file: false,
        handler,
    }
}

/// An address of the Elixir edition, which redirects to its screen.
const fn moved(path: &'static str) -> Route {
    get(path, "moved", None, Handler::Static(moved::show))
}

/// A route by POST.
const fn post(
    path: &'static str,
    screen: &'static str,
    capability: Option<Capability>,
    handler: Handler,
) -> Route {
    Route {
        method: Method::POST,
        path,
        screen,
        capability,
        nav: None,
        is_file: false,
        handler,
    }
}

impl Route {
    /// Adds an entry of the navigation.
    const fn nav(mut self, group: NavGroup, label: &'static str) -> Self {
        self.nav = Some(Nav { group, label });
        self
    }

    /// Marks the answer as a file.
    const fn file(mut self) -> Self {
        self.is_file = true;
        self
    }
}

/// The route of a download.
const fn changes_file(format: FileFormat, show: ReadScreen) -> Route {
    let export = Some(Capability::Export);
    get(format.path(), "download", export, Handler::Read(show)).file()
}

/// All routes. A new screen is a file in `screens` and a line here.
pub static SCREENS: &[Route] = &[
    get(
        "/",
        "start",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(start::show(context))),
    ),
    get(
        "/parts/health",
        "health",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(health::show(context))),
    ),
    get(
        "/find",
        "find",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(find::show(context))),
    ),
    get(
        "/changes",
        "change",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(change::show(context))),
    ),
    get(
        "/transactions",
        "transaction",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(transaction::show(context))),
    ),
    get(
        "/rows",
        "row",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(row::show(context))),
    ),
    get(
        "/timeline",
        "timeline",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(timeline::show(context))),
    )
    .nav(NavGroup::Find, "Timeline"),
    get(
        "/parts/count",
        "timeline_count",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(count::show(context))),
    ),
    get(
        "/parts/volume",
        "timeline_volume",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(volume::show(context))),
    ),
    get(
        "/parts/follow",
        "timeline_follow",
        Some(Capability::Read),
        Handler::ReadCommitted(|context| Box::pin(follow::show(context))),
    ),
    get(
        "/coverage",
        "coverage",
        Some(Capability::Coverage),
        Handler::Async(|request| Box::pin(coverage::show(request))),
    )
    .nav(NavGroup::Verify, "Coverage"),
    get(
        "/parts/coverage",
        "coverage_answer",
        Some(Capability::Coverage),
        Handler::Async(|request| Box::pin(coverage::show_answer(request))),
    ),
    get(
        "/parts/coverage-badge",
        "coverage_badge",
        Some(Capability::Coverage),
        Handler::Async(|request| Box::pin(coverage::show_badge(request))),
    ),
    get(
        "/redaction",
        "redaction",
        Some(Capability::Policy),
        Handler::Read(|context| Box::pin(redaction::show(context))),
    )
    .nav(NavGroup::Verify, "Redaction"),
    get(
        "/retention",
        "retention",
        Some(Capability::Retention),
        Handler::Read(|context| Box::pin(retention::show(context))),
    )
    .nav(NavGroup::Prove, "Retention"),
    get(
        "/retention/plan",
        "retention_plan",
        Some(Capability::Retention),
        Handler::Read(|context| Box::pin(retention_plan::show(context))),
    ),
    get(
        "/retention/runs",
        "retention_runs",
        Some(Capability::Retention),
        Handler::Read(|context| Box::pin(retention_runs::show(context))),
    ),
    get(
        "/evidence",
        "evidence",
        Some(Capability::Evidence),
        Handler::Read(|context| Box::pin(evidence::show(context))),
    )
    .nav(NavGroup::Prove, "Evidence"),
    get(
        "/evidence/record",
        "evidence_record",
        Some(Capability::Evidence),
        Handler::Read(|context| Box::pin(evidence::show_record(context))),
    ),
    get(
        "/evidence/history",
        "evidence_history",
        Some(Capability::Evidence),
        Handler::Read(|context| Box::pin(evidence::show_history(context))),
    ),
    get(
        "/evidence/document.json",
        "evidence_document",
        Some(Capability::Evidence),
        Handler::Read(|context| Box::pin(evidence::show_document(context))),
    )
    .file(),
    #[cfg(feature = "background")]
    post(
        "/evidence/check",
        "evidence_check",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(evidence::request_check(request))),
    ),
    #[cfg(feature = "background")]
    get(
        "/exports",
        "exports",
        Some(Capability::Background),
        Handler::Read(|context| Box::pin(exports::show(context))),
    )
    .nav(NavGroup::Prove, "Exports"),
    #[cfg(feature = "background")]
    get(
        "/parts/exports",
        "export_list",
        Some(Capability::Background),
        Handler::Read(|context| Box::pin(exports::show_list(context))),
    ),
    #[cfg(feature = "background")]
    get(
        "/exports/new",
        "export_form",
        Some(Capability::Background),
        Handler::Read(|context| Box::pin(exports::show_form(context))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports",
        "export_enqueue",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(exports::enqueue(request))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/cancel",
        "export_cancel",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(exports::cancel(request))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/retry",
        "export_retry",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(exports::retry(request))),
    ),
    #[cfg(feature = "background")]
    get(
        "/exports/file",
        "export_file",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(exports::show_file(request))),
    )
    .file(),
    #[cfg(feature = "background")]
    get(
        "/exports/schedules",
        "schedules",
        Some(Capability::Background),
        Handler::Read(|context| Box::pin(schedules::show(context))),
    ),
    #[cfg(feature = "background")]
    get(
        "/exports/schedules/new",
        "schedule_form",
        Some(Capability::Background),
        Handler::Read(|context| Box::pin(schedules::show_form(context))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/schedules",
        "schedule_add",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(schedules::add(request))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/schedules/run",
        "schedule_run",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(schedules::run(request))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/schedules/pause",
        "schedule_pause",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(schedules::pause(request))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/schedules/resume",
        "schedule_resume",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(schedules::resume(request))),
    ),
    #[cfg(feature = "background")]
    post(
        "/exports/schedules/remove",
        "schedule_remove",
        Some(Capability::Background),
        Handler::Async(|request| Box::pin(schedules::remove(request))),
    ),
    get(
        "/actors",
        "actor",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(actor::show(context))),
    ),
    get(
        "/correlations",
        "correlation",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(correlation::show(context))),
    ),
    get(
        "/actions",
        "actions",
        Some(Capability::Read),
        Handler::Read(|context| Box::pin(actions::show(context))),
    )
    .nav(NavGroup::Find, "Actions"),
    get(
        "/views",
        "views",
        Some(Capability::Views),
        Handler::Read(|context| Box::pin(views::list(context))),
    )
    .nav(NavGroup::Find, "Views"),
    get(
        "/views/open",
        "view_open",
        Some(Capability::Views),
        Handler::Read(|context| Box::pin(views::open(context))),
    ),
    post(
        "/views",
        "view_save",
        Some(Capability::Views),
        Handler::Async(|request| Box::pin(views::save(request))),
    ),
    post(
        "/views/remove",
        "view_remove",
        Some(Capability::Views),
        Handler::Async(|request| Box::pin(views::remove(request))),
    ),
    moved("/rows/{table}/{key}"),
    moved("/actors/{kind}/{id}"),
    moved("/transactions/{id}"),
    moved("/transactions/{id}/history/{table}/{key}"),
    moved("/policy/redaction"),
    moved("/policy/retention"),
    #[cfg(feature = "background")]
    moved("/exports/download/{id}"),
    moved("/exports/changes.csv"),
    moved("/exports/changes.json"),
    moved("/exports/changes.ndjson"),
    changes_file(FileFormat::Csv, |context| {
        Box::pin(download::show(context, FileFormat::Csv))
    }),
    changes_file(FileFormat::Json, |context| {
        Box::pin(download::show(context, FileFormat::Json))
    }),
    changes_file(FileFormat::Ndjson, |context| {
        Box::pin(download::show(context, FileFormat::Ndjson))
    }),
    #[cfg(feature = "parquet")]
    changes_file(FileFormat::Parquet, |context| {
        Box::pin(download::show(context, FileFormat::Parquet))
    }),
    get(
        "/report",
        "report",
        Some(Capability::Reports),
        Handler::Read(|context| Box::pin(report::show(context))),
    )
    .nav(NavGroup::Prove, "Report"),
    get(
        "/report.json",
        "report_document",
        Some(Capability::Reports),
        Handler::Read(|context| Box::pin(report::document(context))),
    ),
    get("/help", "help", None, Handler::Static(help::show)),
    get(
        "/preferences",
        "preferences",
        None,
        Handler::Static(preferences::show),
    ),
    post(
        "/preferences",
        "preferences",
        None,
        Handler::Static(preferences::store),
    ),
    get(
        "/assets/{name}",
        "asset",
        None,
        Handler::Static(assets::show),
    ),
];

/// The route of addresses that have none.
pub(crate) static NOT_FOUND: Route = get("/", "not_found", None, Handler::Static(not_found::show));
