//! The demonstration: requests to the example over HTTP, and the trail that they leave.

mod client;
mod kept;
mod report;
mod server;
mod story;

use std::io::{Write, stdout};
use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use saas::app::App;
use saas::database;
use threadline_xtask::DemoArgs;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use self::client::Http;
use self::report::Report;
use self::server::Server;
use self::story::{Names, Story};

/// The session token of Rita, a staff user.
const STAFF_TOKEN: &str = "the-token-of-rita";

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
    let report = show(&server, &runtime, &names, &mut out);
    drop(runtime);
    server.end(&report?, &mut out)
}

fn show(
    server: &Server,
    runtime: &Runtime,
    names: &Names,
    out: &mut impl Write,
) -> anyhow::Result<Report> {
    let address = runtime.block_on(serve(server.url_for("saas")))?;
    let mut conn = runtime.block_on(connect(&server.url_for("demo")))?;
    let start = runtime.block_on(report::database_time(&mut conn))?;
    let http = Http::new(address);
    let change_in_bulk = |organization| {
        let url = server.url_for("psql");
        runtime.block_on(story::change_in_bulk(&url, organization))
    };
    Story::new(&http, names, out).run(change_in_bulk)?;
    runtime.block_on(report::print(&mut conn, names, start, out))
}

/// Migrates the database and starts the application in a task of the runtime.
async fn serve(url: String) -> anyhow::Result<SocketAddr> {
    let pool = database::pool(url)?;
    database::migrate(&pool)
        .await
        .map_err(|error| anyhow!(error).context("cannot migrate the database"))?;
    let app = App::new(pool);
    app.sessions()
        .open_for_staff(STAFF_TOKEN.to_owned(), "rita")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { app.serve(listener).await });
    Ok(address)
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
