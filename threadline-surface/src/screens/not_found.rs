//! Addresses without a screen.

use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;

#[allow(clippy::unnecessary_wraps, reason = "the signature of a screen")]
pub(crate) fn show(_: &GrantedRequest) -> Result<Screen, PageError> {
    Err(PageError::NotFound)
}
