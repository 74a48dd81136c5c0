//! The routes: the one table that the router, the navigation and the tests are made of.

use axum::http::Method;
use futures_util::future::BoxFuture;

use crate::access::Capability;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::screens::{
    assets, change, count, follow, help, not_found, preferences, row, start, timeline, transaction,
    volume,
};

/// A route of the console, below its base path.
#[derive(Debug)]
pub struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) screen: &'static str,
    pub(crate) capability: Option<Capability>,
    pub(crate) nav: Option<Nav>,
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
#[allow(
    dead_code,
    reason = "Verify and Prove have entries when their screens exist"
)]
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

/// A screen that reads nothing.
pub(crate) type StaticScreen = fn(&GrantedRequest) -> Result<Screen, PageError>;

/// The function of a screen.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Gets a connection in a read-only transaction with one snapshot.
    Read(ReadScreen),
    /// Gets a connection in a read-only transaction in which each statement has its own snapshot.
    ReadCommitted(ReadScreen),
    /// Gets no connection, and works while the database is away.
    Static(StaticScreen),
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
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
        handler,
    }
}

/// A route by POST.
const fn post(path: &'static str, screen: &'static str, handler: Handler) -> Route {
    Route {
        method: Method::POST,
        path,
        screen,
        capability: None,
        nav: None,
        handler,
    }
}

impl Route {
    /// Adds an entry of the navigation.
    const fn nav(mut self, group: NavGroup, label: &'static str) -> Self {
        self.nav = Some(Nav { group, label });
        self
    }
}

/// All routes. A new screen is a file in `screens` and a line here.
pub static SCREENS: &[Route] = &[
    get(
        "/",
        "start",
        Some(Capability::Read),
        Handler::Static(start::show),
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
