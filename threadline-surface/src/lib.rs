#![cfg_attr(feature = "deadpool", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "deadpool"),
    doc = "The operator console of Threadline's audit trail. The README has an example with deadpool."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
mod assets;
#[cfg(feature = "background")]
mod background;
mod base_path;
pub mod connections;
mod console;
mod coverage_check;
mod download;
mod gate;
mod href;
mod page;
mod page_error;
mod preferences;
mod question;
mod report;
mod request;
mod request_rate;
mod route;
mod routes;
mod screens;
mod self_audit;
mod settings;
mod shared_looks;
mod shell;
mod view;

pub use self::access::{Capability, Decision, Denial, Grant, Visit};
pub use self::connections::ConnectionPool;
pub use self::console::{Authorized, BuildError, Console, ConsoleBuilder};
pub use self::route::Route;
pub use self::routes::SCREENS;
pub use self::settings::{Branding, Exports, Limits};
