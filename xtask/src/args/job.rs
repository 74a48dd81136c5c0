//! Options of export jobs, and the storages of a worker.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use threadline_core::actor::ActorRef;
use threadline_diesel::query::TimelineFilters;
use threadline_export::jobs::{ExportRequest, FileName, KeepDays, NewJob};
use threadline_export::storage::{Storage, Storages};

use super::ExportFormArgs;
use crate::exit::Failure;
use crate::host::Host;

/// Where the file of an export job is stored, and for whom.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The name of the storage for the file of a job. By default `local`.
    #[arg(long, value_name = "NAME")]
    storage: Option<String>,
    /// How long the file of a job is kept, in days: `7d`. By default 7 days.
    #[arg(long, value_name = "DAYS", value_parser = parse_keep)]
    keep: Option<KeepDays>,
    /// The name of the file of a job, without extension. By default `changes`.
    #[arg(long, value_name = "NAME")]
    name: Option<FileName>,
    /// The actor that may download the file in the console: `admin:rita`.
    #[arg(long, value_name = "ACTOR")]
    pub(crate) owner: Option<ActorRef>,
    /// The key of the scope of a job, which the host resolves when the job runs.
    #[arg(long, value_name = "KEY")]
    pub(crate) scope_key: Option<String>,
}

impl JobArgs {
    /// Whether an option is given.
    pub(crate) fn is_given(&self) -> bool {
        self.storage.is_some()
            || self.keep.is_some()
            || self.name.is_some()
            || self.owner.is_some()
            || self.scope_key.is_some()
    }

    /// The request of a job with these options.
    pub(crate) fn request(&self, form: &ExportFormArgs, filters: TimelineFilters) -> ExportRequest {
        let mut request = ExportRequest::new(filters);
        request.format = form.format();
        request.compression = form.compression();
        request.layout = form.layout();
        request.action_columns = form.action_columns();
        request.order = form.order();
        if let Some(storage) = &self.storage {
            request.storage.clone_from(storage);
        }
        request.file_name.clone_from(&self.name);
        request.keep_days = self.keep.unwrap_or_default();
        request
    }

    /// The job with its owner and scope.
    pub(crate) fn add_owner(&self, mut job: NewJob) -> NewJob {
        if let Some(owner) = &self.owner {
            job = job.actor(owner.clone());
        }
        if let Some(key) = &self.scope_key {
            job = job.scope_key(key);
        }
        job
    }
}

fn parse_keep(text: &str) -> Result<KeepDays, String> {
    let days = text.strip_suffix('d').unwrap_or(text);
    let days = days
        .parse()
        .map_err(|_| format!("`{text}` is not a number of days; write for example 7d"))?;
    KeepDays::new(days).map_err(|error| error.to_string())
}

/// The storages of a worker and of downloads.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// The directory of the storage `local`, in addition to the storages that the host defines.
    #[arg(long, value_name = "DIR", env = "THREADLINE_STORAGE_DIR")]
    storage_dir: Option<PathBuf>,
}

impl StorageArgs {
    pub(crate) fn open(&self, host: Host) -> Result<Storages, Failure> {
        let storages = match host.storages {
            Some(storages) => storages().context("cannot open the storages of the host")?,
            None => Storages::new(),
        };
        match &self.storage_dir {
            Some(directory) => {
                let local = Storage::local(directory).map_err(Failure::usage)?;
                Ok(storages.with(Storages::LOCAL, local))
            }
            None => Ok(storages),
        }
    }
}
