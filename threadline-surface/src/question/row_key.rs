//! Keys of rows as given in addresses.

use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;
use threadline_diesel::query::{KeyError, TableQuery};
use threadline_diesel::{CaptureStatus, capture_status, resolve_key};

use super::parameters::FieldError;
use crate::page_error::PageError;
use crate::request::PageContext;

/// The stored form of a key. A key that does not fit its table is an error at the field `key`, unless the
/// scope hides the table: then no row has the key.
pub(crate) async fn resolve_row_key(
    context: &mut PageContext<'_>,
    table: &TableName,
    key: &RowKeyInput,
) -> Result<RowKeyText, PageError> {
    let message = match resolve_key(context.conn, table, key).await {
        Ok(key) => return Ok(key),
        Err(KeyError::Read(error)) => return Err(error.into()),
        Err(KeyError::Key(wrong)) => wrong.to_string(),
        Err(KeyError::Value(wrong)) => wrong.to_string(),
        Err(_) => return Err(PageError::Internal("key")),
    };
    if let Some(scope) = context.request.scope() {
        let query = TableQuery::new(table.clone()).scope(scope);
        if matches!(
            capture_status(context.conn, query).await?,
            CaptureStatus::Unknown
        ) {
            return Ok(RowKeyText::from_stored(key.as_str().to_owned()));
        }
    }
    Err(PageError::Invalid(vec![FieldError {
        field: "key".to_owned(),
        value: key.as_str().to_owned(),
        message,
    }]))
}
