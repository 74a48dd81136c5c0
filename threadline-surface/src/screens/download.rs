//! Downloads of changes, with the filters of the timeline.

use std::num::NonZeroU64;

use threadline_diesel::query::{ChangeCount, TableQuery};
use threadline_diesel::{CaptureStatus, capture_status, count_changes};
use threadline_export::{ActionColumns, Compression, Export, Order};

use crate::access::Capability;
use crate::download::{Download, FileFormat, GZIP, file_name};
use crate::page::{Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{ChangeFilters, FieldError, Parameters};
use crate::request::PageContext;
use crate::self_audit::recorded_filters;

/// Counts the changes, and answers with the file if it is not too large.
pub(crate) async fn show(
    context: &mut PageContext<'_>,
    format: FileFormat,
) -> Result<Screen, PageError> {
    let request = context.request;
    // A file has the stored values.
    if !request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    let mut parameters = request.parameters();
    let filters = ChangeFilters::take(&mut parameters, request.now, request.zone()).fixed();
    let options = FileOptions::take(&mut parameters, format);
    parameters.finish()?;
    let timeline = context.timeline(&filters).await?;
    let limit = request.settings.exports.max_rows.unwrap_or_default();
    let cap = u32::try_from(limit).unwrap_or(u32::MAX);
    match count_changes(context.conn, &timeline, cap).await? {
        ChangeCount::AtLeast(_) => {
            return Err(PageError::TooLarge(command(&filters, format, options)));
        }
        ChangeCount::Exact(0) => reject_unknown_table(context, &filters).await?,
        ChangeCount::Exact(_) => {}
    }
    let mut export = Export::new(timeline)
        .format(format.export_format())
        // A change that is captured after the count can make the file too large.
        .max_rows(NonZeroU64::new(limit).unwrap_or(NonZeroU64::MIN));
    if options.with_actions {
        export = export.action_columns(ActionColumns::With);
    }
    if options.is_newest_first {
        export = export.order(Order::NewestFirst);
    }
    if options.is_gzipped {
        export = export.compression(Compression::Gzip);
    }
    Ok(Screen::Download(Box::new(Download {
        export,
        format,
        content_type: if options.is_gzipped {
            GZIP
        } else {
            format.content_type()
        },
        file_name: file_name(&filters, format, options.is_gzipped, request.now),
        filters: recorded_filters(&filters),
    })))
}

/// The options of a file in an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileOptions {
    pub(crate) with_actions: bool,
    pub(crate) is_newest_first: bool,
    pub(crate) is_gzipped: bool,
}

impl FileOptions {
    pub(crate) fn take(parameters: &mut Parameters, format: FileFormat) -> Self {
        let options = Self {
            with_actions: parameters.flag("actions"),
            is_newest_first: parameters.flag("newest_first"),
            is_gzipped: parameters.flag("gzip"),
        };
        if options.is_gzipped
            && !matches!(
                format,
                FileFormat::Csv | FileFormat::Json | FileFormat::Ndjson
            )
        {
            parameters.reject("gzip", "true", "this format is compressed by itself");
        }
        options
    }

    /// The format and the options on the command line.
    pub(crate) fn arguments(self, format: FileFormat) -> Vec<String> {
        let mut arguments = vec!["--format".to_owned(), format.as_str().to_owned()];
        for (option, is_set) in [
            ("--with-actions", self.with_actions),
            ("--newest-first", self.is_newest_first),
            ("--gzip", self.is_gzipped),
        ] {
            if is_set {
                arguments.push(option.to_owned());
            }
        }
        arguments
    }
}

/// A misspelt table is an error, not an empty file.
pub(crate) async fn reject_unknown_table(
    context: &mut PageContext<'_>,
    filters: &ChangeFilters,
) -> Result<(), PageError> {
    let Some(table) = &filters.fields.table else {
        return Ok(());
    };
    let query = TableQuery::new(table.clone());
    let query = match context.request.scope() {
        Some(scope) => query.scope(scope),
        None => query,
    };
    match capture_status(context.conn, query).await? {
        CaptureStatus::Unknown => Err(PageError::Invalid(vec![FieldError {
            field: "table".to_owned(),
            value: table.to_string(),
            message: "the trail has no table with this name".to_owned(),
        }])),
        _ => Ok(()),
    }
}

/// The command that has no limit.
fn command(filters: &ChangeFilters, format: FileFormat, options: FileOptions) -> String {
    let mut arguments = vec!["export".to_owned()];
    arguments.extend(filters.arguments());
    arguments.extend(options.arguments(format));
    let gzip = if options.is_gzipped { ".gz" } else { "" };
    arguments.extend([
        "--output".to_owned(),
        format!("changes.{}{gzip}", format.as_str()),
    ]);
    Terminal::command(arguments).command.unwrap_or_default()
}
