//! The schema of the trail as Diesel migrations, for hosts that embed their migrations.

use std::fmt;

use diesel::connection::BoxableConnection;
use diesel::migration::{
    Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion, Result,
};
use diesel::pg::Pg;
use threadline_core::install::{self, SchemaMigration};

/// The suffix of a schema migration's folder, after its version: `_threadline_0001`.
#[must_use]
pub fn suffix(version: u32) -> String {
    format!("_threadline_{version:04}")
}

/// The version of a schema migration in a host without migrations of its own.
#[must_use]
pub fn first_version(version: u32) -> String {
    format!("{version:014}")
}

/// The migrations of the schema of the trail.
///
/// For hosts with migration folders, `install` writes the same SQL there.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrailMigrations;

impl MigrationSource<Pg> for TrailMigrations {
    fn migrations(&self) -> Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(install::migrations()
            .into_iter()
            .map(|migration| Box::new(Schema::new(migration)) as Box<dyn Migration<Pg>>)
            .collect())
    }
}

struct Schema {
    migration: SchemaMigration,
    name: SchemaName,
}

impl Schema {
    fn new(migration: SchemaMigration) -> Self {
        let name = SchemaName(format!(
            "{}{}",
            first_version(migration.version),
            suffix(migration.version)
        ));
        Self { migration, name }
    }
}

impl Migration<Pg> for Schema {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        Ok(conn.batch_execute(&self.migration.up)?)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> Result<()> {
        Ok(conn.batch_execute(&self.migration.down)?)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &InTransaction
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

struct InTransaction;

impl MigrationMetadata for InTransaction {}

struct SchemaName(String);

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MigrationName for SchemaName {
    fn version(&self) -> MigrationVersion<'_> {
        let version = self.0.split('_').next().unwrap_or(&self.0);
        MigrationVersion::from(version)
    }
}
