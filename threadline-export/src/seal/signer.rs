//! Signers of checkpoints: keys from files and environment variables, and programs that hold the key.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use threadline_seal::key::{SigningKey, VerifierKey};
use threadline_seal::note::NoteSignature;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::SealError;

/// The greatest size of a key file, in bytes.
const MAX_KEY_BYTES: u64 = 65_536;

/// How long a program may take to sign. The row of the log is locked meanwhile.
const SIGN_TIME: Duration = Duration::from_secs(30);

/// What signs the checkpoints of a log.
///
/// ```
/// use threadline_export::seal::Signer;
/// use threadline_seal::key::SigningKey;
///
/// let signer = Signer::from(SigningKey::from_seed("example.com/trail", &[7; 32])?);
/// assert_eq!(signer.verifier_key().name(), "example.com/trail");
/// # Ok::<(), threadline_seal::key::InvalidKey>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Signer {
    /// A key in the memory of this process.
    Key(SigningKey),
    /// A program that has the key, or asks a key management service.
    Command(SignCommand),
}

impl From<SigningKey> for Signer {
    fn from(key: SigningKey) -> Self {
        Self::Key(key)
    }
}

impl From<SignCommand> for Signer {
    fn from(command: SignCommand) -> Self {
        Self::Command(command)
    }
}

impl Signer {
    /// The public key of the signatures. Its name is the origin of the log.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        match self {
            Self::Key(key) => key.verifier_key(),
            Self::Command(command) => &command.key,
        }
    }

    /// Signs the text of a note.
    pub(super) async fn sign(&self, text: &str) -> Result<NoteSignature, SealError> {
        match self {
            Self::Key(key) => Ok(key.sign(text)),
            Self::Command(command) => {
                let signing = tokio::time::timeout(SIGN_TIME, command.sign(text));
                signing.await.unwrap_or_else(|_| {
                    let seconds = SIGN_TIME.as_secs();
                    Err(command.failed(format!("it did not end within {seconds} s")))
                })
            }
        }
    }
}

/// A program that signs: it gets the text of the note on standard input and writes the Ed25519 signature to standard
/// output, as 64 bytes or in base64. No shell is used. A signature is verified before it is used.
#[derive(Debug, Clone)]
pub struct SignCommand {
    program: String,
    arguments: Vec<String>,
    key: VerifierKey,
}

impl SignCommand {
    /// A program with arguments, and the public key of its signatures.
    #[must_use]
    pub fn new(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = String>,
        key: VerifierKey,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
            key,
        }
    }

    async fn sign(&self, text: &str) -> Result<NoteSignature, SealError> {
        let cannot_run = |error: std::io::Error| self.failed(error.to_string());
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot_run)?;
        if let Some(mut input) = child.stdin.take()
            && let Err(error) = input.write_all(text.as_bytes()).await
            // A program may end without reading all; its exit status tells more.
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(cannot_run(error));
        }
        let output = child.wait_with_output().await.map_err(cannot_run)?;
        if !output.status.success() {
            return Err(self.failed(output.status.to_string()));
        }
        let signature = parse_signature(&output.stdout).ok_or_else(|| {
            self.failed("it wrote no signature: expected 64 bytes, or their base64".to_owned())
        })?;
        if !self.key.verify(text, &signature) {
            let reason = "its signature is not of the public key".to_owned();
            return Err(self.failed(reason));
        }
        Ok(NoteSignature::new(&self.key, signature))
    }

    fn failed(&self, reason: String) -> SealError {
        SealError::SignCommand {
            program: self.program.clone(),
            reason,
        }
    }
}

/// A signature of 64 bytes, or their base64.
fn parse_signature(output: &[u8]) -> Option<[u8; 64]> {
    if let Ok(bytes) = output.try_into() {
        return Some(bytes);
    }
    STANDARD.decode(output.trim_ascii()).ok()?.try_into().ok()
}

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
