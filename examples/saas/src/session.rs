//! Who is asking: sessions, and the head of a request read against them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use threadline::ActorRef;
use threadline::context::InvalidActor;
use threadline::plug::ContextOverrides;
use uuid::Uuid;

use crate::app::App;
use crate::error::AppError;
use crate::schema::members;

/// The header in which staff say for whom they act.
pub const IMPERSONATE: &str = "x-impersonate";

/// A member in whose place things are done.
#[derive(Debug, Clone)]
pub struct CurrentMember {
    /// The member, as the trail names them.
    pub actor: ActorRef,
    /// How they sign in.
    pub handle: String,
    /// Whom they work for.
    pub organization_id: i64,
}

impl CurrentMember {
    /// A member who exists.
    ///
    /// # Errors
    /// [`InvalidActor`] when the handle cannot name an actor.
    pub fn new(handle: String, organization_id: i64) -> Result<Self, InvalidActor> {
        Ok(Self {
            actor: ActorRef::user(&handle)?,
            handle,
            organization_id,
        })
    }
}

/// Who is behind a request.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A member, for themselves.
    Member(CurrentMember),
    /// One of us, perhaps in a member's place.
    Staff {
        /// Who it really is.
        actor: ActorRef,
        /// In whose place.
        acting_for: Option<CurrentMember>,
    },
}

impl Identity {
    /// Who it really is.
    #[must_use]
    pub fn actor(&self) -> ActorRef {
        match self {
            Self::Member(member) => member.actor.clone(),
            Self::Staff { actor, .. } => actor.clone(),
        }
    }
}

/// The sessions that are open, by token. In memory: an example forgets when it stops.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<RwLock<HashMap<String, Identity>>>);

impl Sessions {
    /// Opens a session for somebody under a token that was agreed upon.
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

    /// Opens a session for one of us.
    ///
    /// # Errors
    /// [`InvalidActor`] when the name cannot name an actor.
    pub fn open_for_staff(&self, token: String, name: &str) -> Result<(), InvalidActor> {
        let staff = Identity::Staff {
            actor: ActorRef::admin(name)?,
            acting_for: None,
        };
        self.open(token, staff);
        Ok(())
    }

    fn find(&self, token: &str) -> Option<Identity> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.get(token).cloned()
    }
}

/// Finds out who asks, before anything else. Somebody without a token stays unknown; a wrong one
/// is refused.
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
        return Ok(None);
    };
    let identity = authorization
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| app.sessions().find(token))
        .ok_or(AppError::SignInFirst)?;
    let Some(handle) = headers.get(IMPERSONATE) else {
        return Ok(Some(identity));
    };
    match identity {
        Identity::Member(_) => Err(AppError::NotStaff),
        Identity::Staff { actor, .. } => {
            let handle = handle.to_str().map_err(|_| AppError::NoSuch("member"))?;
            let acting_for = Some(find_member(app, handle).await?);
            Ok(Some(Identity::Staff { actor, acting_for }))
        }
    }
}

async fn find_member(app: &App, handle: &str) -> Result<CurrentMember, AppError> {
    let organization_id = members::table
        .find(handle)
        .select(members::organization_id)
        .first(&mut app.conn().await?)
        .await
        .optional()?
        .ok_or(AppError::NoSuch("member"))?;
    Ok(CurrentMember::new(handle.to_owned(), organization_id)?)
}

/// Tells the audit layer what no header may tell: on whose behalf.
pub(crate) fn overrides(parts: &Parts) -> ContextOverrides {
    let represented = match parts.extensions.get::<Identity>() {
        Some(Identity::Staff { acting_for, .. }) => acting_for.as_ref(),
        _ => None,
    };
    ContextOverrides::new().on_behalf_of(represented.map(|member| member.actor.clone()))
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentMember {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        match parts.extensions.get::<Identity>() {
            None => Err(AppError::SignInFirst),
            Some(
                Identity::Member(member)
                | Identity::Staff {
                    acting_for: Some(member),
                    ..
                },
            ) => Ok(member.clone()),
            Some(Identity::Staff { .. }) => Err(AppError::ActForWhom),
        }
    }
}
