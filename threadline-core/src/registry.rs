//! Which tables the code declares as audited.

use crate::table::{AuditedTable, InvalidTable, TableName};

/// A model whose table is under capture; implemented by `#[derive(Audited)]`.
pub trait Audited {
    /// The table the model declares.
    ///
    /// # Errors
    /// [`InvalidTable`] when the declaration contradicts the `table!`; the derive catches most of
    /// these when it compiles.
    fn audited_table() -> Result<AuditedTable, InvalidTable>;
}

/// One registered model. Submitted by the derive, collected at link time.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    module_path: &'static str,
    model: &'static str,
    table: fn() -> Result<AuditedTable, InvalidTable>,
}

inventory::collect!(Registration);

impl Registration {
    /// Registers the table a function declares, on behalf of a model in a module.
    #[must_use]
    pub const fn new(
        module_path: &'static str,
        model: &'static str,
        table: fn() -> Result<AuditedTable, InvalidTable>,
    ) -> Self {
        Self {
            module_path,
            model,
            table,
        }
    }

    /// The crate that declared the model.
    #[must_use]
    pub fn crate_name(&self) -> &'static str {
        self.module_path.split("::").next().unwrap_or_default()
    }

    /// The model's path.
    #[must_use]
    pub fn model(&self) -> String {
        format!("{}::{}", self.module_path, self.model)
    }

    /// The declared table.
    ///
    /// # Errors
    /// As [`Audited::audited_table`].
    pub fn table(&self) -> Result<AuditedTable, InvalidTable> {
        (self.table)()
    }
}

/// Every model that was linked into this program, in no particular order.
pub fn registrations() -> impl Iterator<Item = &'static Registration> {
    inventory::iter::<Registration>.into_iter()
}

/// The declared tables cannot be captured as declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A model's declaration is wrong.
    #[error("model {model}: {source}")]
    Invalid {
        /// The model's path.
        model: String,
        /// What is wrong.
        #[source]
        source: InvalidTable,
    },
    /// Two models declare one table differently.
    #[error(
        "models {first} and {second} declare different rules for table {table}; give both the \
         same rules, or derive Audited on one of them only"
    )]
    Conflict {
        /// The table.
        table: TableName,
        /// The model that came first.
        first: String,
        /// The model that disagrees.
        second: String,
    },
}

/// The tables of every linked model, each once, sorted by name.
///
/// # Errors
/// [`RegistryError`] when a declaration is wrong or two models disagree about a table.
pub fn registered_tables() -> Result<Vec<AuditedTable>, RegistryError> {
    let mut sorted: Vec<_> = registrations().collect();
    sorted.sort_by_key(|registration| registration.model());
    let mut tables: Vec<(String, AuditedTable)> = Vec::new();
    for registration in sorted {
        let model = registration.model();
        let table = registration
            .table()
            .map_err(|source| RegistryError::Invalid {
                model: model.clone(),
                source,
            })?;
        match tables
            .iter()
            .find(|(_, known)| known.name() == table.name())
        {
            None => tables.push((model, table)),
            Some((_, known)) if known == &table => {}
            Some((first, known)) => {
                return Err(RegistryError::Conflict {
                    table: known.name().clone(),
                    first: first.clone(),
                    second: model,
                });
            }
        }
    }
    let mut tables: Vec<_> = tables.into_iter().map(|(_, table)| table).collect();
    tables.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(tables)
}
