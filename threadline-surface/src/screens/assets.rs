//! Style sheet, script and icon.

use crate::assets;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::request::GrantedRequest;

pub(crate) fn show(request: &GrantedRequest) -> Result<Screen, PageError> {
    let name = request.path.rsplit('/').next().unwrap_or_default();
    assets::find(name)
        .map(Screen::Asset)
        .ok_or(PageError::NotFound)
}
