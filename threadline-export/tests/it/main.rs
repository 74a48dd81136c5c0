//! Exports from a `PostgreSQL` server, read back by independent tools.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod archive;
mod delivery;
mod files;
mod flat;
mod harness;
mod jobs;
mod limits;
mod plans;
mod python;
mod read_back;
mod receiver;
mod seal;
mod streams;
