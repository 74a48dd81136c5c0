//! One file a command.

pub(crate) mod actions;
pub(crate) mod actor;
mod as_of;
pub(crate) mod baseline;
pub(crate) mod continuity;
pub(crate) mod correlation;
pub(crate) mod coverage;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod feed;
mod follow;
mod gen_triggers;
mod history;
mod incident;
mod install;
mod lists;
pub(crate) mod policy;
mod redeploy;
pub(crate) mod retention;
pub(crate) mod subject;
mod timeline;
pub(crate) mod verify;

use crate::Host;
use crate::cli::Command;
use crate::connection::block_on;
use crate::exit::{Answer, Ending, Failure};

pub(crate) fn run(host: Host, command: Command) -> Ending {
    Ending(match command {
        Command::Install(args) => install::run(&args),
        Command::GenTriggers(args) => block_on(gen_triggers::run(args)),
        Command::Timeline(args) => block_on(timeline::run(args)),
        Command::History(args) => block_on(history::run(args)),
        Command::AsOf(args) => block_on(as_of::run(args)),
        Command::Incident(args) => block_on(incident::run(args)),
        Command::Diff(args) => block_on(diff::run(args)),
        Command::Continuity(args) => block_on(continuity::run(args)),
        Command::Baseline(args) => block_on(baseline::run(args)),
        Command::Actor(args) => block_on(actor::run(args)),
        Command::Actions(args) => block_on(actions::run(args)),
        Command::Correlation(args) => block_on(correlation::run(args)),
        Command::Export(args) => block_on(export::run(args)),
        Command::Feed(args) => block_on(feed::run(args)),
        Command::Coverage(args) => block_on(coverage::run(host, args)),
        Command::Policy(args) => block_on(policy::run(args)),
        Command::Verify(args) => block_on(verify::run(host, args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Retention(command) => block_on(retention::run(host, command)),
        Command::Demo(args) => match host.demo {
            Some(demo) => demo(&args).map(|()| Answer::Fine).map_err(Failure::from),
            None => Err(Failure::usage(
                "there is no demonstration here: run `cargo xtask demo` in Threadline's own \
                 repository",
            )),
        },
    })
}
