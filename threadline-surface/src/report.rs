//! Reports: the answer to a ticket, made from the trail, with a digest by which a later reader sees whether it
//! is still the same.

mod evidence;
mod question;
mod read;
mod sentences;

pub(crate) use self::evidence::{Evidence, digest};
pub(crate) use self::question::ReportQuestion;
pub(crate) use self::read::{MAX_CHANGES, Report, read};
pub(crate) use self::sentences::{sentences, unknown};
