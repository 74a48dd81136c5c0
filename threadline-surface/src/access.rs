//! Who may see what: the host decides on every request.

mod capability;
mod decision;
mod visit;

pub use self::capability::Capability;
pub use self::decision::{Decision, Denial, Grant};
pub use self::visit::Visit;
