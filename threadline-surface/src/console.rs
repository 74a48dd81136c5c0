//! The console and its builder.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_core::expected_gap::{ExpectedGap, expected_gaps};
use threadline_core::registry::{RegistryError, registered_tables};
use threadline_core::retention::RetentionPolicy;
use threadline_core::table::{AuditedTable, InvalidTableName};
use threadline_diesel::evidence::EvidencePlan;
#[cfg(feature = "background")]
use threadline_export::storage::Storages;
use tokio::sync::Semaphore;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tower_http::csrf::{ConfigError, CsrfLayer};

use crate::access::{Decision, Visit};
use crate::connections::ConnectionPool;
use crate::coverage_check::CoverageCheck;
use crate::gate;
use crate::request_rate::RequestRates;
use crate::settings::{Authorize, Branding, Exports, FindActor, Limits, Settings};
use crate::shared_looks::SharedLooks;

/// The operator console: a service for [`nest_service`](axum::Router::nest_service).
///
/// Layers of the host that are further out must not replace the console's headers, which are strict.
#[derive(Clone)]
pub struct Console {
    service: BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// Creates the builder of a console that reads through a pool. The role of its connections needs `SELECT`
    /// on the trail; restore statements also need it on the captured tables. The server may be a standby.
    #[must_use]
    pub fn builder(readers: impl ConnectionPool) -> ConsoleBuilder<()> {
        ConsoleBuilder {
            authorize: (),
            readers: Arc::new(readers),
            writers: None,
            find_actor: Arc::new(context_actor),
            exports: Exports::default(),
            #[cfg(feature = "background")]
            background: None,
            evidence: None,
            retention: None,
            tables: None,
            expected_gaps: None,
            zone: Tz::UTC,
            branding: Branding::default(),
            base_path: None,
            limits: Limits::default(),
            trusted_origins: Vec::new(),
        }
    }

    /// The console as a router, for hosts that merge or nest routers. Nested by
    /// [`nest`](axum::Router::nest), `/audit/` with a final slash is not found; prefer `nest_service`.
    pub fn into_router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new().fallback_service(self)
    }
}

impl Service<Request<Body>> for Console {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.service.clone().oneshot(request))
    }
}

/// The actor of the context that `threadline-plug` adds to a request.
fn context_actor(parts: &Parts) -> Option<ActorRef> {
    parts.extensions.get::<AuditContext>()?.actor().cloned()
}

/// The settings of a console. [`build`](Self::build) exists only after [`authorize`](Self::authorize):
///
/// ```compile_fail
/// # fn example(pool: impl threadline_surface::ConnectionPool) {
/// threadline_surface::Console::builder(pool).build();
/// # }
/// ```
pub struct ConsoleBuilder<A> {
    authorize: A,
    readers: Arc<dyn ConnectionPool>,
    writers: Option<Arc<dyn ConnectionPool>>,
    find_actor: FindActor,
    exports: Exports,
    #[cfg(feature = "background")]
    background: Option<Storages>,
    evidence: Option<EvidencePlan>,
    retention: Option<RetentionPolicy>,
    tables: Option<Vec<AuditedTable>>,
    expected_gaps: Option<Vec<ExpectedGap>>,
    zone: Tz,
    branding: Branding,
    base_path: Option<String>,
    limits: Limits,
    trusted_origins: Vec<String>,
}

impl<A> fmt::Debug for ConsoleBuilder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleBuilder").finish_non_exhaustive()
    }
}

impl ConsoleBuilder<()> {
    /// Sets the function that decides about every request: pages, fragments and files alike. An error, a
    /// panic and no answer within 2 seconds are denials.
    ///
    /// ```
    /// # use threadline_surface::{BuildError, Console, ConnectionPool};
    /// use threadline_surface::{Decision, Denial, Grant, Visit};
    ///
    /// # fn example(pool: impl ConnectionPool) -> Result<Console, BuildError> {
    /// Console::builder(pool)
    ///     .authorize(|visit: Visit| async move {
    ///         match visit.actor() {
    ///             Some(_) => Decision::Grant(Grant::everything()),
    ///             None => Decision::Deny(Denial::SignIn("/login".to_owned())),
    ///         }
    ///     })
    ///     .build()
    /// # }
    /// ```
    #[must_use]
    pub fn authorize<F, Fut>(self, decide: F) -> ConsoleBuilder<Authorized>
    where
        F: Fn(Visit) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Into<Decision>> + Send + 'static,
    {
        let decide: Authorize = Arc::new(move |visit| {
            let decision = decide(visit);
            Box::pin(async move { decision.await.into() })
        });
        ConsoleBuilder {
            authorize: Authorized(decide),
            readers: self.readers,
            writers: self.writers,
            find_actor: self.find_actor,
            exports: self.exports,
            #[cfg(feature = "background")]
            background: self.background,
            evidence: self.evidence,
            retention: self.retention,
            tables: self.tables,
            expected_gaps: self.expected_gaps,
            zone: self.zone,
            branding: self.branding,
            base_path: self.base_path,
            limits: self.limits,
            trusted_origins: self.trusted_origins,
        }
    }
}

/// The state of a [`ConsoleBuilder`] whose [`authorize`](ConsoleBuilder::authorize) function is set.
pub struct Authorized(Authorize);

impl fmt::Debug for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorized")
    }
}

impl<A> ConsoleBuilder<A> {
    /// Sets how the actor of a request is found; by default, in the context of `threadline-plug`.
    #[must_use]
    pub fn actor<F>(mut self, find: F) -> Self
    where
        F: Fn(&Parts) -> Option<ActorRef> + Send + Sync + 'static,
    {
        self.find_actor = Arc::new(find);
        self
    }

    /// Sets a pool whose role may call `record_action`. With it, exports, reports and the use of shared views are
    /// recorded. Views can be saved if the role also has `SELECT`, `INSERT`, `UPDATE` and `DELETE` on
    /// `audit_saved_views`.
    #[must_use]
    pub fn writer(mut self, writers: impl ConnectionPool) -> Self {
        self.writers = Some(Arc::new(writers));
        self
    }

    /// Sets whether the console offers downloads; at most 100,000 changes each unless set.
    #[must_use]
    pub fn exports(mut self, exports: Exports) -> Self {
        self.exports = exports;
        self
    }

    /// Sets the storages of background exports, which a worker of the host writes to. Needs
    /// [`writer`](Self::writer), whose role then also needs `SELECT`, `INSERT` and `UPDATE` on `audit_jobs`, and
    /// `SELECT`, `INSERT`, `UPDATE` and `DELETE` on `audit_schedules`.
    #[cfg(feature = "background")]
    #[must_use]
    pub fn background(mut self, storages: Storages) -> Self {
        self.background = Some(storages);
        self
    }

    /// Sets the plan of checks, of which the evidence screen shows when each is due.
    #[must_use]
    pub fn evidence(mut self, plan: EvidencePlan) -> Self {
        self.evidence = Some(plan);
        self
    }

    /// Sets the retention policy that the retention screen shows.
    #[must_use]
    pub fn retention(mut self, policy: RetentionPolicy) -> Self {
        self.retention = Some(policy);
        self
    }

    /// Sets the declared tables; by default, the registered ones.
    #[must_use]
    pub fn tables(mut self, declared: impl IntoIterator<Item = AuditedTable>) -> Self {
        self.tables = Some(declared.into_iter().collect());
        self
    }

    /// Sets the tables that are deliberately not captured; by default, the registered ones.
    #[must_use]
    pub fn expected_gaps(mut self, gaps: impl IntoIterator<Item = ExpectedGap>) -> Self {
        self.expected_gaps = Some(gaps.into_iter().collect());
        self
    }

    /// Sets the time zone of operators who have not chosen one: UTC unless set.
    #[must_use]
    pub fn zone(mut self, zone: Tz) -> Self {
        self.zone = zone;
        self
    }

    /// Sets the name in the header, and the link out of the console.
    #[must_use]
    pub fn branding(mut self, branding: Branding) -> Self {
        self.branding = branding;
        self
    }

    /// Sets the path at which browsers see the console, where a proxy removes a prefix: `/ops/audit`. By
    /// default it is derived from each request.
    #[must_use]
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.base_path = Some(path.into().trim_end_matches('/').to_owned());
        self
    }

    /// Sets limits of requests.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Accepts forms from another origin: `https://ops.example`, for a proxy that changes `Host`.
    #[must_use]
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(origin.into());
        self
    }
}

impl ConsoleBuilder<Authorized> {
    /// Builds the console.
    ///
    /// # Errors
    /// [`BuildError`] if the registered tables contradict each other, an expected gap does not name a table,
    /// a trusted origin is not one, or background exports have no pool of writers.
    pub fn build(self) -> Result<Console, BuildError> {
        let mut csrf = CsrfLayer::new();
        for origin in &self.trusted_origins {
            csrf = csrf.add_trusted_origin(origin)?;
        }
        #[cfg(feature = "background")]
        if self.background.is_some() && self.writers.is_none() {
            return Err(BuildError::NoWriter);
        }
        let settings = Settings {
            readers: self.readers,
            writers: self.writers,
            downloads: Arc::new(Semaphore::new(self.limits.downloads)),
            scans: Semaphore::new(self.limits.scans),
            authorize: self.authorize.0,
            find_actor: self.find_actor,
            exports: self.exports,
            #[cfg(feature = "background")]
            background: self.background,
            evidence: self.evidence,
            retention: self.retention,
            tables: self.tables.map_or_else(registered_tables, Ok)?,
            expected_gaps: self.expected_gaps.map_or_else(expected_gaps, Ok)?,
            zone: self.zone,
            branding: self.branding,
            base_path: self.base_path,
            limits: self.limits,
            coverage: CoverageCheck::default(),
            looks: SharedLooks::default(),
            request_rates: RequestRates::default(),
        };
        Ok(Console {
            service: gate::service(Arc::new(settings), csrf),
        })
    }
}

/// Settings with which no console can be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The registered tables contradict each other.
    #[error(transparent)]
    Tables(#[from] RegistryError),
    /// An expected gap does not name a table.
    #[error("an expected gap does not name a table: {0}")]
    ExpectedGap(#[from] InvalidTableName),
    /// Background exports have no pool that can queue them.
    #[cfg(feature = "background")]
    #[error("background exports need a pool that can queue them: call `writer`")]
    NoWriter,
    /// A trusted origin is not an origin.
    #[error("{0}: write scheme and host, for example `https://ops.example`")]
    TrustedOrigin(#[from] ConfigError),
}
