//! Addresses and questions: one parser of parameters for all screens, and its inverse.

mod filters;
mod instant;
mod paging;
mod parameters;

pub(crate) use self::filters::ChangeFilters;
pub(crate) use self::instant::{GivenInstant, parse_instant};
pub(crate) use self::paging::Paging;
pub(crate) use self::parameters::{FieldError, Parameters};
