//! Exports: their options, and their execution.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::Path;

use diesel_async::AsyncPgConnection;
use futures_util::TryStreamExt;
use threadline_diesel::{ReadError, Timeline, deployed_tables};
use tokio::io::AsyncWrite;

use crate::buffer::EncodeBuffer;
use crate::change_cursor;
use crate::encode::{Encoder, Records};
use crate::error::ExportError;
use crate::file::Target;
use crate::format::{ActionColumns, Compression, Format, Layout, Order};
use crate::manifest::{MANIFEST_VERSION, Manifest, Summary};
use crate::output::{AsyncIo, BlockingIo, Output, Writer};
use crate::snapshot::{self, Snapshot};

/// An export of the changes that match the filters of a timeline. By default it is NDJSON, oldest change
/// first.
///
/// ```
/// use std::num::NonZeroU64;
/// use threadline_diesel::query::Timeline;
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
    layout: Layout,
    actions: ActionColumns,
    order: Order,
    max_rows: Option<NonZeroU64>,
}

/// The progress of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of written changes.
    pub rows: u64,
}

impl Export {
    /// Creates an export of all changes that match the filters of a timeline. The timeline's page size
    /// and cursor are ignored.
    #[must_use]
    pub fn new(timeline: Timeline) -> Self {
        Self {
            timeline,
            format: Format::Ndjson,
            compression: Compression::None,
            layout: Layout::Changes,
            actions: ActionColumns::Without,
            order: Order::OldestFirst,
            max_rows: None,
        }
    }

    /// Sets the format.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the compression of the whole export.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets what a record is: a change, or a field that a change set.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets whether the columns of the action in force are exported. [`Layout::Fields`] has columns for
    /// its name and reason of its own.
    #[must_use]
    pub fn action_columns(mut self, actions: ActionColumns) -> Self {
        self.actions = actions;
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets the maximum number of changes. By default there is none.
    #[must_use]
    pub fn max_rows(mut self, max_rows: NonZeroU64) -> Self {
        self.max_rows = Some(max_rows);
        self
    }

    /// Exports to a blocking writer.
    ///
    /// The connection must not be in a transaction, because the export begins one for its snapshot.
    /// The writer blocks the thread; use [`write_to_async`](Self::write_to_async) for slow writers in
    /// an asynchronous program. `progress` is called before the first change and then every few
    /// thousand changes.
    ///
    /// If the future is dropped before it completes, the transaction stays open, as with Diesel's own
    /// transactions; pools then discard the connection.
    ///
    /// # Errors
    /// [`ExportError`]. The output is then incomplete. If the reader closed a pipe,
    /// [`is_closed_pipe`](ExportError::is_closed_pipe) is true.
    pub async fn write_to<W: Write + Send>(
        &self,
        conn: &mut AsyncPgConnection,
        writer: &mut W,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Manifest, ExportError> {
        self.run(conn, BlockingIo(writer), &mut progress).await
    }

    /// Exports to an asynchronous writer, for example the body of a response or an upload.
    ///
    /// Changes are read no faster than the writer accepts them. The writer is flushed, but not shut
    /// down. Otherwise this method is like [`write_to`](Self::write_to).
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to).
    pub async fn write_to_async<W: AsyncWrite + Unpin + Send>(
        &self,
        conn: &mut AsyncPgConnection,
        writer: &mut W,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Manifest, ExportError> {
        self.run(conn, AsyncIo(writer), &mut progress).await
    }

    /// Exports to a file, and writes its manifest to `<file>.manifest.json`.
    ///
    /// Both are written under temporary names in the same directory, synced to disk and renamed when
    /// they are complete, so that an incomplete file never has the final name. Existing files are
    /// replaced. Only the owner can read the files.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to), and [`ExportError::NotAFile`] if the path is a directory, a
    /// device or a pipe.
    pub async fn write_file(
        &self,
        conn: &mut AsyncPgConnection,
        path: impl AsRef<Path> + Send,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Manifest, ExportError> {
        let mut target = Target::create(path.as_ref())?;
        let manifest = match self
            .run(conn, BlockingIo(target.file()), &mut progress)
            .await
        {
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
        let records = match self.layout {
            Layout::Changes => Records::Change(self.actions),
            Layout::Fields => Records::Fields(deployed_tables(conn).await.map_err(read_error)?),
        };
        change_cursor::open(conn, &self.timeline, self.order, self.limit()).await?;
        let mut output = Output::new(writer);
        let columns = records.columns();
        let buffer = EncodeBuffer::new(self.compression);
        let mut encoder = Encoder::start(self.format, records, buffer)?;
        let max_rows = self.max_rows.map_or(u64::MAX, NonZeroU64::get);
        let (mut row_count, mut cut) = (0, false);
        loop {
            progress(Progress { rows: row_count });
            let mut read = 0;
            let mut entries = change_cursor::fetch(conn).await?;
            while let Some(entry) = entries.try_next().await? {
                read += 1;
                if row_count == max_rows {
                    cut = true;
                    continue;
                }
                row_count += 1;
                encoder.write(&entry)?;
                let written = output.write_block(encoder.pending()).await;
                written.map_err(ExportError::Write)?;
            }
            // Write a partial block too, so that a reader of the stream does not wait for the next fetch.
            let written = output.write(encoder.pending()).await;
            written.map_err(ExportError::Write)?;
            if read < change_cursor::FETCH_ROWS {
                break;
            }
        }
        progress(Progress { rows: row_count });
        let summary = Summary {
            columns,
            row_count,
            cut,
            ..self.summary(snapshot)
        };
        let buffer = encoder.finish(&summary)?;
        let mut rest = buffer.finish().map_err(ExportError::Write)?;
        output.write(&mut rest).await.map_err(ExportError::Write)?;
        let stats = output.finish().await.map_err(ExportError::Write)?;
        Ok(Manifest {
            summary,
            bytes: stats.bytes,
            sha256: stats.sha256,
        })
    }

    /// One more than the maximum number of changes, to find out whether the export is cut.
    fn limit(&self) -> Option<i64> {
        let max_rows = self.max_rows?;
        i64::try_from(max_rows.get()).ok()?.checked_add(1)
    }

    /// The summary before the first change.
    fn summary(&self, snapshot: Snapshot) -> Summary {
        Summary {
            manifest_version: MANIFEST_VERSION,
            library_version: env!("CARGO_PKG_VERSION"),
            generated_at: snapshot.taken_at,
            snapshot: snapshot.snapshot,
            filters: self.timeline.filters_json(),
            format: self.format,
            layout: self.layout,
            compression: self.compression,
            order: self.order,
            columns: Vec::new(),
            max_rows: self.max_rows,
            row_count: 0,
            cut: false,
        }
    }
}

fn read_error(error: ReadError) -> ExportError {
    match error {
        ReadError::Database(error) => error.into(),
        other => ExportError::Database(diesel::result::Error::QueryBuilderError(other.into())),
    }
}
