//! Atomic files: written under a temporary name and renamed when complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::ExportError;
use crate::manifest::Manifest;

/// A file that is being written. If it is dropped before it is complete, it is removed.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    directory: PathBuf,
    temporary: NamedTempFile,
}

impl Target {
    /// Creates a temporary file in the directory of `path`. If `path` is a symbolic link, its target is
    /// replaced.
    pub(crate) fn create(path: &Path) -> Result<Self, ExportError> {
        let path = match fs::canonicalize(path) {
            Ok(found) if !found.is_file() => return Err(ExportError::NotAFile(path.to_owned())),
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(source) => return Err(file_error(path, source)),
        };
        if path.file_name().is_none() {
            return Err(ExportError::NotAFile(path));
        }
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
            _ => PathBuf::from("."),
        };
        let temporary = temporary_file(&directory).map_err(|source| file_error(&path, source))?;
        Ok(Self {
            path,
            directory,
            temporary,
        })
    }

    /// The temporary file.
    pub(crate) fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Adds the path to an I/O error.
    pub(crate) fn error(&self, source: io::Error) -> ExportError {
        file_error(&self.path, source)
    }

    /// Syncs the file and its manifest to disk, then renames both.
    pub(crate) fn complete(self, manifest: &Manifest) -> Result<(), ExportError> {
        let manifest_path = manifest_path(&self.path);
        let sidecar = write_manifest(&self.directory, manifest)
            .map_err(|source| file_error(&manifest_path, source))?;
        let renamed = self.temporary.as_file().sync_all().and_then(|()| {
            self.temporary.persist(&self.path)?;
            Ok(())
        });
        renamed.map_err(|source| file_error(&self.path, source))?;
        sidecar
            .persist(&manifest_path)
            .map_err(io::Error::from)
            .and_then(|_| File::open(&self.directory)?.sync_all())
            .map_err(|source| file_error(&manifest_path, source))
    }
}

/// The path of a file's manifest: `<file>.manifest.json`.
///
/// ```
/// use std::path::Path;
/// use threadline_export::manifest_path;
///
/// let path = manifest_path(Path::new("orders.csv"));
/// assert_eq!(path, Path::new("orders.csv.manifest.json"));
/// ```
#[must_use]
pub fn manifest_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".manifest.json");
    path.into()
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> io::Result<NamedTempFile> {
    let mut temporary = temporary_file(directory)?;
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    temporary.write_all(&text)?;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn temporary_file(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".threadline-export-")
        .suffix(".partial")
        .tempfile_in(directory)
}

fn file_error(path: &Path, source: io::Error) -> ExportError {
    ExportError::File {
        path: path.to_owned(),
        source,
    }
}
