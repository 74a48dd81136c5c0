//! The operator console at `/audit`: who may use it, and what each may see.

use axum::http::Extensions;
use threadline::query::{InvalidFilterValue, MetaPattern};
use threadline::retention::{InvalidRetention, Keep, RetentionPolicy};
use threadline::surface::{Branding, BuildError, Console, Decision, Denial, Grant};
use threadline::{Scope, TableName};

use crate::database::Pool;
use crate::session::{Identity, ORGANIZATION, StaffRole};
use crate::staff::SIGN_IN;

/// Builds the console. In production the pool of the readers has a role that may only read the trail.
pub(crate) fn build(pool: Pool) -> Result<Console, ConsoleError> {
    let console = Console::builder(pool.clone())
        .authorize(|visit| async move { decide(&visit.parts().extensions) })
        .writer(pool)
        .retention(retention_policy()?)
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
}

/// Administrators see everything, support staff one organization without downloads. Members do not learn
/// that there is a console.
fn decide(extensions: &Extensions) -> Result<Decision, InvalidFilterValue> {
    Ok(match extensions.get() {
        None => Denial::SignIn(SIGN_IN.to_owned()).into(),
        Some(Identity::Member(_)) => Denial::Hidden.into(),
        Some(Identity::Staff { role, .. }) => match *role {
            StaffRole::Admin => Grant::everything().label("Admin").into(),
            StaffRole::Support { organization_id } => {
                let scope = Scope::new()
                    .meta(&MetaPattern::field(ORGANIZATION, organization_id)?)
                    .actions_with_visible_changes();
                let label = format!("Support: organization {organization_id}");
                Grant::support(scope).label(label).into()
            }
        },
    })
}
