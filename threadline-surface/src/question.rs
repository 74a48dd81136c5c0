//! Addresses and questions: one parser of parameters for all screens, and its inverse.

mod chart_by;
mod filters;
mod instant;
mod paging;
mod parameters;
mod row;
mod row_key;
mod timeline;
mod timeline_terminal;
mod window;

pub(crate) use self::chart_by::ChartBy;
pub(crate) use self::filters::ChangeFilters;
pub(crate) use self::instant::{GivenInstant, instant_text};
pub(crate) use self::paging::Paging;
pub(crate) use self::parameters::{FieldError, Parameters};
pub(crate) use self::row::RowQuestion;
pub(crate) use self::row_key::resolve_row_key;
pub(crate) use self::timeline::TimelineQuestion;
pub(crate) use self::timeline_terminal::timeline_terminal;
pub(crate) use self::window::Window;
