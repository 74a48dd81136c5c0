//! The screens, one file each: a function from a request to a page.

pub(crate) mod assets;
pub(crate) mod change;
pub(crate) mod count;
pub(crate) mod follow;
pub(crate) mod help;
pub(crate) mod not_found;
pub(crate) mod preferences;
pub(crate) mod row;
pub(crate) mod start;
pub(crate) mod timeline;
pub(crate) mod transaction;
pub(crate) mod volume;
