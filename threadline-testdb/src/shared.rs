//! What the handles of one cluster share, and the administration of its databases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::address::ServerAddress;
use crate::quote::{identifier, literal};
use crate::server::Server;
use crate::template::Prepared;
use crate::{Error, MajorVersion, session};

/// What a cluster's handles have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) address: ServerAddress,
    pub(crate) version: MajorVersion,
    /// `None` for a server that is not ours.
    pub(crate) server: Option<Server>,
    /// Tells apart the databases of test processes that use one server at the same time.
    token: String,
    made: AtomicU64,
    pub(crate) templates: Mutex<HashMap<String, Arc<Prepared>>>,
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
            made: AtomicU64::new(0),
            templates: Mutex::default(),
        }
    }

    /// Runs one statement or script for the server as a whole.
    pub(crate) fn administer(&self, sql: &str) -> Result<(), Error> {
        session::run(&self.address, &self.address.maintenance, sql)?;
        Ok(())
    }

    /// A name that no other database of this server has.
    pub(crate) fn new_name(&self, kind: &str) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("threadline_{kind}_{}_{number}", self.token)
    }

    /// `CREATE DATABASE` by the quickest way the server knows.
    pub(crate) fn copy_database(&self, template: &str, name: &str) -> Result<(), Error> {
        // Since 15 the default is to write the whole copy to the write-ahead log as well.
        let strategy = if self.version >= MajorVersion::new(15) {
            " strategy file_copy"
        } else {
            ""
        };
        self.administer(&format!(
            "create database {} template {}{strategy}",
            identifier(name),
            identifier(template)
        ))
    }

    /// Ends all sessions of a database and lets no new ones in.
    pub(crate) fn close_database(&self, name: &str) -> Result<(), Error> {
        self.administer(&format!(
            "alter database {} with allow_connections false",
            identifier(name)
        ))?;
        self.administer(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = {}",
            literal(name)
        ))
    }

    /// Drops a database, whoever is connected.
    pub(crate) fn drop_database(&self, name: &str) -> Result<(), Error> {
        let name = identifier(name);
        self.administer(&format!("drop database if exists {name} with (force)"))
    }

    /// Whether the databases vanish with the server.
    pub(crate) fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    /// The server, if it is ours to stop and start.
    pub(crate) fn own_server(&self) -> Result<&Server, Error> {
        self.server.as_ref().ok_or_else(|| Error::NotOurs {
            address: self.address.to_string(),
        })
    }
}

impl Drop for Shared {
    /// A server of ours takes its templates with it; from one that is not ours they must go.
    fn drop(&mut self) {
        if self.is_ours() {
            return;
        }
        let templates = self.templates.get_mut();
        let templates = templates.unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = templates
            .values()
            .filter_map(|one| one.database())
            .collect();
        for name in names {
            // Nobody is left to tell. What stays can be found by its name.
            self.drop_database(&name).ok();
        }
    }
}
