//! Commands and SQL, to copy.

use maud::{Markup, html};
use threadline_diesel::coverage::Remedy;

use super::id::copy_button;
use crate::page::Terminal;

/// A text to run, with a button that copies it.
pub(crate) fn code_block(text: &str) -> Markup {
    html! {
        pre tabindex="0" { code { (text) } }
        (copy_button(text))
    }
}

/// A command of Threadline's command line, quoted for a shell.
pub(crate) fn command_block<A: AsRef<str>>(arguments: impl IntoIterator<Item = A>) -> Markup {
    let terminal = Terminal::command(arguments);
    code_block(terminal.command.as_deref().unwrap_or_default())
}

/// How to resolve a finding.
pub(crate) fn remedy(remedy: &Remedy) -> Markup {
    match remedy {
        Remedy::Sql { sql } => code_block(sql),
        Remedy::Command { first, arguments } => html! {
            @if let Some(first) = first { p.note { "First: " bdi { (first) } "." } }
            (command_block(arguments))
        },
        other => html! { p { bdi { (other) } "." } },
    }
}
