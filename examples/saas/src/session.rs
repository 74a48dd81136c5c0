//! Sessions, and the authentication of requests by their headers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use threadline::ActorRef;
use threadline::context::{AuditContext, InvalidActor};
use threadline::plug::ContextOverrides;
use uuid::Uuid;

use crate::app::App;
use crate::error::AppError;
use crate::schema::members;

/// The cookie of staff who are signed in to the console. Browsers send it to the console only.
pub(crate) const STAFF_COOKIE: &str = "staff";

/// The field of the context's `meta` that names the organization.
pub(crate) const ORGANIZATION: &str = "organization_id";

/// The header in which staff name the member they act for.
pub const IMPERSONATE: &str = "x-impersonate";

/// The member that a request acts as: the signed-in member, or the one that staff act for.
#[derive(Debug, Clone)]
pub struct CurrentMember {
    /// The member as an actor of the trail.
    pub actor: ActorRef,
    /// The name for signing in.
    pub handle: String,
    /// The organization.
    pub organization_id: i64,
}

impl CurrentMember {
    /// Creates the value from a stored member.
    ///
    /// # Errors
    /// [`InvalidActor`] if the handle is not a valid actor id.
    pub fn new(handle: String, organization_id: i64) -> Result<Self, InvalidActor> {
        Ok(Self {
            actor: ActorRef::user(&handle)?,
            handle,
            organization_id,
        })
    }
}

/// What a staff user may see in the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaffRole {
    /// Everything.
    Admin,
    /// The changes of one organization, with exports in the background.
    Support {
        /// The organization.
        organization_id: i64,
    },
}

/// The authenticated user of a request.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A member.
    Member(CurrentMember),
    /// A staff user, optionally acting for a member.
    Staff {
        /// The staff user.
        actor: ActorRef,
        /// The staff user's rights.
        role: StaffRole,
        /// The member that the staff user acts for.
        acting_for: Option<CurrentMember>,
    },
}

impl Identity {
    /// The actor: the user who is signed in, not the represented member.
    #[must_use]
    pub fn actor(&self) -> ActorRef {
        match self {
            Self::Member(member) => member.actor.clone(),
            Self::Staff { actor, .. } => actor.clone(),
        }
    }

    /// The member that the request acts as.
    fn member(&self) -> Option<&CurrentMember> {
        match self {
            Self::Member(member) => Some(member),
            Self::Staff { acting_for, .. } => acting_for.as_ref(),
        }
    }
}

/// The open sessions by token, in memory.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<RwLock<HashMap<String, Identity>>>);

impl Sessions {
    /// Opens a session with a given token.
    fn open(&self, token: String, identity: Identity) {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(token, identity);
    }

    /// Opens a session for a member and returns its token.
    pub(crate) fn open_for_member(&self, member: CurrentMember) -> String {
        let token = Uuid::new_v4().to_string();
        self.open(token.clone(), Identity::Member(member));
        token
    }

    /// Opens a session for an administrator with a given token.
    ///
    /// # Errors
    /// [`InvalidActor`] if the name is not a valid actor id.
    pub fn open_for_admin(&self, token: String, name: &str) -> Result<(), InvalidActor> {
        self.open_for_staff(token, name, StaffRole::Admin)
    }

    /// Opens a session for a support user of one organization with a given token.
    ///
    /// # Errors
    /// [`InvalidActor`] if the name is not a valid actor id.
    pub fn open_for_support(
        &self,
        token: String,
        name: &str,
        organization_id: i64,
    ) -> Result<(), InvalidActor> {
        self.open_for_staff(token, name, StaffRole::Support { organization_id })
    }

    fn open_for_staff(
        &self,
        token: String,
        name: &str,
        role: StaffRole,
    ) -> Result<(), InvalidActor> {
        let staff = Identity::Staff {
            actor: ActorRef::admin(name)?,
            role,
            acting_for: None,
        };
        self.open(token, staff);
        Ok(())
    }

    pub(crate) fn find(&self, token: &str) -> Option<Identity> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.get(token).cloned()
    }
}

/// Sets the [`Identity`] of a request from its token. Requests without a token have no identity; an unknown
/// token is an error.
pub(crate) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, AppError> {
    if let Some(identity) = identify(&app, request.headers()).await? {
        request.extensions_mut().insert(identity);
    }
    Ok(next.run(request).await)
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Option<Identity>, AppError> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return Ok(staff_cookie(headers).and_then(|token| app.sessions().find(token)));
    };
    let identity = authorization
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| app.sessions().find(token))
        .ok_or(AppError::Unauthenticated)?;
    let Some(handle) = headers.get(IMPERSONATE) else {
        return Ok(Some(identity));
    };
    match identity {
        Identity::Member(_) => Err(AppError::NotStaff),
        Identity::Staff { actor, role, .. } => {
            let handle = handle.to_str().map_err(|_| AppError::NotFound("member"))?;
            let member = find_member(app, handle).await?;
            if let StaffRole::Support { organization_id } = role
                && organization_id != member.organization_id
            {
                return Err(AppError::NotFound("member"));
            }
            Ok(Some(Identity::Staff {
                actor,
                role,
                acting_for: Some(member),
            }))
        }
    }
}

fn staff_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| {
        let (name, value) = cookie.split_once('=')?;
        (name == STAFF_COOKIE).then_some(value)
    })
}

async fn find_member(app: &App, handle: &str) -> Result<CurrentMember, AppError> {
    let organization_id = members::table
        .find(handle)
        .select(members::organization_id)
        .first(&mut app.conn().await?)
        .await
        .optional()?
        .ok_or(AppError::NotFound("member"))?;
    Ok(CurrentMember::new(handle.to_owned(), organization_id)?)
}

/// Sets the represented member in the audit context, which no header can set.
pub(crate) fn overrides(parts: &Parts) -> ContextOverrides {
    let represented = match parts.extensions.get::<Identity>() {
        Some(Identity::Staff { acting_for, .. }) => acting_for.as_ref(),
        _ => None,
    };
    ContextOverrides::new().on_behalf_of(represented.map(|member| member.actor.clone()))
}

/// Adds the organization of the request's member to the audit context: support staff see the changes of
/// one organization.
pub(crate) async fn add_organization(mut request: Request) -> Request {
    let member = request.extensions().get().and_then(Identity::member);
    if let Some(organization_id) = member.map(|member| member.organization_id)
        && let Some(context) = request.extensions_mut().get_mut::<AuditContext>()
    {
        *context = context.clone().meta(ORGANIZATION, organization_id);
    }
    request
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentMember {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        match parts.extensions.get::<Identity>() {
            None => Err(AppError::Unauthenticated),
            Some(
                Identity::Member(member)
                | Identity::Staff {
                    acting_for: Some(member),
                    ..
                },
            ) => Ok(member.clone()),
            Some(Identity::Staff { .. }) => Err(AppError::NoMemberNamed),
        }
    }
}
