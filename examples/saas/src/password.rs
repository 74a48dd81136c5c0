//! Passwords and their hashes. Neither is printed by `Debug`.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::phc;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::error::AppError;

/// A password in clear, from a request.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// An Argon2 hash of a password.
#[derive(Clone, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PasswordHash {
    /// Hashes a password on a thread for blocking work.
    pub(crate) async fn hash(password: Password) -> Result<Self, AppError> {
        blocking(move || {
            let hash: phc::PasswordHash = Argon2::default().hash_password(password.0.as_bytes())?;
            Ok(Self(hash.to_string()))
        })
        .await
    }

    /// Returns whether the password has this hash.
    pub(crate) async fn matches(self, password: Password) -> Result<bool, AppError> {
        blocking(move || {
            let hash = phc::PasswordHash::new(&self.0)?;
            match Argon2::default().verify_password(password.0.as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
) -> Result<T, AppError> {
    spawn_blocking(work)
        .await
        .map_err(|error| AppError::Password(error.into()))?
        .map_err(|error| AppError::Password(error.into()))
}

impl FromSql<Text, Pg> for PasswordHash {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <String as FromSql<Text, Pg>>::from_sql(value).map(Self)
    }
}

impl ToSql<Text, Pg> for PasswordHash {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(&self.0, out)
    }
}
