//! The operator console at `/audit`: who may use it, and what each may see.

use axum::http::Extensions;
use threadline::evidence::EvidenceError;
use threadline::export::storage::Storages;
use threadline::query::{InvalidFilterValue, MetaPattern};
use threadline::retention::{InvalidRetention, Keep, RetentionPolicy};
use threadline::surface::{Branding, BuildError, Capability, Console, Decision, Denial, Grant};
use threadline::{Scope, TableName};

use crate::background;
use crate::database::Pool;
use crate::session::{Identity, ORGANIZATION, StaffRole};
use crate::staff::SIGN_IN;

/// Builds the console and starts the worker of its exports and checks. In production the pools have roles of their
/// own: the readers may only read the trail.
pub(crate) fn build(pool: Pool, storages: Storages) -> Result<Console, ConsoleError> {
    let retention = retention_policy()?;
    let plan = background::evidence_plan(retention.clone())?;
    background::start_worker(pool.clone(), storages.clone(), plan.clone());
    let console = Console::builder(pool.clone())
        .authorize(|visit| async move { decide(&visit.parts().extensions) })
        .writer(pool)
        .background(storages)
        .evidence(plan)
        .retention(retention)
        .branding(Branding::named("Saas audit"))
        .build()?;
    Ok(console)
}

/// Changes are kept for a year, invoices for ten.
fn retention_policy() -> Result<RetentionPolicy, InvalidRetention> {
    RetentionPolicy::keep(Keep::days(365)?)
        .table(TableName::new("public", "invoices"), Keep::days(3650)?)
        .enabled()
        .build()
}

/// An error of the console's settings.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum ConsoleError {
    /// The console cannot be built.
    Build(#[from] BuildError),
    /// The retention policy is invalid.
    Retention(#[from] InvalidRetention),
    /// The plan of checks is invalid.
    Evidence(#[from] EvidenceError),
}

/// The part of the trail about an organization.
pub(crate) fn organization_scope(organization_id: i64) -> Result<Scope, InvalidFilterValue> {
    let organization = MetaPattern::field(ORGANIZATION, organization_id)?;
    Ok(Scope::new()
        .meta(&organization)
        .actions_with_visible_changes())
}

/// Administrators see everything, support staff one organization with exports in the background. Members do not learn
/// that there is a console.
fn decide(extensions: &Extensions) -> Result<Decision, InvalidFilterValue> {
    Ok(match extensions.get() {
        None => Denial::SignIn(SIGN_IN.to_owned()).into(),
        Some(Identity::Member(_)) => Denial::Hidden.into(),
        Some(Identity::Staff { role, .. }) => match *role {
            StaffRole::Admin => Grant::everything().label("Admin").into(),
            StaffRole::Support { organization_id } => {
                let scope = organization_scope(organization_id)?;
                let label = format!("Support: organization {organization_id}");
                Grant::support(scope)
                    .with(Capability::Background)
                    .scope_key(background::scope_key(organization_id))
                    .label(label)
                    .into()
            }
        },
    })
}
