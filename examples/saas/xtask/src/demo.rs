//! The demonstration: requests to the example over HTTP, and the trail that they leave.

mod client;
mod kept;
mod report;
mod serve;
mod server;
mod story;

use std::io::{Write, stdout};

use anyhow::Context;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline_xtask::DemoArgs;
use tokio::runtime::{Builder, Runtime};

use self::client::Http;
use self::report::Report;
use self::serve::Application;
use self::server::Server;
use self::story::{Names, Story};

/// The session token of Rita, an administrator.
const ADMIN_TOKEN: &str = "the-token-of-rita";

/// The session token of Sam, a support user of the first organization.
const SUPPORT_TOKEN: &str = "the-token-of-sam";

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    let server = Server::start(args, &mut out)?;
    let names = if server.is_throwaway() {
        Names::plain()
    } else {
        Names::unique()
    };
    // Migrations and the HTTP client block a thread while the application runs on another.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let application = runtime.block_on(Application::start(server.url_for("saas"), args.serve))?;
    let report = show(&server, &runtime, &application, &names, &mut out);
    if let (true, Ok(report)) = (args.serve, &report) {
        application.print_logins(report, &mut out)?;
        runtime.block_on(tokio::signal::ctrl_c())?;
    }
    drop(application);
    drop(runtime);
    server.end(&report?, &mut out)
}

fn show(
    server: &Server,
    runtime: &Runtime,
    application: &Application,
    names: &Names,
    out: &mut impl Write,
) -> anyhow::Result<Report> {
    let mut conn = runtime.block_on(connect(&server.url_for("demo")))?;
    let start = runtime.block_on(report::database_time(&mut conn))?;
    let http = Http::new(application.address());
    let change_in_bulk = |organization| {
        let url = server.url_for("psql");
        runtime.block_on(story::change_in_bulk(&url, organization))
    };
    let organization = Story::new(&http, names, out).run(change_in_bulk)?;
    application.open_for_support(organization)?;
    runtime.block_on(report::print(&mut conn, names, start, out))
}

async fn connect(url: &str) -> anyhow::Result<AsyncPgConnection> {
    AsyncPgConnection::establish(url)
        .await
        .context("cannot connect to the database")
}

/// Prints a heading and a description of what follows.
fn heading(out: &mut impl Write, title: &str, description: &str) -> std::io::Result<()> {
    let line = "─".repeat(100_usize.saturating_sub(title.chars().count() + 4));
    writeln!(out, "\n── {title} {line}\n\n{description}\n")
}
