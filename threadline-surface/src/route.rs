//! A route: its address, what a grant needs for it, and the function of its screen.

use axum::http::Method;
use futures_util::future::BoxFuture;

use crate::access::Capability;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};

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
pub(crate) const fn get(
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

/// A route by POST.
pub(crate) const fn post(
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
    pub(crate) const fn nav(mut self, group: NavGroup, label: &'static str) -> Self {
        self.nav = Some(Nav { group, label });
        self
    }

    /// Marks the answer as a file.
    pub(crate) const fn file(mut self) -> Self {
        self.is_file = true;
        self
    }
}
