//! Template databases.

use std::error::Error as StdError;
use std::sync::{Arc, PoisonError};

use crate::shared::Shared;
use crate::{Database, Error};

/// A prepared database that can be copied in some tens of milliseconds. Created by
/// [`Cluster::template`](crate::Cluster::template).
///
/// ```
/// use threadline_testdb::{Cluster, Error};
///
/// let cluster = Cluster::start()?;
/// let template = cluster.template("app", |url| {
///     // Run the application's migrations against `url` here.
///     assert!(url.starts_with("postgres://"));
///     Ok::<(), Error>(())
/// })?;
/// let one = template.create_database()?;
/// let two = template.create_database()?;
/// assert_ne!(one.name(), two.name());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Template {
    cluster: Arc<Shared>,
    database: String,
}

impl Template {
    /// Creates a copy.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server rejects the statement or cannot be reached.
    pub fn create_database(&self) -> Result<Database, Error> {
        Database::create(&self.cluster, &self.database)
    }

    pub(crate) fn prepare<E>(
        cluster: &Arc<Shared>,
        name: &str,
        prepare: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<Self, Error>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let slot = {
            let templates = cluster.templates.lock();
            let mut templates = templates.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(templates.entry(name.to_owned()).or_default())
        };
        // After a panic in `prepare` the slot is empty and the database is dropped.
        let mut prepared = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let database = if let Some(database) = &*prepared {
            database.clone()
        } else {
            let database = create_prepared(cluster, name, prepare)?;
            prepared.insert(database).clone()
        };
        Ok(Self {
            cluster: Arc::clone(cluster),
            database,
        })
    }
}

fn create_prepared<E>(
    cluster: &Arc<Shared>,
    name: &str,
    prepare: impl FnOnce(&str) -> Result<(), E>,
) -> Result<String, Error>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let new_name = cluster.new_name("template");
    let database = Database::create_named(cluster, "template1", new_name)?;
    prepare(&database.url()).map_err(|source| Error::Template {
        name: name.to_owned(),
        source: source.into(),
    })?;
    // A connection left open by `prepare`, in a pool for example, would prevent copying.
    cluster.close_database(database.name())?;
    Ok(database.into_name())
}
