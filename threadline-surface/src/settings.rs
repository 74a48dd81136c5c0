//! The settings of a console.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use threadline_core::actor::ActorRef;
use threadline_core::expected_gap::ExpectedGap;
use threadline_core::retention::RetentionPolicy;
use threadline_core::table::AuditedTable;
use threadline_diesel::evidence::EvidencePlan;
#[cfg(feature = "background")]
use threadline_export::storage::Storages;
use tokio::sync::Semaphore;

use crate::access::{Capability, Decision, Visit};
use crate::connections::{Connection, ConnectionPool};
use crate::coverage_check::CoverageCheck;
use crate::page_error::PageError;
use crate::request_rate::RequestRates;
use crate::shared_looks::SharedLooks;

/// The host's decision on a request.
pub(crate) type Authorize = Arc<dyn Fn(Visit) -> BoxFuture<'static, Decision> + Send + Sync>;

/// The actor of a request.
pub(crate) type FindActor = Arc<dyn Fn(&Parts) -> Option<ActorRef> + Send + Sync>;

/// The number of changes of the largest download, unless set.
const DEFAULT_MAX_ROWS: u64 = 100_000;

/// The settings, and the answers and counts that all requests share.
pub(crate) struct Settings {
    pub(crate) readers: Arc<dyn ConnectionPool>,
    pub(crate) writers: Option<Arc<dyn ConnectionPool>>,
    /// The downloads that may still start.
    pub(crate) downloads: Arc<Semaphore>,
    /// The searches in stored values that may still start.
    pub(crate) scans: Semaphore,
    pub(crate) authorize: Authorize,
    pub(crate) find_actor: FindActor,
    pub(crate) exports: Exports,
    /// The storages of background exports.
    #[cfg(feature = "background")]
    pub(crate) background: Option<Storages>,
    pub(crate) evidence: Option<EvidencePlan>,
    pub(crate) retention: Option<RetentionPolicy>,
    pub(crate) tables: Vec<AuditedTable>,
    pub(crate) expected_gaps: Vec<ExpectedGap>,
    pub(crate) zone: Tz,
    pub(crate) branding: Branding,
    pub(crate) base_path: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) coverage: CoverageCheck,
    pub(crate) looks: SharedLooks,
    pub(crate) request_rates: RequestRates,
}

impl Settings {
    /// Whether the console has what a capability needs.
    pub(crate) fn offers(&self, capability: Capability) -> bool {
        match capability {
            Capability::Export => self.exports.max_rows.is_some(),
            #[cfg(feature = "background")]
            Capability::Background => self.background.is_some(),
            #[cfg(not(feature = "background"))]
            Capability::Background => false,
            _ => true,
        }
    }

    /// Takes a connection that reads the trail.
    pub(crate) async fn reader(&self) -> Result<Connection, PageError> {
        tokio::time::timeout(self.limits.connection, self.readers.connection())
            .await
            .map_err(|_| PageError::Unavailable("pool timeout"))?
            .map_err(|_| PageError::Unavailable("pool"))
    }

    /// Takes a connection of the writers; none if the application gave no pool of them.
    pub(crate) async fn writer(&self) -> Result<Option<Connection>, PageError> {
        let Some(writers) = &self.writers else {
            return Ok(None);
        };
        let connection = tokio::time::timeout(self.limits.connection, writers.connection())
            .await
            .map_err(|_| PageError::Unavailable("writer pool timeout"))?;
        connection
            .map(Some)
            .map_err(|_| PageError::Unavailable("writer pool"))
    }
}

/// Whether the console offers downloads, and how large one may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exports {
    pub(crate) max_rows: Option<u64>,
}

impl Exports {
    /// Downloads of at most this number of changes. A larger one is refused, never cut.
    #[must_use]
    pub fn max_rows(rows: u64) -> Self {
        Self {
            max_rows: Some(rows),
        }
    }

    /// No downloads.
    #[must_use]
    pub fn off() -> Self {
        Self { max_rows: None }
    }
}

impl Default for Exports {
    fn default() -> Self {
        Self::max_rows(DEFAULT_MAX_ROWS)
    }
}

/// The host's name on every page, and its own start page.
///
/// ```
/// use threadline_surface::Branding;
///
/// let branding = Branding::named("Acme audit").home("https://ops.acme.example/");
/// # let _ = branding;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branding {
    pub(crate) name: String,
    pub(crate) home: Option<String>,
}

impl Branding {
    /// The name in the header and in titles.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            home: None,
        }
    }

    /// The address of the link that leaves the console: a path, or an http or https address.
    #[must_use]
    pub fn home(mut self, address: impl Into<String>) -> Self {
        self.home = Some(address.into());
        self
    }
}

impl Default for Branding {
    fn default() -> Self {
        Self::named("Audit")
    }
}

/// Limits of requests.
///
/// ```
/// use std::time::Duration;
/// use threadline_surface::Limits;
///
/// let limits = Limits::default().statement_timeout(Duration::from_secs(5));
/// # let _ = limits;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) address_bytes: usize,
    pub(crate) authorize: Duration,
    pub(crate) connection: Duration,
    pub(crate) statement: Duration,
    pub(crate) request: Duration,
    pub(crate) downloads: usize,
    pub(crate) download: Duration,
    pub(crate) scans: usize,
    pub(crate) requests: u32,
}

impl Limits {
    /// The time after which PostgreSQL cancels a statement of a page: 3 s unless set.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement = timeout;
        self
    }

    /// The time limit of a page, and of a download whose client reads nothing: 30 s unless set.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request = timeout;
        self
    }

    /// The number of downloads at once, each of which has a connection: 2 unless set.
    #[must_use]
    pub fn downloads(mut self, number: usize) -> Self {
        self.downloads = number;
        self
    }

    /// The time after which a download is given up, because it keeps a connection: 10 minutes unless set.
    #[must_use]
    pub fn download_timeout(mut self, timeout: Duration) -> Self {
        self.download = timeout;
        self
    }

    /// The number of searches in stored values at once: 2 unless set.
    #[must_use]
    pub fn scans(mut self, number: usize) -> Self {
        self.scans = number;
        self
    }

    /// The number of pages, parts of pages and files that an actor may request in 10 seconds: 60 unless set. A
    /// further request gets 429. Requests without an actor, and of anonymous actors, are not counted.
    #[must_use]
    pub fn requests(mut self, number: u32) -> Self {
        self.requests = number;
        self
    }

    /// The time that `authorize` has to answer: 2 s unless set.
    #[must_use]
    pub fn authorize_timeout(mut self, timeout: Duration) -> Self {
        self.authorize = timeout;
        self
    }

    /// The longest body of a request: 16 KiB unless set.
    #[must_use]
    pub fn body_bytes(mut self, bytes: usize) -> Self {
        self.body_bytes = bytes;
        self
    }

    /// The longest path and query: 8 KiB unless set.
    #[must_use]
    pub fn address_bytes(mut self, bytes: usize) -> Self {
        self.address_bytes = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 * 1024,
            address_bytes: 8 * 1024,
            authorize: Duration::from_secs(2),
            connection: Duration::from_secs(3),
            statement: Duration::from_secs(3),
            request: Duration::from_secs(30),
            downloads: 2,
            download: Duration::from_secs(600),
            scans: 2,
            requests: 60,
        }
    }
}
