//! Where the bytes of an export gather, compressed where that was asked for, until they are taken.

use std::io::{self, Write};

use crate::format::Compression;

/// The bytes of an export that nobody has taken yet.
pub(crate) enum Sink {
    Plain(Vec<u8>),
    #[cfg(feature = "gzip")]
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl Sink {
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

    /// What is ready to leave. Whoever takes it clears it.
    pub(crate) fn ready(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Plain(bytes) => bytes,
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }

    /// Ends the stream, and gives what has not been taken yet.
    #[cfg_attr(
        not(feature = "gzip"),
        expect(clippy::unnecessary_wraps, reason = "a gzip stream may fail to end")
    )]
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(bytes) => Ok(bytes),
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            #[cfg(feature = "gzip")]
            Self::Gzip(out) => out.write(bytes),
        }
    }

    /// Nothing is held back that a flush could hurry; a gzip stream would only grow by it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
