//! Files that are there when they are complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::ExportError;
use crate::manifest::Manifest;

/// A file in the making. Dropped before it is complete, it is gone.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    folder: PathBuf,
    partial: NamedTempFile,
}

impl Target {
    /// A file that will have this path. A link keeps its place: what it leads to is replaced.
    pub(crate) fn beside(path: &Path) -> Result<Self, ExportError> {
        let path = match fs::canonicalize(path) {
            Ok(found) if !found.is_file() => return Err(ExportError::NotAFile(path.to_owned())),
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(source) => return Err(cannot_write(path, source)),
        };
        if path.file_name().is_none() {
            return Err(ExportError::NotAFile(path));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let partial = partial_in(&folder).map_err(|source| cannot_write(&path, source))?;
        Ok(Self {
            path,
            folder,
            partial,
        })
    }

    /// What to write to.
    pub(crate) fn file(&mut self) -> &mut File {
        self.partial.as_file_mut()
    }

    /// What went wrong, with the file's name.
    pub(crate) fn error(&self, source: io::Error) -> ExportError {
        cannot_write(&self.path, source)
    }

    /// Puts the file and its manifest in their places. Both are on disk before either moves.
    pub(crate) fn complete(self, manifest: &Manifest) -> Result<(), ExportError> {
        let manifest_path = manifest_path(&self.path);
        let sidecar = write_manifest(&self.folder, manifest)
            .map_err(|source| cannot_write(&manifest_path, source))?;
        let in_place = self.partial.as_file().sync_all().and_then(|()| {
            self.partial.persist(&self.path)?;
            Ok(())
        });
        in_place.map_err(|source| cannot_write(&self.path, source))?;
        sidecar
            .persist(&manifest_path)
            .map_err(io::Error::from)
            .and_then(|_| File::open(&self.folder)?.sync_all())
            .map_err(|source| cannot_write(&manifest_path, source))
    }
}

/// Where the manifest of a file is: `<file>.manifest.json`.
#[must_use]
pub fn manifest_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".manifest.json");
    path.into()
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> io::Result<NamedTempFile> {
    let mut partial = partial_in(folder)?;
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    partial.write_all(&text)?;
    partial.as_file().sync_all()?;
    Ok(partial)
}

fn partial_in(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".threadline-export-")
        .suffix(".partial")
        .tempfile_in(folder)
}

fn cannot_write(path: &Path, source: io::Error) -> ExportError {
    ExportError::File {
        path: path.to_owned(),
        source,
    }
}
