#![doc = include_str!("../README.md")]

mod args;
mod commands;
mod connection;
mod diesel_config;
mod exit;
mod host;
mod migrations_dir;
mod on_disk;
mod output;
mod policy_changes;
mod settings;

use std::process::ExitCode;

use clap::Parser;

pub use self::args::DemoArgs;
pub use self::host::{
    BuildEvidencePlan, BuildNotifier, BuildScopeResolver, Demo, Host, OpenStorages, Retention,
    Subjects,
};
pub use self::output::incident::show_incident;
pub use self::output::table::{show_actions, show_transactions};
pub use self::output::timeline::show_timeline;

/// Links the crates that hold a host's models and defines the `main` of its xtask. A setting has the name of the
/// method of [`Host`] that takes it.
///
/// ```ignore
/// threadline_xtask::xtask!(my_app, my_models);
/// // With the policy that the `retention` commands apply:
/// threadline_xtask::xtask!(my_app; retention: my_app::retention_policy);
/// // With the plan of the checks that the `evidence` commands run:
/// threadline_xtask::xtask!(my_app; evidence_plan: my_app::evidence_plan);
/// // With the map of the data of a person, for the `erase` commands:
/// threadline_xtask::xtask!(my_app; subject_map: my_app::subject_map);
/// ```
#[macro_export]
macro_rules! xtask {
    ($($models:ident),+ $(,)? $(; $setting:ident: $value:path)*) => {
        $(use $models as _;)+

        fn main() -> ::std::process::ExitCode {
            $crate::main(
                $crate::Host::new(&[$(::core::stringify!($models)),+])
                    $(.$setting($value))*,
            )
        }
    };
}

/// Runs the command line of this process for a host.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use threadline_xtask::Host;
///
/// fn main() -> ExitCode {
///     threadline_xtask::main(Host::new(&["my_app"]))
/// }
/// ```
#[must_use]
pub fn main(host: Host) -> ExitCode {
    let arguments = commands::Arguments::parse();
    settings::init_settings(&arguments.global);
    for name in host.crates_without_models() {
        eprintln!(
            "warning: crate `{name}` registers no audited model; derive Audited on its models, or remove \
             it from xtask!"
        );
    }
    commands::run(host, arguments.command).into()
}
