//! The screens, one file each: a function from a request to a page.

pub(crate) mod actions;
pub(crate) mod actor;
pub(crate) mod assets;
pub(crate) mod change;
pub(crate) mod correlation;
pub(crate) mod count;
pub(crate) mod coverage;
pub(crate) mod download;
pub(crate) mod find;
pub(crate) mod follow;
pub(crate) mod health;
pub(crate) mod help;
pub(crate) mod moved;
pub(crate) mod not_found;
pub(crate) mod preferences;
pub(crate) mod redaction;
pub(crate) mod report;
pub(crate) mod retention;
pub(crate) mod retention_plan;
pub(crate) mod retention_runs;
pub(crate) mod row;
pub(crate) mod start;
pub(crate) mod timeline;
pub(crate) mod transaction;
pub(crate) mod volume;
