//! One change by its id.

use super::error::InvalidQuery;
use super::scope::Scope;
use super::timeline::SelectChanges;
use super::timeline::page_query::select_change;

/// A query for one change by its id, read by [`change`](crate::change()).
///
/// ```
/// use threadline_diesel::Scope;
/// use threadline_diesel::query::ChangeById;
///
/// let support = Scope::new().tables(["invoices".parse()?]);
/// let query = ChangeById::new(1234).scope(&support);
/// # let _ = query;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeById {
    id: i64,
    scope: Option<Scope>,
}

impl From<i64> for ChangeById {
    fn from(id: i64) -> Self {
        Self::new(id)
    }
}

impl ChangeById {
    /// The change with this id.
    #[must_use]
    pub fn new(id: i64) -> Self {
        Self { id, scope: None }
    }

    /// Restricts the query to a scope: a change outside of it is not found.
    #[must_use]
    pub fn scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The statement that reads the change.
    pub(crate) fn statement(&self) -> Result<SelectChanges, InvalidQuery> {
        let visible = self
            .scope
            .as_ref()
            .map(Scope::change_condition)
            .transpose()?;
        Ok(select_change(self.id, visible))
    }
}
