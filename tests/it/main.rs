//! Scenarios against a real PostgreSQL server. One binary, one module per area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    clippy::format_push_string,
    reason = "tests fail by panicking, and a scenario reads best in one function"
)]

mod actions;
mod altered_tables;
mod as_of;
mod attribution;
mod audited_commit;
mod audited_write;
mod baseline;
mod capture;
mod child_history;
mod coverage;
mod diff;
mod doctor;
mod documents;
mod drift;
mod empty;
mod erasure;
mod evidence;
mod exactness;
mod faults;
mod feed;
mod filters;
mod follow;
mod forgery;
mod gaps;
mod getting_started;
mod guides;
mod harness;
mod identity;
mod implausible;
mod installing;
mod introspection;
mod investigation;
mod model;
mod movement;
mod odd_rows;
mod overview;
mod paging;
mod partitions;
mod plans;
mod pooling;
mod redaction;
mod removal;
mod replica;
mod restore;
mod retention;
mod saved_views;
mod scope;
mod suspension;
mod telemetry;
mod time_travel;
mod truncation;
mod trust;
mod virtual_columns;
