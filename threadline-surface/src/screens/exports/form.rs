//! The fields of a form that say which file an export is.

use maud::{Markup, html};
use threadline_diesel::query::TimelineFilters;
use threadline_export::jobs::{ExportRequest, KeepDays};
use threadline_export::{ActionColumns, Compression, Order};

use crate::download::FileFormat;
use crate::question::{ChangeFilters, FieldError, Parameters};
use crate::request::GrantedRequest;
use crate::screens::download::FileOptions;
use crate::view::filter_words::filter_list;
use crate::view::form::{Choice, Field, field, select};

/// The names of the fields.
pub(crate) const FIELDS: [&str; 6] = ["file", "gzip", "actions", "newest_first", "keep", "storage"];

/// Which file an export is, and where and how long it is kept.
#[derive(Debug, Clone)]
pub(crate) struct FileChoice {
    pub(crate) format: FileFormat,
    pub(crate) options: FileOptions,
    pub(crate) keep: KeepDays,
    pub(crate) storage: String,
}

impl FileChoice {
    /// Takes the choice out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters, request: &GrantedRequest) -> Self {
        let format = parameters.parsed("file", |text| {
            let found = FileFormat::ALL.iter().find(|one| one.as_str() == text);
            found
                .copied()
                .ok_or_else(|| "choose one of the list".to_owned())
        });
        let format = format.unwrap_or(FileFormat::Csv);
        let keep = parameters.parsed("keep", |text| {
            let days = text
                .parse()
                .map_err(|_| "write a number of days".to_owned())?;
            KeepDays::new(days).map_err(|error| error.to_string())
        });
        let names = storage_names(request);
        let storage = parameters.parsed("storage", |text| {
            let found = names.iter().find(|name| *name == text);
            found
                .cloned()
                .ok_or_else(|| "choose one of the list".to_owned())
        });
        Self {
            format,
            options: FileOptions::take(parameters, format),
            keep: keep.unwrap_or_default(),
            storage: storage.or(names.first().cloned()).unwrap_or_default(),
        }
    }

    /// The request for an export of these changes.
    pub(crate) fn export_request(&self, filters: TimelineFilters) -> ExportRequest {
        let mut request = ExportRequest::new(filters);
        request.format = self.format.export_format();
        if self.options.with_actions {
            request.action_columns = ActionColumns::With;
        }
        if self.options.is_newest_first {
            request.order = Order::NewestFirst;
        }
        if self.options.is_gzipped {
            request.compression = Compression::Gzip;
        }
        request.storage.clone_from(&self.storage);
        request.keep_days = self.keep;
        request
    }

    /// The options on the command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = self.options.arguments(self.format);
        let keep = format!("{}d", self.keep.days());
        let storage = self.storage.clone();
        arguments.extend(["--storage".to_owned(), storage, "--keep".to_owned(), keep]);
        arguments
    }

    /// The fields of a form.
    pub(crate) fn fields(&self, request: &GrantedRequest, errors: &[FieldError]) -> Markup {
        let formats = FileFormat::ALL
            .iter()
            .map(|one| Choice::new(one.as_str(), *one == self.format));
        let names = storage_names(request);
        let storages = names
            .iter()
            .map(|name| Choice::new(name, *name == self.storage));
        let keep = self.keep.days().to_string();
        let keep = Field::new("keep", "Days to keep the file")
            .value(&keep)
            .errors(errors);
        html! {
            (select("file", "Format", formats))
            (check_box("gzip", "Compress with gzip", self.options.is_gzipped, errors))
            (check_box("actions", "With columns of the action", self.options.with_actions, errors))
            (check_box("newest_first", "Newest change first", self.options.is_newest_first, errors))
            (field(&keep))
            @if names.len() > 1 { (select("storage", "Storage", storages)) }
        }
    }
}

fn storage_names(request: &GrantedRequest) -> Vec<String> {
    let background = request.settings.background.as_ref();
    background.map_or_else(Vec::new, |storages| {
        storages.names().map(str::to_owned).collect()
    })
}

fn check_box(name: &'static str, label: &str, is_on: bool, errors: &[FieldError]) -> Markup {
    let error = errors.iter().find(|error| error.field == name);
    let error_id = format!("field-{name}-error");
    html! {
        div {
            label {
                input type="checkbox" name=(name) value="true" checked[is_on]
                    aria-describedby=[error.map(|_| &error_id)];
                " " (label)
            }
            @if let Some(error) = error {
                p.error id=(error_id) role="alert" { (error.message) }
            }
        }
    }
}

/// The filters in words.
pub(crate) fn export_filters(filters: &ChangeFilters) -> Markup {
    let pairs = filters.pairs();
    if pairs.is_empty() {
        html! { p { "All changes that you may see." } }
    } else {
        filter_list(&pairs)
    }
}
