#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod action;
pub mod actor;
pub mod capture;
pub mod column_type;
pub mod context;
pub mod diesel_table;
pub mod expected_gap;
pub mod identifier;
pub mod install;
#[cfg(feature = "time-zones")]
pub mod instant;
pub mod registry;
pub mod replica;
pub mod retention;
pub mod row_key;
pub mod storage;
pub mod table;
mod table_name;
pub mod telemetry;
pub mod terminal;
pub mod transaction;
pub mod work;

pub use registry::Audited;

// Under their own names, so that another crate can re-export the macros without the modules.
#[doc(inline)]
pub use crate::{__action as action, __expected_gap as expected_gap};

/// Items for the expansion of macros. Not public API.
#[doc(hidden)]
pub mod __private {
    pub use diesel;
    pub use inventory;

    pub use crate::diesel_table::from_diesel_table;
    pub use crate::registry::{Audited, Registration};
    pub use crate::table::{ActorPolicy, AuditedTable, InvalidTable};
}
