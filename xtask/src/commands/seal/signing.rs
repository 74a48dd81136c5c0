//! The options for the key and the place of a log.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use threadline_export::seal::{self, Publication, SignCommand, Signer};
use threadline_export::storage::Storages;
use threadline_seal::key::{VerifierKey, parse_verifier_keys};

use super::could_not_run;
use crate::args::StorageArgs;
use crate::exit::Failure;
use crate::host::Host;

/// Where the signing key is.
#[derive(Debug, Args)]
pub(crate) struct KeySource {
    /// A PEM file with the Ed25519 key, which only its owner may read.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["key_variable", "key_command"],
        conflicts_with_all = ["key_variable", "key_command"])]
    key_file: Option<PathBuf>,
    /// An environment variable with the Ed25519 key in PEM.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "key_command")]
    key_variable: Option<String>,
    /// A program that has the key, with its arguments, separated by spaces; no shell is used. It gets the bytes to
    /// sign on standard input, and writes the signature to standard output: 64 bytes, or base64.
    #[arg(long, value_name = "PROGRAM", requires = "vkey")]
    key_command: Option<String>,
    /// A file with the public key of the program.
    #[arg(long, value_name = "FILE", requires = "key_command")]
    vkey: Option<PathBuf>,
}

impl KeySource {
    /// The signer of the log with this origin.
    pub(super) fn read(&self, origin: &str) -> Result<Signer, Failure> {
        if let (Some(command), Some(vkey)) = (&self.key_command, &self.vkey) {
            let mut words = command.split_whitespace().map(str::to_owned);
            let program = words
                .next()
                .ok_or_else(|| Failure::usage("--key-command names no program"))?;
            let key = read_verifier_keys(vkey)?
                .into_iter()
                .find(|key| key.name() == origin)
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "--vkey {} has no key of `{origin}`",
                        vkey.display()
                    ))
                })?;
            return Ok(SignCommand::new(program, words, key).into());
        }
        read_key(
            origin,
            self.key_file.as_deref(),
            self.key_variable.as_deref(),
        )
    }
}

/// Reads a signing key from a file or an environment variable.
pub(in crate::commands) fn read_key(
    origin: &str,
    file: Option<&Path>,
    variable: Option<&str>,
) -> Result<Signer, Failure> {
    let key = match (file, variable) {
        (Some(file), _) => seal::read_key_file(origin, file),
        (None, Some(variable)) => seal::read_key_variable(origin, variable),
        (None, None) => return Err(Failure::usage("there is no key: pass a file or a variable")),
    };
    Ok(key.map_err(could_not_run)?.into())
}

/// Reads public keys.
pub(super) fn read_verifier_keys(file: &Path) -> Result<Vec<VerifierKey>, Failure> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse_verifier_keys(&text).map_err(Failure::usage)
}

/// The place where a log is published.
#[derive(Debug, Args)]
pub(crate) struct PublicationArgs {
    /// The directory for checkpoints, which a web server, git or a copy to other storage publishes.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "publish_storage",
        conflicts_with = "publish_storage"
    )]
    publish: Option<PathBuf>,
    /// The name of the storage for checkpoints.
    #[arg(long, value_name = "NAME")]
    publish_storage: Option<String>,
    #[command(flatten)]
    storage: StorageArgs,
}

impl PublicationArgs {
    pub(super) fn open(&self, host: Host) -> Result<Publication, Failure> {
        let storages = self.storage.open(host)?;
        open_publication(
            self.publish.as_deref(),
            self.publish_storage.as_deref(),
            &storages,
        )
    }
}

/// The place with a directory, or the name of a storage.
pub(in crate::commands) fn open_publication(
    directory: Option<&Path>,
    storage: Option<&str>,
    storages: &Storages,
) -> Result<Publication, Failure> {
    match (directory, storage) {
        (Some(directory), _) => Ok(Publication::directory(directory)),
        (None, Some(name)) => match storages.get(name) {
            Some(storage) => Ok(Publication::storage(storage.clone())),
            None => Err(Failure::usage(format!(
                "there is no storage `{name}`: the host defines storages, --storage-dir adds `local`"
            ))),
        },
        (None, None) => Err(Failure::usage(
            "there is no place for checkpoints: pass a directory or a storage",
        )),
    }
}
