#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async")]
mod accompanied;
pub mod actions;
mod answers;
pub mod as_of;
#[cfg(any(feature = "sync", feature = "async"))]
mod audited;
pub mod baseline;
pub mod blocking;
pub mod capture_start;
#[cfg(feature = "async")]
mod captured_table;
pub mod change;
mod circumstances;
mod condition;
pub mod correlation;
pub mod coverage;
mod deployed;
pub mod diff;
pub mod doctor;
pub mod error;
#[cfg(feature = "async")]
pub mod feed;
pub mod history;
pub mod incident;
pub mod introspection;
pub mod json;
pub mod key_columns;
pub mod migrations;
pub mod moments;
#[cfg(feature = "async")]
pub mod nonblocking;
mod operations;
pub mod page;
mod past;
pub mod policy;
#[cfg(feature = "async")]
pub mod retention;
pub mod schema;
pub mod scope;
pub mod standing;
#[cfg(any(feature = "sync", feature = "async"))]
mod statements;
pub mod terms;
#[cfg(feature = "async")]
pub mod time_travel;
pub mod timeline;
pub mod transactions;
#[cfg(any(feature = "sync", feature = "async"))]
pub mod write;
