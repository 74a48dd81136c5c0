//! The application: shared state and routes.

use std::net::SocketAddr;
use std::{fmt, io};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::{from_fn_with_state, map_request};
use axum::routing::{get, patch, post};
use threadline::ActorRef;
use threadline::export::storage::Storages;
use threadline::plug::{AuditContextLayer, RemoteAddr};
use threadline::surface::Console;
use tokio::net::TcpListener;

use crate::console::{self, ConsoleError};
use crate::database::{Conn, Pool};
use crate::error::AppError;
use crate::jobs::Queue;
use crate::session::{self, Identity, Sessions};
use crate::{history, invoices, login, members, organizations, staff};

/// The state that handlers share.
#[derive(Clone)]
pub struct App {
    pool: Pool,
    sessions: Sessions,
    jobs: Queue,
    console: Console,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Creates an application without sessions. Exports of the console are written to the storages. Starts
    /// workers, so it needs a tokio runtime.
    ///
    /// # Errors
    /// [`ConsoleError`] if the console's settings are invalid.
    pub fn new(pool: Pool, storages: Storages) -> Result<Self, ConsoleError> {
        Ok(Self {
            console: console::build(pool.clone(), storages)?,
            jobs: Queue::start(pool.clone()),
            sessions: Sessions::default(),
            pool,
        })
    }

    /// The open sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn jobs(&self) -> &Queue {
        &self.jobs
    }

    pub(crate) async fn conn(&self) -> Result<Conn, AppError> {
        Ok(self.pool.get().await?)
    }

    /// The routes under two layers: `authenticate` runs first and sets the identity of the request, from
    /// which the audit layer builds the audit context. The console is inside of both.
    pub fn router(&self) -> Router {
        let audit = AuditContextLayer::new()
            .source("web")
            .actor(|parts| {
                let identity = parts.extensions.get::<Identity>();
                let actor = identity.map_or_else(ActorRef::anonymous, Identity::actor);
                Ok(Some(actor))
            })
            .context_overrides(session::overrides)
            .remote_addr(RemoteAddr::Peer, |parts| {
                let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
                peer.map(|info| info.0)
            });
        Router::new()
            .route("/organizations", post(organizations::sign_up))
            .route("/organization/close", post(organizations::close))
            .route("/login", post(login::log_in))
            .route("/members", post(members::invite))
            .route("/members/me", patch(members::change))
            .route("/invoices", post(invoices::issue))
            .route("/invoices/{id}", get(invoices::show))
            .route("/invoices/{id}/pay", post(invoices::pay))
            .route("/invoices/{id}/void", post(invoices::void))
            .route("/invoices/{id}/remind", post(invoices::remind))
            .route("/invoices/{id}/history", get(history::list_changes))
            .route("/staff/sign-in", get(staff::show_form).post(staff::sign_in))
            .nest_service("/audit", self.console.clone())
            .layer(map_request(session::add_organization))
            .layer(audit)
            .layer(from_fn_with_state(self.clone(), session::authenticate))
            .with_state(self.clone())
    }

    /// Serves requests until the listener fails.
    ///
    /// # Errors
    /// The error of the listener.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let service = self
            .router()
            .into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).await
    }
}
