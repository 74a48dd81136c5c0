//! Handlers that invite members and change their address and password.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use threadline::context::ActorType;
use threadline::erasure::SubjectMap;
use threadline::plug::Audit;
use threadline::table::InvalidTableName;
use threadline::{ActorRef, AuditedWrite, action, audited};

use crate::app::App;
use crate::error::AppError;
use crate::models::{Member, MemberChanges};
use crate::password::{Password, PasswordHash};
use crate::schema::members;
use crate::session::CurrentMember;

/// The body of a request for a new member.
#[derive(Debug, Deserialize)]
pub(crate) struct NewMember {
    handle: String,
    name: String,
    email: String,
    password: Password,
}

/// A new member with a hashed password.
#[derive(Debug)]
pub(crate) struct HashedMember {
    handle: String,
    name: String,
    email: String,
    password_hash: PasswordHash,
}

impl NewMember {
    pub(crate) async fn with_hashed_password(self) -> Result<HashedMember, AppError> {
        ActorRef::user(&self.handle)?;
        Ok(HashedMember {
            handle: self.handle,
            name: self.name,
            email: self.email,
            password_hash: PasswordHash::hash(self.password).await?,
        })
    }
}

impl HashedMember {
    pub(crate) fn into_member(self, organization_id: i64) -> Member {
        Member {
            handle: self.handle,
            organization_id,
            name: self.name,
            email: self.email,
            password_hash: self.password_hash,
        }
    }
}

/// `POST /members`: adds a member to the organization of the signed-in member.
pub(crate) async fn invite(
    State(app): State<App>,
    Audit(context): Audit,
    inviting: CurrentMember,
    Json(invited): Json<NewMember>,
) -> Result<StatusCode, AppError> {
    let invited = invited.with_hashed_password().await?;
    let write = AuditedWrite::new(context).action(action!("member.invite"));
    let mut conn = app.conn().await?;
    audited(&mut conn, &write, async |conn| {
        diesel::insert_into(members::table)
            .values(invited.into_member(inviting.organization_id))
            .execute(conn)
            .await
            .map_err(AppError::from)
    })
    .await?;
    Ok(StatusCode::CREATED)
}

/// The body of a request that changes a member; absent fields stay unchanged.
#[derive(Debug, Deserialize)]
pub(crate) struct MemberUpdate {
    email: Option<String>,
    password: Option<Password>,
}

/// `PATCH /members/me`: changes the address, the password, or both.
pub(crate) async fn change(
    State(app): State<App>,
    Audit(context): Audit,
    member: CurrentMember,
    Json(update): Json<MemberUpdate>,
) -> Result<StatusCode, AppError> {
    let password_hash = match update.password {
        Some(password) => Some(PasswordHash::hash(password).await?),
        None => None,
    };
    let changes = MemberChanges {
        email: update.email,
        password_hash,
    };
    if changes.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let write = AuditedWrite::new(context)
        .action(action!("member.change").meta("password_changed", changes.password_hash.is_some()));
    let mut conn = app.conn().await?;
    audited(&mut conn, &write, async |conn| {
        diesel::update(members::table.find(&member.handle))
            .set(changes)
            .execute(conn)
            .await
            .map_err(AppError::from)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where the trail has data of a person: the id is the handle of a member.
///
/// # Errors
/// Never: the names of the tables are valid.
pub fn subject_map() -> Result<SubjectMap, InvalidTableName> {
    let map = SubjectMap::new().actor(ActorType::User);
    let map = map.row("members".parse()?, ["name", "email"]);
    Ok(map.remote_addresses().action_texts())
}
