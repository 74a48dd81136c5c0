//! Answers as text for people and as JSON.

pub(crate) mod coverage;
pub(crate) mod evidence;
pub(crate) mod incident;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod page;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod retention;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod timeline;
