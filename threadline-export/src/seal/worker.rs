//! The sealer as a task of an application.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::AsyncPgConnection;
use threadline_core::telemetry;

use super::{
    Publication, SealError, Signer, Step, check_published, publish_checkpoints, seal_next,
    sign_checkpoint, status,
};
use crate::connections::ConnectionPool;

/// What a round of the sealer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Round {
    /// The number of sealed records.
    pub sealed: u64,
    /// The number of published checkpoints.
    pub published: usize,
}

/// Checks the published checkpoint, seals the records that are settled when it begins, signs a checkpoint if there are any, and publishes what is not
/// published yet. Several sealers can run at once, also on several machines.
///
/// # Errors
/// Those of [`check_published`], [`seal_next`], [`sign_checkpoint`] and [`publish_checkpoints`]. The next round continues.
pub async fn run_round(
    conn: &mut AsyncPgConnection,
    signer: &Signer,
    publication: &Publication,
) -> Result<Round, SealError> {
    let state = status(conn).await?.ok_or(SealError::NotBegun)?;
    // First, so that a restored database seals nothing before the log is continued.
    check_published(conn, publication).await?;
    let mut sealed = 0;
    // Records that are written meanwhile do not delay the checkpoint.
    while let Step::Sealed { leaves, sealed_to } = seal_next(conn).await? {
        sealed += leaves;
        if sealed_to >= state.last_id {
            break;
        }
    }
    sign_checkpoint(conn, signer).await?;
    let published = publish_checkpoints(conn, publication).await?;
    Ok(Round { sealed, published })
}

/// Seals, signs and publishes at an interval.
///
/// The role of its connections needs the privileges of the sealer: SELECT on the trail, INSERT on `audit_seal_*`, UPDATE on
/// `audit_seal_logs`, `audit_seal_checkpoints` and `audit_feed_consumers`, EXECUTE on `seal_fields`.
///
/// ```no_run
/// # async fn example(
/// #     pool: impl threadline_export::connections::ConnectionPool,
/// #     shutdown: impl Future<Output = ()>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use std::path::Path;
/// use threadline_export::seal::{Publication, SealWorker, read_key_file};
///
/// let key = read_key_file("example.com/trail", Path::new("seal.pem"))?;
/// let sealer = SealWorker::new(pool, key, Publication::directory("published"));
/// sealer.run(shutdown).await;
/// # Ok(()) }
/// ```
pub struct SealWorker {
    pool: Arc<dyn ConnectionPool>,
    signer: Signer,
    publication: Publication,
    interval: Duration,
}

impl fmt::Debug for SealWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealWorker")
            .field("signer", &self.signer)
            .field("publication", &self.publication)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl SealWorker {
    /// A worker that takes connections from a pool.
    #[must_use]
    pub fn new(
        pool: impl ConnectionPool,
        signer: impl Into<Signer>,
        publication: Publication,
    ) -> Self {
        Self {
            pool: Arc::new(pool),
            signer: signer.into(),
            publication,
            interval: Duration::from_secs(60),
        }
    }

    /// Sets the pause between two rounds. One minute unless set.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Runs until `shutdown` completes. A round that runs then is dropped; the next one continues.
    ///
    /// Errors are logged, and the worker continues after a pause.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            loop {
                // The event has the kind of the error.
                let _: Result<Round, SealError> = self.run_once().await;
                tokio::time::sleep(self.interval).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown => {}
        }
    }

    /// Runs one round.
    ///
    /// # Errors
    /// Those of [`run_round`], or [`SealError::Pool`].
    pub async fn run_once(&self) -> Result<Round, SealError> {
        let started = Instant::now();
        let round = async {
            let mut conn = self.pool.connection().await.map_err(SealError::Pool)?;
            run_round(&mut conn, &self.signer, &self.publication).await
        };
        let round = round.await;
        match &round {
            Ok(round) => telemetry::seal_finished(round.sealed, round.published, started.elapsed()),
            Err(error) => telemetry::seal_failed(error.kind()),
        }
        round
    }
}
