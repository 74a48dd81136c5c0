//! The console on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod access;
mod change;
mod harness;
mod headers;
mod mounting;
mod preferences;
mod row;
mod timeline;
mod transaction;
