#![doc = include_str!("../README.md")]

pub mod actions;
mod answers;
pub mod as_of;
#[cfg(any(feature = "sync", feature = "async"))]
mod audited;
pub mod baseline;
pub mod blocking;
pub mod change;
mod condition;
pub mod continuity;
mod deployed;
pub mod diff;
pub mod coverage;
pub mod doctor;
pub mod error;
pub mod feed;
pub mod history;
pub mod incident;
pub mod introspection;
pub mod json;
pub mod migrations;
#[cfg(feature = "async")]
pub mod nonblocking;
mod operations;
pub mod page;
pub mod policy;
mod past;
mod rewriting;
pub mod retention;
pub mod schema;
mod sql_tokens;
#[cfg(any(feature = "sync", feature = "async"))]
mod statements;
pub mod time_travel;
pub mod timeline;
#[cfg(any(feature = "sync", feature = "async"))]
pub mod write;
