//! The registry of audited tables: models register at link time, without a list to maintain.

use crate::table::{AuditedTable, InvalidTable, TableName};

/// A model whose table is audited. Implemented by `#[derive(Audited)]`.
pub trait Audited {
    /// The declared table.
    ///
    /// # Errors
    /// [`InvalidTable`] if the declaration contradicts the `table!`. The derive reports most of
    /// these errors at compile time.
    fn audited_table() -> Result<AuditedTable, InvalidTable>;
}

/// A registered model.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    module_path: &'static str,
    model: &'static str,
    table: fn() -> Result<AuditedTable, InvalidTable>,
}

inventory::collect!(Registration);

impl Registration {
    /// Creates the registration of a model, whose table a function returns.
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

    /// The name of the model's crate.
    #[must_use]
    pub fn crate_name(&self) -> &'static str {
        self.module_path.split("::").next().unwrap_or_default()
    }

    /// The path of the model.
    #[must_use]
    pub fn model(&self) -> String {
        format!("{}::{}", self.module_path, self.model)
    }

    /// The table that the model declares.
    ///
    /// # Errors
    /// As [`Audited::audited_table`].
    pub fn table(&self) -> Result<AuditedTable, InvalidTable> {
        (self.table)()
    }
}

/// All models that are linked into the program, in no particular order.
pub fn registrations() -> impl Iterator<Item = &'static Registration> {
    inventory::iter::<Registration>.into_iter()
}

/// The error for registered tables that contradict each other or their `table!`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A model's declaration is invalid.
    #[error("model {model}: {source}")]
    Invalid {
        /// The path of the model.
        model: String,
        /// The problem.
        #[source]
        source: InvalidTable,
    },
    /// Two models declare different rules for one table.
    #[error(
        "models {first} and {second} declare different rules for table {table}: give both the same \
         rules, or derive `Audited` for one of them only"
    )]
    Conflict {
        /// The table.
        table: TableName,
        /// The path of one model.
        first: String,
        /// The path of the other model.
        second: String,
    },
}

/// The tables of all linked models, without duplicates, sorted by name.
///
/// # Errors
/// [`RegistryError`] if a declaration is invalid or two models declare different rules for a table.
///
/// ```
/// // Links a crate that only declares models: `use my_models as _;`
/// for table in threadline_core::registry::registered_tables()? {
///     println!("{} is audited", table.name());
/// }
/// # Ok::<(), threadline_core::registry::RegistryError>(())
/// ```
pub fn registered_tables() -> Result<Vec<AuditedTable>, RegistryError> {
    let (tables, errors) = collect_tables();
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(tables),
    }
}

/// All errors of the linked models, sorted by model. [`registered_tables`] returns the first.
#[must_use]
pub fn registry_errors() -> Vec<RegistryError> {
    collect_tables().1
}

/// The tables of all linked models, sorted by name, and the errors of the models that contribute none.
fn collect_tables() -> (Vec<AuditedTable>, Vec<RegistryError>) {
    let mut sorted: Vec<_> = registrations().collect();
    sorted.sort_by_key(|registration| registration.model());
    let mut tables: Vec<(String, AuditedTable)> = Vec::new();
    let mut errors = Vec::new();
    for registration in sorted {
        let model = registration.model();
        let table = match registration.table() {
            Ok(table) => table,
            Err(source) => {
                errors.push(RegistryError::Invalid { model, source });
                continue;
            }
        };
        match tables
            .iter()
            .find(|(_, known)| known.name() == table.name())
        {
            None => tables.push((model, table)),
            Some((_, known)) if known == &table => {}
            Some((first, known)) => errors.push(RegistryError::Conflict {
                table: known.name().clone(),
                first: first.clone(),
                second: model,
            }),
        }
    }
    let mut tables: Vec<_> = tables.into_iter().map(|(_, table)| table).collect();
    tables.sort_by(|a, b| a.name().cmp(b.name()));
    (tables, errors)
}
