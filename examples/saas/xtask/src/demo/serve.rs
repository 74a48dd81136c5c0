//! The application of the demonstration, in a task of this process.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, anyhow};
use saas::app::App;
use saas::database;
use tempfile::TempDir;
use threadline::export::storage::Storages;
use tokio::net::TcpListener;

use super::report::Report;
use super::{ADMIN_TOKEN, SUPPORT_TOKEN, heading};

/// The port of `--serve`, unless it is in use.
const PORT: u16 = 3000;

/// The running application.
#[derive(Debug)]
pub(crate) struct Application {
    app: App,
    address: SocketAddr,
    /// The files of exports, removed with the application.
    _exports: TempDir,
}

impl Application {
    /// Migrates the database and starts the application in a task of the runtime.
    pub(crate) async fn start(url: String, on_fixed_port: bool) -> anyhow::Result<Self> {
        let pool = database::pool(url)?;
        database::migrate(&pool)
            .await
            .map_err(|error| anyhow!(error).context("cannot migrate the database"))?;
        let exports = TempDir::new()?;
        let app = App::new(pool, Storages::local(exports.path())?)?;
        app.sessions()
            .open_for_admin(ADMIN_TOKEN.to_owned(), "rita")?;
        let listener = listen(if on_fixed_port { PORT } else { 0 }).await?;
        let address = listener.local_addr()?;
        let server = app.clone();
        tokio::spawn(async move { server.serve(listener).await });
        Ok(Self {
            app,
            address,
            _exports: exports,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the session of the support user.
    pub(crate) fn open_for_support(&self, organization: i64) -> anyhow::Result<()> {
        let token = SUPPORT_TOKEN.to_owned();
        self.app
            .sessions()
            .open_for_support(token, "sam", organization)
            .context("the name is not an actor")
    }

    /// Prints how to use the application and its console.
    pub(crate) fn print_logins(&self, report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
        heading(
            out,
            "Your turn",
            "Application and console are running; Ctrl-C stops them:",
        )?;
        let Self { address, .. } = self;
        writeln!(
            out,
            "  console    http://{address}/audit\n  \
             sign-in    http://{address}/staff/sign-in\n  \
             admin      {ADMIN_TOKEN}   sees everything\n  \
             support    {SUPPORT_TOKEN}    sees one organization\n\n  \
             incident   http://{address}/audit/transactions?id={}\n  \
             history    http://{address}/audit/rows?table=members&key={}",
            report.incident, report.member
        )?;
        out.flush()?;
        Ok(())
    }
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
    }
}
