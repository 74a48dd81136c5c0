//! How an export's bytes leave: measured, into a writer that blocks or one that does not.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What is handed to a writer at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// The caller's writer, of either kind.
pub(crate) trait Writer: Send {
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// A writer that blocks the thread.
pub(crate) struct Blocking<'w, W>(pub(crate) &'w mut W);

impl<W: Write + Send> Writer for Blocking<'_, W> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A writer that is waited for.
pub(crate) struct Awaited<'w, W>(pub(crate) &'w mut W);

impl<W: AsyncWrite + Unpin + Send> Writer for Awaited<'_, W> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measures {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A writer, and the measures of what went into it.
pub(crate) struct Outlet<W> {
    writer: W,
    bytes: u64,
    digest: Sha256,
}

impl<W: Writer> Outlet<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self {
            writer,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// Writes what is ready, once there is enough of it.
    pub(crate) async fn take_block(&mut self, ready: &mut Vec<u8>) -> io::Result<()> {
        if ready.len() >= BLOCK_BYTES {
            self.take(ready).await?;
        }
        Ok(())
    }

    /// Writes what is ready.
    pub(crate) async fn take(&mut self, ready: &mut Vec<u8>) -> io::Result<()> {
        if ready.is_empty() {
            return Ok(());
        }
        self.writer.write(ready).await?;
        self.digest.update(&ready);
        self.bytes += ready.len() as u64;
        ready.clear();
        // One large change must not hold its memory to the end.
        ready.shrink_to(4 * BLOCK_BYTES);
        Ok(())
    }

    /// Waits until everything has arrived, and says what that was.
    pub(crate) async fn finish(mut self) -> io::Result<Measures> {
        self.writer.flush().await?;
        let digest: [u8; 32] = self.digest.finalize().into();
        Ok(Measures {
            bytes: self.bytes,
            sha256: hexadecimal(&digest),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
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

    #[tokio::test]
    async fn what_is_measured_is_what_arrived() {
        let mut out = Reluctant(Vec::new());
        let mut outlet = Outlet::new(Blocking(&mut out));
        let mut ready = b"hello world".to_vec();
        outlet.take_block(&mut ready).await.unwrap();
        assert_eq!(ready, b"hello world", "too little for a block");
        outlet.take(&mut ready).await.unwrap();
        assert!(ready.is_empty());
        let measures = outlet.finish().await.unwrap();
        assert_eq!(out.0, b"hello world");
        assert_eq!(measures.bytes, 11);
        assert_eq!(
            measures.sha256,
            "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
        );
    }
}
