//! The console on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod access;
mod actions;
mod actor;
mod change;
mod completeness;
mod correlation;
mod coverage;
mod download;
mod evidence;
mod exports;
mod find;
mod harness;
mod headers;
mod leaks;
mod mounting;
mod moved;
mod preferences;
mod redaction;
mod report;
mod retention;
mod row;
mod schedules;
mod standby;
mod start;
mod telemetry;
mod timeline;
mod transaction;
mod views;
