//! A request that was granted.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Method;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::{PgExpressionMethods, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline_core::actor::ActorRef;
use threadline_core::table::AuditedTable;
use threadline_diesel::query::{TransactionSummaries, TransactionSummary};
use threadline_diesel::schema::audit_actions;
use threadline_diesel::{
    Actions, AuditAction, Page, ReadError, Scope, Timeline, actions, deployed_tables,
    transaction_summaries,
};
use uuid::Uuid;

use crate::access::{Capability, Grant};
use crate::href::Href;
use crate::page_error::PageError;
use crate::preferences::Preferences;
use crate::question::{ChangeFilters, Parameters, resolve_row_key};
use crate::route::Route;
use crate::routes::SCREENS;
use crate::settings::Settings;

/// The category of the actions that the console records.
pub(crate) const CONSOLE_CATEGORY: &str = "console";

/// A granted request: the settings, the rights and the address. Every view takes it.
#[derive(Clone)]
pub(crate) struct GrantedRequest {
    pub(crate) settings: Arc<Settings>,
    pub(crate) route: &'static Route,
    pub(crate) grant: Grant,
    /// The actor who is looking.
    pub(crate) actor: Option<ActorRef>,
    pub(crate) preferences: Preferences,
    /// The path at which the console is mounted.
    pub(crate) base: String,
    /// The nonce of the content security policy.
    pub(crate) nonce: String,
    /// The instant of the request, to which relative times refer.
    pub(crate) now: DateTime<Utc>,
    pub(crate) method: Method,
    /// The path below the base path.
    pub(crate) path: String,
    pub(crate) query: String,
    /// The body of a form; empty for other methods.
    pub(crate) form: String,
    /// The entity tag of the answer that the client has; empty if it has none.
    pub(crate) if_none_match: String,
    /// Whether cookies of this request are `Secure`.
    pub(crate) is_secure: bool,
}

impl GrantedRequest {
    /// The address of a path of the console.
    pub(crate) fn href(&self, path: &'static str) -> Href {
        Href::new(&self.base, path)
    }

    /// The address of another screen, by its name in the routes; none if there is no such screen, or the grant
    /// does not include it. Links use it, so that none is dead.
    pub(crate) fn screen(&self, name: &str) -> Option<Href> {
        let route = SCREENS.iter().find(|route| route.screen == name)?;
        let is_allowed = route.capability.is_none_or(|one| self.allows(one));
        is_allowed.then(|| self.href(route.path))
    }

    /// The address of this page, to return to after a form.
    pub(crate) fn address(&self) -> String {
        let query = if self.query.is_empty() { "" } else { "?" };
        format!("{}{}{query}{}", self.base, self.path, self.query)
    }

    /// The address of this list at its first page.
    pub(crate) fn first_page(&self) -> Href {
        let pairs = form_urlencoded::parse(self.query.as_bytes());
        let pairs = pairs.filter(|(name, _)| !matches!(&**name, "after" | "before"));
        self.href(self.route.path).with_all(pairs)
    }

    /// Whether the answer has a body, which the answer to HEAD has not.
    pub(crate) fn wants_body(&self) -> bool {
        self.method != Method::HEAD
    }

    /// The parameters of the query.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters::parse(&self.query)
    }

    /// The parameters of a form.
    pub(crate) fn form_parameters(&self) -> Parameters {
        Parameters::parse(&self.form)
    }

    /// Whether the answer is a JSON document: `format=json`, or the address of one.
    pub(crate) fn wants_json(&self) -> bool {
        self.path == "/report.json" || self.parameters().is_json()
    }

    /// The time zone in which instants are shown and read.
    pub(crate) fn zone(&self) -> Tz {
        self.preferences.zone
    }

    /// The scope that every question gets.
    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.grant.scope()
    }

    /// A query within the scope, by its method: `scoped(Timeline::new(), Timeline::scope)`.
    pub(crate) fn scoped<Q>(&self, query: Q, restrict: fn(Q, &Scope) -> Q) -> Q {
        match self.scope() {
            Some(scope) => restrict(query, scope),
            None => query,
        }
    }

    /// Whether the grant has a capability, and the console offers it.
    pub(crate) fn allows(&self, capability: Capability) -> bool {
        self.settings.offers(capability) && self.grant.allows(capability)
    }
}

/// A granted request with its connection, in a read-only transaction.
pub(crate) struct PageContext<'a> {
    pub(crate) conn: &'a mut AsyncPgConnection,
    pub(crate) request: &'a GrantedRequest,
}

impl PageContext<'_> {
    /// The redaction rules of the captured tables, as deployed.
    pub(crate) async fn rules(&mut self) -> Result<Vec<AuditedTable>, PageError> {
        Ok(deployed_tables(self.conn).await?)
    }

    /// A page of actions in the scope of the grant. Those of the console need the capability `log`.
    pub(crate) async fn actions(&mut self, query: Actions) -> Result<Page<AuditAction>, PageError> {
        let query = self.request.scoped(query, Actions::scope);
        if self.request.allows(Capability::Log) {
            return Ok(actions(self.conn, &query).await?);
        }
        let visible = query.query().map_err(ReadError::from)?;
        let visible = visible.filter(audit_actions::category.is_distinct_from(CONSOLE_CATEGORY));
        Ok(query.page(visible.load(self.conn).await?))
    }

    /// What transactions changed, in the scope of the grant.
    pub(crate) async fn summaries(
        &mut self,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Vec<TransactionSummary>, PageError> {
        let ids: BTreeSet<_> = ids.into_iter().collect();
        let query = TransactionSummaries::new(ids.into_iter().map(Into::into));
        let query = self.request.scoped(query, TransactionSummaries::scope);
        Ok(transaction_summaries(self.conn, &query).await?)
    }

    /// The timeline with these filters, in the scope of the grant.
    pub(crate) async fn timeline(
        &mut self,
        filters: &ChangeFilters,
    ) -> Result<Timeline, PageError> {
        let key = match (&filters.fields.table, &filters.fields.key) {
            (Some(table), Some(key)) => Some(resolve_row_key(self, table, key).await?),
            _ => None,
        };
        Ok(filters.timeline(key.as_ref(), self.request.scope())?)
    }
}
