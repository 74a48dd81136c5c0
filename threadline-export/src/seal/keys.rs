//! Signing keys from files and environment variables.

use std::fs;
use std::path::Path;

use threadline_seal::key::SigningKey;

use super::SealError;

/// The greatest size of a key file, in bytes.
const MAX_KEY_BYTES: u64 = 65_536;

/// Reads the signing key of a log from a PEM file (PKCS #8), which only its owner may read.
///
/// # Errors
/// [`SealError::ExposedKey`] if other users can read the file; [`SealError::File`]; [`SealError::Key`].
pub fn read_key_file(origin: &str, path: &Path) -> Result<SigningKey, SealError> {
    let failed = |error| SealError::file(path, error);
    let metadata = fs::metadata(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SealError::ExposedKey {
                path: path.to_owned(),
                mode,
            });
        }
    }
    if metadata.len() > MAX_KEY_BYTES {
        return Err(threadline_seal::key::InvalidKey::Pem.into());
    }
    let pem = fs::read_to_string(path).map_err(failed)?;
    Ok(SigningKey::from_pem(origin, &pem)?)
}

/// Reads the signing key of a log from an environment variable with PEM (PKCS #8).
///
/// # Errors
/// [`SealError::NoKeyVariable`], [`SealError::Key`].
pub fn read_key_variable(origin: &str, variable: &str) -> Result<SigningKey, SealError> {
    let pem = std::env::var(variable).map_err(|_| SealError::NoKeyVariable(variable.to_owned()))?;
    Ok(SigningKey::from_pem(origin, &pem)?)
}
