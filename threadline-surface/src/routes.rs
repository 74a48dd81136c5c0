//! The routes: the one table that the router, the navigation and the tests are made of.

use crate::access::Capability;
use crate::download::FileFormat;
use crate::route::{Handler, NavGroup, ReadScreen, Route, get, post};
use crate::screens::{
    actions, actor, assets, change, correlation, count, coverage, download, evidence, find, follow,
    health, help, moved, not_found, preferences, redaction, report, retention, retention_plan,
    retention_runs, row, start, timeline, transaction, views, volume,
};
#[cfg(feature = "background")]
use crate::screens::{exports, schedules};

/// An address of the Elixir edition, which redirects to its screen.
const fn moved(path: &'static str) -> Route {
    get(path, "moved", None, Handler::Static(moved::show))
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
