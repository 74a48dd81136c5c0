//! The cargo workspace of an application, as `cargo metadata` describes it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use super::XTASK_LIBRARY;
use crate::args::current_dir;
use crate::exit::Failure;

/// A workspace, or a package without one.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    #[serde(rename = "workspace_root")]
    pub(super) root: PathBuf,
    packages: Vec<Package>,
}

/// A member of a workspace.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`; none for a normal dependency.
    kind: Option<String>,
    features: Vec<String>,
}

impl Project {
    /// The workspace of the current directory.
    pub(super) fn load() -> Result<Self, Failure> {
        let here = current_dir()?;
        if !here
            .ancestors()
            .any(|folder| folder.join("Cargo.toml").is_file())
        {
            return Err(Failure::usage(
                "neither the current directory nor a parent has a Cargo.toml: run init in the directory of \
                 your application",
            ));
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            let message: Vec<_> = message.lines().map(str::trim).collect();
            return Err(Failure::usage(format!(
                "cargo cannot read this package: {}",
                message.join(" ").trim_start_matches("error: ")
            )));
        }
        let project = serde_json::from_slice(&output.stdout)
            .context("cannot read the output of cargo metadata")?;
        Ok(project)
    }

    /// The package of the application: by name, or else that of the current directory, or else the only one that
    /// uses Diesel.
    pub(super) fn application(&self, name: Option<&str>) -> Result<&Package, Failure> {
        let package = match name {
            Some(name) => self
                .packages
                .iter()
                .find(|package| package.name == name)
                .ok_or_else(|| Failure::usage(format!("the workspace has no package `{name}`")))?,
            None => self.package_of(&current_dir()?)?,
        };
        if package.dependency("diesel").is_none() {
            return Err(Failure::usage(format!(
                "package `{}` does not depend on diesel: pass --package with the package of the models{}",
                package.name,
                self.list_candidates()
            )));
        }
        Ok(package)
    }

    fn package_of(&self, folder: &Path) -> Result<&Package, Failure> {
        let around = self
            .packages
            .iter()
            .filter(|package| folder.starts_with(package.folder()))
            .max_by_key(|package| package.folder().as_os_str().len());
        if let Some(package) = around {
            return Ok(package);
        }
        let mut candidates = self.candidates();
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Failure::usage(format!(
                "the current directory is not that of a package: pass --package with the package of the \
                 models{}",
                self.list_candidates()
            ))),
        }
    }

    fn candidates(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| package.dependency("diesel").is_some())
    }

    fn list_candidates(&self) -> String {
        let names: Vec<_> = self
            .candidates()
            .map(|package| package.name.as_str())
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("; these depend on diesel: {}", names.join(", "))
        }
    }

    /// The member that is an xtask with Threadline's command line.
    pub(super) fn xtask(&self) -> Option<&Package> {
        self.packages
            .iter()
            .find(|package| package.dependency(XTASK_LIBRARY).is_some())
    }

    /// The error if a new crate would replace another one.
    pub(super) fn refuse_existing(&self, name: &str, folder: &Path) -> Result<(), Failure> {
        let advice = format!(
            "pass --name to create a crate of another name, or add {XTASK_LIBRARY} to it and call \
             threadline_xtask::main"
        );
        if self.packages.iter().any(|package| package.name == name) {
            return Err(Failure::usage(format!(
                "the workspace has a package `{name}`, which does not depend on {XTASK_LIBRARY}: {advice}"
            )));
        }
        if folder.join("Cargo.toml").exists() || folder.join("src").exists() {
            return Err(Failure::usage(format!(
                "{} exists and is not a member of the workspace: {advice}",
                folder.display()
            )));
        }
        Ok(())
    }
}

impl Package {
    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// The crate name of the library.
    pub(super) fn library(&self) -> Result<&str, Failure> {
        let is_library = |target: &&Target| {
            target
                .kind
                .iter()
                .any(|kind| matches!(kind.as_str(), "lib" | "rlib"))
        };
        match self.targets.iter().find(is_library) {
            Some(target) => Ok(&target.name),
            None => Err(Failure::usage(format!(
                "package `{}` has no library, and an xtask cannot link a binary: move the modules of the models \
                 from src/main.rs to src/lib.rs, use them in src/main.rs as `{}::…`, and run init again; to \
                 capture tables without models, run `threadline install` and `threadline gen-triggers \
                 --all-tables`",
                self.name,
                self.name.replace('-', "_")
            ))),
        }
    }

    fn dependency(&self, name: &str) -> Option<&Dependency> {
        self.dependencies
            .iter()
            .find(|dependency| dependency.name == name && dependency.kind.is_none())
    }

    /// The features of `threadline` that fit the other dependencies.
    pub(super) fn features(&self) -> Vec<&'static str> {
        let uses = |name: &str| self.dependency(name).is_some();
        let has_sync_connection = self
            .dependency("diesel")
            .is_some_and(|diesel| diesel.features.iter().any(|feature| feature == "postgres"));
        let mut features = Vec::new();
        if uses("diesel-async") {
            features.push("async");
        } else if has_sync_connection {
            features.push("sync");
        }
        if uses("axum") {
            features.push("axum");
        } else if uses("actix-web") {
            features.push("actix");
        }
        features
    }
}
