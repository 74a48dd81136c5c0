//! `init`: adds Threadline to an application.

mod changes;
mod edits;
mod project;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use clap::Args;
use threadline_core::install::PartitionWidth;

use self::changes::FileChange;
use self::project::{Package, Project};
use super::install::{missing_migrations, write_missing};
use crate::args::MigrationsDirArgs;
use crate::exit::{Answer, Failure};
use crate::output::text::{print_block, print_line};

/// The crate of this command line.
const XTASK_LIBRARY: &str = "threadline-xtask";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The package with the models; by default that of the current directory.
    #[arg(long, short, value_name = "PACKAGE")]
    package: Option<String>,
    /// The name of the new crate and of its cargo alias.
    #[arg(long, value_name = "NAME", default_value = "xtask", value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    migrations: MigrationsDirArgs,
    /// Print the changes and write nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Write the changes without asking.
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &InitArgs) -> Result<Answer, Failure> {
    let project = Project::load()?;
    let package = project.application(args.package.as_deref())?;
    let library = package.library()?;
    let dir = args.migrations.open_from(package.folder())?;
    let changes = plan(&project, package, library, &args.name)?;
    let migrations = missing_migrations(&dir);
    if changes.is_empty() && migrations.is_empty() {
        print_line(&format!(
            "nothing to do: {} has an xtask crate, the alias, the dependency and the migrations of the trail",
            package.name
        ))?;
        return Ok(Answer::Fine);
    }
    for change in &changes {
        print_block(&change.show(&project.root))?;
    }
    for (migration, suffix) in &migrations {
        let folder = dir.path().strip_prefix(&project.root).unwrap_or(dir.path());
        print_line(&format!(
            "create {}/<version>{suffix}: up.sql, {} lines; down.sql, {} lines",
            folder.display(),
            migration.up.lines().count(),
            migration.down.lines().count()
        ))?;
    }
    if args.dry_run {
        print_line("nothing was written")?;
        return Ok(Answer::Fine);
    }
    if !args.yes && !confirm()? {
        print_line("nothing was written")?;
        return Ok(Answer::Bad);
    }
    for change in &changes {
        change.write()?;
    }
    write_missing(dir.path(), PartitionWidth::Month)?;
    print_block(&format!(
        "next: derive Audited on the models of {}, then run\n\
         \x20   cargo {} gen-triggers\n\
         \x20   diesel migration run",
        package.name, args.name
    ))?;
    Ok(Answer::Fine)
}

/// The changes of files that add Threadline to an application.
fn plan(
    project: &Project,
    package: &Package,
    library: &str,
    name: &str,
) -> Result<Vec<FileChange>, Failure> {
    let mut changes = Vec::new();
    let mut edit = |path: &Path, edit: &dyn Fn(&str) -> Result<String, Failure>| {
        let before = read_if_exists(path)?;
        let after = edit(before.as_deref().unwrap_or_default())?;
        if before.as_deref() != Some(after.as_str()) {
            changes.push(FileChange {
                path: path.to_owned(),
                before,
                after,
            });
        }
        Ok::<(), Failure>(())
    };
    let existing = project.xtask();
    let xtask_package = if let Some(xtask) = existing {
        xtask.name.as_str()
    } else {
        let folder = project.root.join(name);
        project.refuse_existing(name, &folder)?;
        let path = relative_path(&folder, package.folder());
        edit(&folder.join("Cargo.toml"), &|_| {
            Ok(edits::xtask_manifest(name, &package.name, &path))
        })?;
        edit(&folder.join("src/main.rs"), &|_| {
            Ok(format!("threadline_xtask::xtask!({library});\n"))
        })?;
        name
    };
    // One file if the application is the root package.
    let root = project.root.join("Cargo.toml");
    let manifest = package.manifest_path.as_path();
    let add_member = |text: &str| match existing {
        Some(_) => Ok(text.to_owned()),
        None => edits::add_member(text, name).map_err(|error| in_file(&root, &error)),
    };
    let add_dependency = |text: &str| {
        edits::add_dependency(text, &package.features()).map_err(|error| in_file(manifest, &error))
    };
    if manifest == root {
        edit(&root, &|text| add_dependency(&add_member(text)?))?;
    } else {
        edit(&root, &add_member)?;
        edit(manifest, &add_dependency)?;
    }
    let config = project.root.join(".cargo/config.toml");
    edit(&config, &|text| {
        edits::add_alias(text, name, xtask_package).map_err(|error| in_file(&config, &error))
    })?;
    Ok(changes)
}

fn in_file(path: &Path, error: &str) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn read_if_exists(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::CouldNotRun(
            anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
        )),
    }
}

/// The path from a folder in the root of the workspace to another folder of the workspace, as TOML has it.
fn relative_path(from: &Path, to: &Path) -> String {
    let root = from.parent().unwrap_or(from);
    let below = to.strip_prefix(root).unwrap_or(to);
    let parts = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    std::iter::once("..".into())
        .chain(parts)
        .collect::<Vec<_>>()
        .join("/")
}

/// Asks whether to write the changes.
fn confirm() -> Result<bool, Failure> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Failure::usage(
            "nothing was written, because standard input is not a terminal: pass --yes to write the changes, \
             or --dry-run to print them only",
        ));
    }
    let mut prompt = io::stderr().lock();
    write!(prompt, "Write these changes? [y/N] ")?;
    prompt.flush()?;
    let mut answer = String::new();
    input
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Parses the name of a crate and alias.
fn parse_name(text: &str) -> Result<String, String> {
    let is_valid = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("a crate name has letters, digits, `-` and `_`, and begins with a letter".to_owned())
    }
}
