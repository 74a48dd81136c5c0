//! The buffer between an encoder and the output, with optional compression.

use std::io::{self, Write};

use crate::format::Compression;

/// Encoded bytes that are not yet written to the output.
pub(crate) enum EncodeBuffer {
    Plain(Vec<u8>),
    #[cfg(feature = "gzip")]
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl EncodeBuffer {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain(Vec::new()),
            #[cfg(feature = "gzip")]
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::default(),
            )),
        }
    }

    /// The bytes to write. The caller clears them after writing.
    pub(crate) fn pending(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Plain(bytes) => bytes,
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    /// Ends the stream and returns the remaining bytes.
    #[cfg_attr(
        not(feature = "gzip"),
        expect(clippy::unnecessary_wraps, reason = "ending a gzip stream can fail")
    )]
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Write for EncodeBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            #[cfg(feature = "gzip")]
            Self::Gzip(out) => out.write(bytes),
        }
    }

    /// Does nothing: flushing a gzip stream would make it larger.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
