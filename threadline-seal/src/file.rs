//! Files that are complete or do not exist, also after a crash.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file or replaces it. Its mode is 0644.
///
/// # Errors
///
/// Returns an error if the file cannot be written; the earlier one is then unchanged.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temporary(path, bytes)?
        .persist(path)
        .map_err(|error| error.error)?;
    sync_directory(path)
}

/// Writes a file that does not exist yet. Its mode is 0644.
///
/// # Errors
///
/// Returns an error of the kind `AlreadyExists` if the file exists, or if it cannot be written.
pub fn create_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temporary(path, bytes)?
        .persist_noclobber(path)
        .map_err(|error| error.error)?;
    sync_directory(path)
}

fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes the name of a new file survive a power failure.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        std::fs::File::open(directory_of(path))?.sync_all()?;
    }
    Ok(())
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // Published files are for everyone; temporary files are private otherwise.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(directory_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}
