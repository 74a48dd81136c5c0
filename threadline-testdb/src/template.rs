//! Databases prepared once and copied many times.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};

use crate::shared::Shared;
use crate::{Database, Error};

/// A prepared database. Made by [`Cluster::template`](crate::Cluster::template); a copy of one
/// takes some tens of milliseconds, whatever its preparation took.
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

/// A place for a template's database. Held locked while the database is prepared.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Mutex<Option<String>>);

impl Prepared {
    /// The database's name, if preparation has succeeded.
    pub(crate) fn database(&self) -> Option<String> {
        let name = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone()
    }
}

impl Template {
    /// Makes a copy.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`] when the server refuses or cannot be reached.
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
        let place = {
            let templates = cluster.templates.lock();
            let mut templates = templates.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(templates.entry(name.to_owned()).or_default())
        };
        // A preparation that panicked has left the place empty, and its database was dropped.
        let mut prepared = place.0.lock().unwrap_or_else(PoisonError::into_inner);
        let database = if let Some(database) = &*prepared {
            database.clone()
        } else {
            let database = fill(cluster, name, prepare)?;
            prepared.insert(database).clone()
        };
        Ok(Self {
            cluster: Arc::clone(cluster),
            database,
        })
    }
}

fn fill<E>(
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
    // A connection that the preparation left open, in a pool for example, would hinder copying.
    cluster.close_database(database.name())?;
    Ok(database.leave())
}
