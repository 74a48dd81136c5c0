//! Exports from a real `PostgreSQL`, read back by tools that others wrote.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod files;
mod harness;
mod limits;
mod plans;
mod read_back;
mod streams;
