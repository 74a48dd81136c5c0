//! The base schema as a Diesel migration, for hosts that embed their migrations.

use std::fmt;

use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion, Result,
};
use diesel::pg::Pg;
use threadline_core::install;

/// The version under which the base schema stands in the host's list of migrations.
pub const BASE_VERSION: &str = "00000000000001_threadline_base";

/// The migrations of the trail itself.
///
/// Hosts that keep migration folders have the same SQL written there by `install`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrailMigrations;

impl MigrationSource<Pg> for TrailMigrations {
    fn migrations(&self) -> Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(vec![Box::new(Base)])
    }
}

struct Base;

impl Migration<Pg> for Base {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        Ok(conn.batch_execute(&install::up_sql())?)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        Ok(conn.batch_execute(&install::down_sql())?)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &InTransaction
    }

    fn name(&self) -> &dyn MigrationName {
        &BaseName
    }
}

struct InTransaction;

impl MigrationMetadata for InTransaction {}

struct BaseName;

impl fmt::Display for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BASE_VERSION)
    }
}

impl MigrationName for BaseName {
    fn version(&self) -> MigrationVersion<'_> {
        let version = BASE_VERSION.split('_').next().unwrap_or(BASE_VERSION);
        MigrationVersion::from(version)
    }
}
