//! The writing end of a response body.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures_channel::mpsc::Sender;
use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep};

/// The largest block of a body.
const BLOCK_BYTES: usize = 64 * 1024;

/// A writer that sends blocks to a body. It waits while the client is slow, and fails as a closed pipe if
/// the client is gone or takes nothing for too long, so that no client keeps a snapshot open.
pub(super) struct BlockWriter {
    sender: Sender<Bytes>,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    sent_bytes: u64,
}

impl BlockWriter {
    pub(super) fn new(sender: Sender<Bytes>, patience: Duration) -> Self {
        Self {
            sender,
            patience,
            waiting: None,
            sent_bytes: 0,
        }
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }
}

impl AsyncWrite for BlockWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let this = &mut *self;
        match this.sender.poll_ready(context) {
            Poll::Ready(Ok(())) => {
                this.waiting = None;
                let block = &bytes[..bytes.len().min(BLOCK_BYTES)];
                let sent = this.sender.start_send(Bytes::copy_from_slice(block));
                sent.map_err(|_| Error::from(ErrorKind::BrokenPipe))?;
                this.sent_bytes += block.len() as u64;
                Poll::Ready(Ok(block.len()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            Poll::Pending => {
                let patience = this.patience;
                let waiting = this
                    .waiting
                    .get_or_insert_with(|| Box::pin(sleep(patience)));
                let over = waiting.as_mut().poll(context);
                over.map(|()| Err(ErrorKind::BrokenPipe.into()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}
