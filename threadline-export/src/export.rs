//! Exports: values that say what is exported and how, and what runs them.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::Path;

use diesel_async::AsyncPgConnection;
use futures_util::TryStreamExt;
use threadline_diesel::timeline::Timeline;
use tokio::io::AsyncWrite;

use crate::encode::Encoder;
use crate::error::ExportError;
use crate::file::Target;
use crate::format::{ActionColumns, Compression, Format, Order};
use crate::manifest::{MANIFEST_VERSION, Manifest, Summary};
use crate::outlet::{Awaited, Blocking, Outlet, Writer};
use crate::reading;
use crate::record::column_names;
use crate::sink::Sink;
use crate::snapshot::{self, Snapshot};

/// An export of the changes a timeline asks for, oldest first unless asked otherwise.
///
/// ```
/// use std::num::NonZeroU64;
/// use threadline_diesel::timeline::Timeline;
/// use threadline_export::{CsvOptions, Export, Format};
///
/// let export = Export::new(Timeline::new().table("orders".parse()?))
///     .format(Format::Csv(CsvOptions::new()))
///     .max_rows(NonZeroU64::MIN);
/// # let _ = export;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    timeline: Timeline,
    format: Format,
    compression: Compression,
    actions: ActionColumns,
    order: Order,
    max_rows: Option<NonZeroU64>,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many changes were written.
    pub rows: u64,
}

impl Export {
    /// Everything a timeline asks for, as NDJSON. The timeline's page size and cursor play no
    /// part.
    #[must_use]
    pub fn new(timeline: Timeline) -> Self {
        Self {
            timeline,
            format: Format::Ndjson,
            compression: Compression::None,
            actions: ActionColumns::Without,
            order: Order::OldestFirst,
            max_rows: None,
        }
    }

    /// In a format.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Compressed as a whole.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// With or without the columns of the action in force.
    #[must_use]
    pub fn action_columns(mut self, actions: ActionColumns) -> Self {
        self.actions = actions;
        self
    }

    /// In this order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// No more changes than this, the first in the order. Without it there is no limit.
    #[must_use]
    pub fn max_rows(mut self, most: NonZeroU64) -> Self {
        self.max_rows = Some(most);
        self
    }

    /// Runs the export into a writer.
    ///
    /// The connection must not be in a transaction: the export has one of its own, and with it one
    /// snapshot. The writer is written to in blocks on this thread, so on a server hand in one that
    /// does not wait long; progress is told every few thousand changes, and before the first.
    ///
    /// A future that is dropped half-way leaves its transaction open, as with Diesel's own; pools
    /// see that and discard the connection.
    ///
    /// # Errors
    /// [`ExportError`]; [`is_closed_pipe`](ExportError::is_closed_pipe) tells when the reader just
    /// had enough. What was written by then is no complete export.
    pub async fn write_to<W: Write + Send>(
        &self,
        conn: &mut AsyncPgConnection,
        writer: &mut W,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Manifest, ExportError> {
        self.run(conn, Blocking(writer), &mut progress).await
    }

    /// Runs the export into an asynchronous writer: a response's body, a pipe, an upload.
    ///
    /// It waits for the writer without holding up the thread, and reads no faster than the writer
    /// takes. Otherwise it is [`write_to`](Self::write_to). The writer is flushed, not shut down.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to).
    pub async fn write_to_async<W: AsyncWrite + Unpin + Send>(
        &self,
        conn: &mut AsyncPgConnection,
        writer: &mut W,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Manifest, ExportError> {
        self.run(conn, Awaited(writer), &mut progress).await
    }

    /// Runs the export into a file, with its manifest beside it: `<file>.manifest.json`.
    ///
    /// Both are written beside their places under other names, to disk, and renamed when they are
    /// complete; they replace what was there, and only their owner can read them. Under the names
    /// themselves there is never half a file, whatever happens on the way.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to); [`ExportError::NotAFile`] when the path is a folder, a
    /// device or a pipe.
    pub async fn write_file(
        &self,
        conn: &mut AsyncPgConnection,
        path: impl AsRef<Path> + Send,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Manifest, ExportError> {
        let mut target = Target::beside(path.as_ref())?;
        let manifest = match self.run(conn, Blocking(target.file()), &mut progress).await {
            Err(ExportError::Write(source)) => return Err(target.error(source)),
            other => other?,
        };
        target.complete(&manifest)?;
        Ok(manifest)
    }

    async fn run(
        &self,
        conn: &mut AsyncPgConnection,
        writer: impl Writer,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Manifest, ExportError> {
        #[cfg(all(feature = "gzip", feature = "parquet"))]
        if self.format == Format::Parquet && self.compression == Compression::Gzip {
            return Err(ExportError::GzippedParquet);
        }
        snapshot::begin(conn).await?;
        let outcome = self.read_and_write(conn, writer, progress).await;
        let manifest = snapshot::end(conn, outcome).await?;
        tracing::info!(
            target: "threadline",
            rows = manifest.summary.row_count,
            bytes = manifest.bytes,
            cut = manifest.summary.cut,
            "export done"
        );
        Ok(manifest)
    }

    async fn read_and_write(
        &self,
        conn: &mut AsyncPgConnection,
        writer: impl Writer,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Manifest, ExportError> {
        let snapshot = Snapshot::take(conn).await?;
        reading::open(conn, &self.timeline, self.order, self.limit()).await?;
        let mut outlet = Outlet::new(writer);
        let mut encoder = Encoder::start(self.format, self.actions, Sink::new(self.compression))?;
        let most = self.max_rows.map_or(u64::MAX, NonZeroU64::get);
        let (mut row_count, mut cut) = (0, false);
        loop {
            progress(Progress { rows: row_count });
            let mut read = 0;
            let mut entries = reading::portion(conn).await?;
            while let Some(entry) = entries.try_next().await? {
                read += 1;
                if row_count == most {
                    cut = true;
                    continue;
                }
                row_count += 1;
                encoder.write(&entry)?;
                let written = outlet.take_block(encoder.ready()).await;
                written.map_err(ExportError::Write)?;
            }
            // Whoever reads along need not wait until a block is full.
            let written = outlet.take(encoder.ready()).await;
            written.map_err(ExportError::Write)?;
            if read < reading::PORTION_ROWS {
                break;
            }
        }
        progress(Progress { rows: row_count });
        let summary = self.summary(snapshot, row_count, cut);
        let sink = encoder.finish(&summary)?;
        let mut rest = sink.finish().map_err(ExportError::Write)?;
        outlet.take(&mut rest).await.map_err(ExportError::Write)?;
        let measures = outlet.finish().await.map_err(ExportError::Write)?;
        Ok(Manifest {
            summary,
            bytes: measures.bytes,
            sha256: measures.sha256,
        })
    }

    /// One change more than the export may have: that one tells whether it was cut.
    fn limit(&self) -> Option<i64> {
        let most = self.max_rows?;
        i64::try_from(most.get()).ok()?.checked_add(1)
    }

    fn summary(&self, snapshot: Snapshot, row_count: u64, cut: bool) -> Summary {
        Summary {
            manifest_version: MANIFEST_VERSION,
            library_version: env!("CARGO_PKG_VERSION"),
            generated_at: snapshot.taken_at,
            snapshot: snapshot.snapshot,
            filters: self.timeline.filters_json(),
            format: self.format,
            compression: self.compression,
            order: self.order,
            columns: column_names(self.actions).collect(),
            max_rows: self.max_rows,
            row_count,
            cut,
        }
    }
}
