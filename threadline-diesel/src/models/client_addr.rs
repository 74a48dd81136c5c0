//! The address of a client.

use std::fmt;
use std::net::IpAddr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Inet;
use serde::Serialize;

/// The address of a client, as PostgreSQL sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, FromSqlRow)]
#[serde(transparent)]
pub struct ClientAddr(pub IpAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromSql<Inet, Pg> for ClientAddr {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        // Family, bits of the netmask, whether it is a cidr, length of the address, address.
        let [_, _, _, _, address @ ..] = value.as_bytes() else {
            return Err("an inet value has a header of 4 bytes".into());
        };
        if let Ok(v4) = <[u8; 4]>::try_from(address) {
            return Ok(Self(v4.into()));
        }
        Ok(Self(<[u8; 16]>::try_from(address)?.into()))
    }
}
