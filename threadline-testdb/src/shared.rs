//! The state shared by the handles of a cluster, and the administration of its databases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::address::ServerAddress;
use crate::quote::{identifier, literal};
use crate::server::Server;
use crate::{Error, MajorVersion, session};

/// The name of a template's database, once it is prepared. Locked during the preparation.
type TemplateSlot = Mutex<Option<String>>;

/// The state shared by a cluster, its clones, databases and templates.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) address: ServerAddress,
    pub(crate) version: MajorVersion,
    /// `None` for an existing server.
    pub(crate) server: Option<Server>,
    /// Part of database names: distinguishes test processes that use the same server.
    token: String,
    /// Part of database names.
    counter: AtomicU64,
    pub(crate) templates: Mutex<HashMap<String, Arc<TemplateSlot>>>,
}

impl Shared {
    pub(crate) fn new(
        address: ServerAddress,
        version: MajorVersion,
        server: Option<Server>,
    ) -> Self {
        let nanoseconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        Self {
            address,
            version,
            server,
            token: format!("{}_{nanoseconds:x}", std::process::id()),
            counter: AtomicU64::new(0),
            templates: Mutex::default(),
        }
    }

    /// Runs a script in the maintenance database.
    pub(crate) fn execute(&self, sql: &str) -> Result<(), Error> {
        session::execute(&self.address, &self.address.maintenance, sql)?;
        Ok(())
    }

    /// A database name that is unique on this server.
    pub(crate) fn new_name(&self, kind: &str) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("threadline_{kind}_{}_{number}", self.token)
    }

    /// Runs `CREATE DATABASE` with the fastest strategy.
    pub(crate) fn copy_database(&self, template: &str, name: &str) -> Result<(), Error> {
        // Since 15 the default strategy writes the copy to the write-ahead log too.
        let strategy = if self.version >= MajorVersion::new(15) {
            " strategy file_copy"
        } else {
            ""
        };
        self.execute(&format!(
            "create database {} template {}{strategy}",
            identifier(name),
            identifier(template)
        ))
    }

    /// Ends all sessions of a database and disallows new ones.
    pub(crate) fn close_database(&self, name: &str) -> Result<(), Error> {
        self.execute(&format!(
            "alter database {} with allow_connections false",
            identifier(name)
        ))?;
        self.execute(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = {}",
            literal(name)
        ))
    }

    /// Drops a database and ends its sessions.
    pub(crate) fn drop_database(&self, name: &str) -> Result<(), Error> {
        let name = identifier(name);
        self.execute(&format!("drop database if exists {name} with (force)"))
    }

    /// The server started by this crate.
    pub(crate) fn server(&self) -> Result<&Server, Error> {
        self.server.as_ref().ok_or_else(|| Error::ExistingServer {
            address: self.address.to_string(),
        })
    }
}

impl Drop for Shared {
    /// Drops the templates on an existing server. A server of this crate is removed as a whole.
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let templates = self.templates.get_mut();
        let templates = templates.unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = templates
            .values()
            .filter_map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect();
        for name in names {
            // `drop` cannot return an error. The name shows where the database comes from.
            self.drop_database(&name).ok();
        }
    }
}
