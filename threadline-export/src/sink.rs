//! Where the bytes of an export go: compressed, gathered, measured, written.

use std::fmt;
use std::io::{self, BufWriter, Write};

use sha2::{Digest, Sha256};

use crate::format::Compression;

/// What is handed to the writer at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// The caller's writer.
pub(crate) type Output<'w> = &'w mut (dyn Write + Send);

/// The stages an export's bytes pass on their way out.
pub(crate) enum Sink<'w> {
    Plain(BufWriter<Measured<'w>>),
    #[cfg(feature = "gzip")]
    Gzip(flate2::write::GzEncoder<BufWriter<Measured<'w>>>),
}

impl<'w> Sink<'w> {
    pub(crate) fn new(out: Output<'w>, compression: Compression) -> Self {
        let blocks = BufWriter::with_capacity(BLOCK_BYTES, Measured::new(out));
        match compression {
            Compression::None => Self::Plain(blocks),
            #[cfg(feature = "gzip")]
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                blocks,
                flate2::Compression::default(),
            )),
        }
    }

    /// Writes what is still on its way, and says what was written.
    pub(crate) fn finish(self) -> io::Result<Measures> {
        let blocks = match self {
            Self::Plain(blocks) => blocks,
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => encoder.finish()?,
        };
        let mut measured = blocks
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        measured.flush()?;
        Ok(measured.measures())
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            #[cfg(feature = "gzip")]
            Self::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            #[cfg(feature = "gzip")]
            Self::Gzip(out) => out.flush(),
        }
    }
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measures {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A writer that counts and digests what passes.
pub(crate) struct Measured<'w> {
    out: Output<'w>,
    bytes: u64,
    digest: Sha256,
}

impl<'w> Measured<'w> {
    fn new(out: Output<'w>) -> Self {
        Self {
            out,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    fn measures(self) -> Measures {
        let digest: [u8; 32] = self.digest.finalize().into();
        Measures {
            bytes: self.bytes,
            sha256: hexadecimal(&digest),
        }
    }
}

impl Write for Measured<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl fmt::Debug for Measured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time, as a full pipe does.
    struct Reluctant(Vec<u8>);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(3);
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_measured_is_what_arrived() {
        let mut out = Reluctant(Vec::new());
        let mut sink = Sink::new(&mut out, Compression::None);
        sink.write_all(b"hello world").unwrap();
        let measures = sink.finish().unwrap();
        assert_eq!(out.0, b"hello world");
        assert_eq!(measures.bytes, 11);
        assert_eq!(
            measures.sha256,
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
        );
    }
}
