//! The host's decision, with a deadline. Everything but a grant is a denial.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use threadline_core::telemetry::console_denied;

use crate::access::{Decision, Denial, Visit};
use crate::settings::Settings;

/// Asks the host. A panic and no answer in time are denials, and every denial is an event.
pub(super) async fn decide(settings: &Settings, visit: Visit) -> Decision {
    let screen = visit.screen;
    // The call itself is inside, because a closure can panic before it returns its future.
    let decision = AssertUnwindSafe(async { (settings.authorize)(visit).await }).catch_unwind();
    let (decision, reason) = match tokio::time::timeout(settings.limits.authorize, decision).await {
        Ok(Ok(Decision::Grant(grant))) => return Decision::Grant(grant),
        Ok(Ok(denied)) => (denied, "decision"),
        Ok(Err(_)) => (Decision::Deny(Denial::Forbidden), "panic"),
        Err(_) => (Decision::Deny(Denial::Forbidden), "timeout"),
    };
    console_denied(screen, reason);
    decision
}
