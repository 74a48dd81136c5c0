//! Operations.

use maud::{Markup, html};
use threadline_diesel::Op;

/// An operation: a sign and a word, never colour alone.
pub(crate) fn op(op: Op) -> Markup {
    let sign = match op {
        Op::Insert => "+",
        Op::Update => "~",
        Op::Delete | Op::Truncate => "−",
        _ => "=",
    };
    html! {
        span.op data-op=(op) { span aria-hidden="true" { (sign) } " " (op) }
    }
}
