//! The checkpoint of the last verification.

use std::io::Write as _;
use std::path::Path;

use super::VerifyError;

/// Replaces the state. The file is complete or unchanged, also after a crash.
pub(super) fn write(file: &Path, note: &[u8]) -> Result<(), VerifyError> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |error| VerifyError::file(file, error);
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    temporary.write_all(note).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary
        .persist(file)
        .map_err(|error| failed(error.error))?;
    Ok(())
}
