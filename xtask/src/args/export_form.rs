//! The form of exported files.

use clap::{Args, ValueEnum};
use threadline_export::{
    ActionColumns, Compression, CsvOptions, Format, FormulaGuard, Layout, Order,
};

use crate::exit::Failure;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are flags of a command line"
)]
pub(crate) struct ExportFormArgs {
    /// The file format. `parquet` needs a program that is built with the feature `parquet`.
    #[arg(long, value_enum, default_value_t = FormatName::Csv)]
    format: FormatName,
    /// Compress with gzip. Parquet has its own compression.
    #[arg(long)]
    gzip: bool,
    /// Write the newest change first. By default the oldest is first.
    #[arg(long)]
    newest_first: bool,
    /// Do not escape text in CSV that a spreadsheet would run as a formula.
    #[arg(long)]
    no_formula_guard: bool,
    /// Add the columns of the action in force.
    #[arg(long)]
    with_actions: bool,
    /// For people: one line for each changed field, with when, who, why, table, row, before and after.
    #[arg(long, conflicts_with = "with_actions")]
    flat: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// Comma-separated values with a header.
    Csv,
    /// One document that ends with the manifest.
    Json,
    /// One object per line.
    Ndjson,
    /// Typed columns for analysis.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl ExportFormArgs {
    /// Rejects options that contradict each other.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.no_formula_guard && self.format != FormatName::Csv {
            return Err(Failure::usage("--no-formula-guard is for --format csv"));
        }
        #[cfg(feature = "parquet")]
        if self.flat && self.format == FormatName::Parquet {
            return Err(Failure::usage(
                "--flat is for --format csv, json and ndjson",
            ));
        }
        #[cfg(feature = "parquet")]
        if self.gzip && self.format == FormatName::Parquet {
            return Err(Failure::usage(
                "Parquet has its own compression: omit --gzip",
            ));
        }
        Ok(())
    }

    pub(crate) fn format(&self) -> Format {
        match self.format {
            FormatName::Csv => {
                Format::Csv(CsvOptions::new().formula_guard(if self.no_formula_guard {
                    FormulaGuard::Off
                } else {
                    FormulaGuard::On
                }))
            }
            FormatName::Json => Format::Json,
            FormatName::Ndjson => Format::Ndjson,
            #[cfg(feature = "parquet")]
            FormatName::Parquet => Format::Parquet,
        }
    }

    pub(crate) fn compression(&self) -> Compression {
        if self.gzip {
            Compression::Gzip
        } else {
            Compression::None
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        if self.flat {
            Layout::Fields
        } else {
            Layout::Changes
        }
    }

    pub(crate) fn action_columns(&self) -> ActionColumns {
        if self.with_actions {
            ActionColumns::With
        } else {
            ActionColumns::Without
        }
    }

    pub(crate) fn order(&self) -> Order {
        if self.newest_first {
            Order::NewestFirst
        } else {
            Order::OldestFirst
        }
    }

    /// Whether the file is not text.
    pub(crate) fn is_binary(&self) -> bool {
        #[cfg(feature = "parquet")]
        if self.format == FormatName::Parquet {
            return true;
        }
        self.gzip
    }
}
