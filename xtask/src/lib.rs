#![doc = include_str!("../README.md")]

mod cli;
mod commands;
mod connection;
mod exit;
mod instant;
mod migrations_dir;
mod on_disk;
mod report;
mod show;
mod show_retention;

use std::process::ExitCode;

use clap::Parser;
use threadline_core::expected_gap::ExpectedGap;
use threadline_core::retention::{InvalidRetention, RetentionPolicy};

pub use cli::DemoArgs;
pub use show::{show_actions, show_incident, show_timeline, show_transactions};

/// Links the crates that hold a host's models and makes the `main` of its xtask.
///
/// ```ignore
/// threadline_xtask::xtask!(my_app, my_models);
/// // With the retention policy that `retention` is about:
/// threadline_xtask::xtask!(my_app; retention: my_app::retention_policy);
/// ```
#[macro_export]
macro_rules! xtask {
    ($($models:ident),+ $(,)? $(; demo: $demo:path)? $(; retention: $retention:path)?) => {
        $(use $models as _;)+

        fn main() -> ::std::process::ExitCode {
            $crate::main(
                $crate::Host::new(&[$(::core::stringify!($models)),+])
                    $(.demo($demo))?
                    $(.retention($retention))?,
            )
        }
    };
}

/// What a host brings to the command line.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    crates: &'static [&'static str],
    demo: Option<Demo>,
    expected_gaps: &'static [ExpectedGap],
    retention: Option<Retention>,
}

/// A host's demonstration.
pub type Demo = fn(&DemoArgs) -> anyhow::Result<()>;

/// A host's retention policy.
pub type Retention = fn() -> Result<RetentionPolicy, InvalidRetention>;

impl Host {
    /// A host whose models are in these crates.
    #[must_use]
    pub const fn new(crates: &'static [&'static str]) -> Self {
        Self {
            crates,
            demo: None,
            expected_gaps: &[],
            retention: None,
        }
    }

    /// The same host with a demonstration.
    #[must_use]
    pub const fn demo(mut self, demo: Demo) -> Self {
        self.demo = Some(demo);
        self
    }

    /// The same host with tables that are knowingly not captured, beside those that its crates
    /// declare with `expected_gap!`.
    #[must_use]
    pub const fn expected_gaps(mut self, gaps: &'static [ExpectedGap]) -> Self {
        self.expected_gaps = gaps;
        self
    }

    /// The same host with a retention policy.
    #[must_use]
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// The crates that were listed but register no model, which is how a model goes missing
    /// without anybody noticing.
    fn silent_crates(self) -> Vec<&'static str> {
        self.crates
            .iter()
            .copied()
            .filter(|listed| {
                !threadline_core::registry::registrations()
                    .any(|registration| registration.crate_name() == *listed)
            })
            .collect()
    }
}

/// Runs the command line of this process for a host.
#[must_use]
pub fn main(host: Host) -> ExitCode {
    let arguments = cli::Arguments::parse();
    for silent in host.silent_crates() {
        eprintln!(
            "warning: crate `{silent}` registers no audited model; derive Audited on its models, \
             or take it out of xtask!"
        );
    }
    commands::run(host, arguments.command).into()
}
