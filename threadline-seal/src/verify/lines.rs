//! The lines of an export, read one at a time.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::VerifyError;

/// The greatest length of a line, in bytes. PostgreSQL's values are shorter.
const MAX_LINE_BYTES: u64 = 1 << 30;

/// The lines of a file, or of the `ndjson` files of a directory.
pub(super) struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<(PathBuf, BufReader<File>)>,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, VerifyError> {
        Ok(Self {
            files: export_files(path)?.into_iter(),
            current: None,
            line: Vec::new(),
        })
    }

    /// The next line, without its line feed; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, VerifyError> {
        self.line.clear();
        while self.line.is_empty() {
            let Some((path, reader)) = &mut self.current else {
                let Some(path) = self.files.next() else {
                    return Ok(None);
                };
                let file = File::open(&path).map_err(|error| VerifyError::file(&path, error))?;
                self.current = Some((path, BufReader::with_capacity(1 << 16, file)));
                continue;
            };
            reader
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut self.line)
                .map_err(|error| VerifyError::file(path, error))?;
            if self.line.is_empty() {
                self.current = None;
            }
        }
        Ok(Some(self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

fn export_files(path: &Path) -> Result<Vec<PathBuf>, VerifyError> {
    let failed = |error| VerifyError::file(path, error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for file in fs::read_dir(path).map_err(failed)? {
        let file = file.map_err(failed)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "ndjson")
        {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(VerifyError::NoExport {
            path: path.to_owned(),
        });
    }
    files.sort();
    Ok(files)
}
