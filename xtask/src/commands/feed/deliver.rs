//! `feed deliver`: sends the items of a consumer to a receiver over HTTP.

#[cfg(feature = "http")]
mod http;

use clap::Args;
use threadline_diesel::feed::ConsumerName;

#[cfg(feature = "http")]
pub(super) use self::http::run;
use crate::args::DatabaseArgs;
#[cfg(not(feature = "http"))]
use crate::exit::{Answer, Failure};

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
pub(super) struct DeliverArgs {
    /// The name of the consumer.
    consumer: ConsumerName,
    /// The URL of the receiver, https.
    #[arg(long, value_name = "URL")]
    to: String,
    /// The environment variable that has the secret of the receiver: `whsec_` and base64.
    #[arg(long, value_name = "VAR", default_value = "THREADLINE_WEBHOOK_SECRET")]
    secret_env: String,
    /// Send values, comments and `meta`, too. Without this option, they are null.
    #[arg(long)]
    values: bool,
    /// The most changes and actions of a lease, up to 10000.
    #[arg(long, value_name = "N", default_value_t = 500)]
    batch: u32,
    /// Deliver what is in the feed now and exit. Without this option, wait for more.
    #[arg(long)]
    once: bool,
    /// Create the consumer if it does not exist. It starts at the oldest change or action.
    #[arg(long)]
    create: bool,
    /// Send the changes and actions again that the receiver refused and that were set aside, and exit.
    #[arg(long, conflicts_with_all = ["once", "create"])]
    retry_failed: bool,
    /// Also send to private, loopback and link-local addresses, and over http.
    #[arg(long)]
    allow_private_addresses: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
pub(super) async fn run(_args: &DeliverArgs) -> Result<Answer, Failure> {
    Err(Failure::usage(
        "this program is built without delivery over HTTP: add the feature `http` of threadline-xtask",
    ))
}
