//! The output of an export: a blocking or asynchronous writer, with the size and digest of its bytes.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The minimum size of a write.
const BLOCK_BYTES: usize = 64 * 1024;

/// A blocking or asynchronous writer.
pub(crate) trait Writer: Send {
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// A blocking writer.
pub(crate) struct BlockingIo<'w, W>(pub(crate) &'w mut W);

impl<W: Write + Send> Writer for BlockingIo<'_, W> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An asynchronous writer.
pub(crate) struct AsyncIo<'w, W>(pub(crate) &'w mut W);

impl<W: AsyncWrite + Unpin + Send> Writer for AsyncIo<'_, W> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }
}

/// The size and digest of the written bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutputStats {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A writer that counts and digests the written bytes.
pub(crate) struct Output<W> {
    writer: W,
    bytes: u64,
    digest: Sha256,
}

impl<W: Writer> Output<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self {
            writer,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// Writes and clears the pending bytes if they fill a block.
    pub(crate) async fn write_block(&mut self, pending: &mut Vec<u8>) -> io::Result<()> {
        if pending.len() >= BLOCK_BYTES {
            self.write(pending).await?;
        }
        Ok(())
    }

    /// Writes and clears the pending bytes.
    pub(crate) async fn write(&mut self, pending: &mut Vec<u8>) -> io::Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        self.writer.write(pending).await?;
        self.digest.update(&pending);
        self.bytes += pending.len() as u64;
        pending.clear();
        // Free the memory of a single large change.
        pending.shrink_to(4 * BLOCK_BYTES);
        Ok(())
    }

    /// Flushes the writer and returns the statistics.
    pub(crate) async fn finish(mut self) -> io::Result<OutputStats> {
        self.writer.flush().await?;
        let digest: [u8; 32] = self.digest.finalize().into();
        Ok(OutputStats {
            bytes: self.bytes,
            sha256: hexadecimal(&digest),
        })
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts three bytes at a time, like a full pipe.
    struct ShortWrites(Vec<u8>);

    impl Write for ShortWrites {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let accepted = bytes.len().min(3);
            self.0.extend_from_slice(&bytes[..accepted]);
            Ok(accepted)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn stats_match_the_written_bytes() {
        let mut out = ShortWrites(Vec::new());
        let mut output = Output::new(BlockingIo(&mut out));
        let mut pending = b"hello world".to_vec();
        output.write_block(&mut pending).await.unwrap();
        assert_eq!(pending, b"hello world", "less than a block is not written");
        output.write(&mut pending).await.unwrap();
        assert!(pending.is_empty());
        let stats = output.finish().await.unwrap();
        assert_eq!(out.0, b"hello world");
        assert_eq!(stats.bytes, 11);
        assert_eq!(
            stats.sha256,
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
        );
    }
}
