//! Settings of the process: the width and colours of the terminal, the time zone, the current time.

use std::io::{IsTerminal, stdout};
use std::sync::OnceLock;

use chrono::{DateTime, SubsecRound, Utc};
use clap::{Args, ValueEnum};
use threadline_core::instant::{InstantInput, Tz, parse_zone, zone_from_env};

use crate::exit::Failure;

/// The heading of global options in help texts.
const HEADING: &str = "Global options";

/// The width of a terminal that does not report one.
const DEFAULT_WIDTH: u16 = 80;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// When to use colours. auto: on a terminal, unless `NO_COLOR` is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", help_heading = HEADING, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    /// The time zone of times without an offset, in which times are also shown: `Europe/Berlin`. By default
    /// `TZ`, or else UTC.
    #[arg(long, global = true, value_name = "ZONE", help_heading = HEADING, value_parser = parse_zone)]
    tz: Option<Tz>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug)]
pub(crate) struct Settings {
    /// The width of the terminal in columns; none if the output is not for a terminal.
    pub(crate) width: Option<usize>,
    /// Whether the output has colours.
    pub(crate) colors: bool,
    /// The time zone of input without an offset, and of output beside UTC.
    pub(crate) zone: Tz,
    /// The time at which the process started.
    pub(crate) now: DateTime<Utc>,
}

static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// The settings of [`init_settings`], or else of the environment.
pub(crate) fn settings() -> &'static Settings {
    SETTINGS.get_or_init(|| Settings::new(ColorChoice::Auto, None))
}

/// Initializes the settings by the options of the command line.
pub(crate) fn init_settings(args: &GlobalArgs) {
    SETTINGS.get_or_init(|| Settings::new(args.color, args.tz));
}

impl Settings {
    fn new(color: ColorChoice, zone: Option<Tz>) -> Self {
        let colors = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                stdout().is_terminal() && !refused
            }
        };
        // crossterm reads NO_COLOR by itself, which must not apply to `--color always`.
        crossterm::style::force_color_output(colors);
        Self {
            width: terminal_width().map(usize::from),
            colors,
            zone: zone.unwrap_or_else(|| zone_from_env(std::env::var("TZ").ok().as_deref())),
            // In the precision of PostgreSQL.
            now: Utc::now().trunc_subsecs(6),
        }
    }
}

/// `COLUMNS`, or else the width of the terminal; none if standard output is not a terminal.
fn terminal_width() -> Option<u16> {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.trim().parse().ok());
    columns.filter(|columns| *columns > 0).or_else(|| {
        stdout().is_terminal().then(|| {
            crossterm::terminal::size()
                .map(|(columns, _)| columns)
                .ok()
                .filter(|columns| *columns > 0)
                .unwrap_or(DEFAULT_WIDTH)
        })
    })
}

/// The instant of an option or argument.
pub(crate) fn resolve_instant(name: &str, input: &InstantInput) -> Result<DateTime<Utc>, Failure> {
    let settings = settings();
    input
        .resolve(settings.now, settings.zone)
        .map_err(|invalid| Failure::usage(format!("{name}: {invalid}")))
}
