//! The reference of commands in `guides/commands.md`, generated from the definition of the command line.
//!
//! The text before the heading `## Commands` is written by hand. The rest is generated: after a change of
//! the command line, run this test once with `INSTA_UPDATE=always`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};

/// The first line of the generated part.
const HEADING: &str = "## Commands\n";

#[test]
fn the_guide_of_commands_matches_the_command_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guides/commands.md");
    let guide = fs::read_to_string(&path).unwrap();
    let (introduction, written) = guide.split_at(guide.find(HEADING).unwrap());
    let generated = reference();
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, format!("{introduction}{generated}")).unwrap();
        return;
    }
    assert!(
        written == generated,
        "guides/commands.md differs from the command line: run this test with INSTA_UPDATE=always"
    );
}

#[test]
fn the_guide_of_commands_describes_every_environment_variable_of_options() {
    let guide =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../guides/commands.md"));
    let guide = guide.unwrap();
    let introduction = &guide[..guide.find(HEADING).unwrap()];
    for (name, command) in leaves() {
        for variable in command.get_arguments().filter_map(Arg::get_env) {
            let row = format!("| `{}` |", variable.to_string_lossy());
            assert!(introduction.contains(&row), "{name}: no row {row}");
        }
    }
}

/// All commands that run something, with their names: `feed create` for a command below `feed`.
fn leaves() -> Vec<(String, Command)> {
    let mut root = super::Arguments::command().disable_help_subcommand(true);
    root.build();
    let mut leaves = Vec::new();
    for command in root.get_subcommands() {
        let name = command.get_name().to_owned();
        if command.has_subcommands() {
            let below = command
                .get_subcommands()
                .filter(|below| below.get_name() != "help");
            leaves
                .extend(below.map(|below| (format!("{name} {}", below.get_name()), below.clone())));
        } else if name != "help" {
            leaves.push((name, command.clone()));
        }
    }
    leaves
}

fn reference() -> String {
    let leaves = leaves();
    let mut text = format!("{HEADING}\n| command | purpose |\n|---|---|\n");
    for (name, command) in &leaves {
        let anchor = name.replace(' ', "-");
        let _ = writeln!(text, "| [`{name}`](#{anchor}) | {} |", about(command));
    }
    for (name, command) in &leaves {
        let _ = write!(text, "\n### {name}\n\n{}.", about(command));
        let aliases: Vec<_> = command
            .get_visible_aliases()
            .map(|alias| format!("`{alias}`"))
            .collect();
        if !aliases.is_empty() {
            let _ = write!(text, " Another name: {}.", aliases.join(", "));
        }
        text.push_str("\n\n| argument or option | meaning |\n|---|---|\n");
        for argument in command
            .get_arguments()
            .filter(|argument| is_shown(argument))
        {
            let _ = writeln!(text, "| {} | {} |", signature(argument), meaning(argument));
        }
    }
    text
}

fn about(command: &Command) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    cell(&about)
}

/// Every command has `--help` and no command is described by it.
fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set()
        && !matches!(
            argument.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
}

/// `` `--limit N` ``, `` `TABLE` ``, or `` `[TABLE]...` `` for optional arguments without a name.
fn signature(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    let values = values.join(" ");
    let takes_value = argument.get_action().takes_values();
    let option = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}, "));
    let text = match option {
        Some(option) if takes_value => format!("{option} {values}"),
        Some(option) => option,
        None if argument.is_required_set() => values,
        None => format!("[{values}]"),
    };
    format!("`{}{text}`", short.unwrap_or_default())
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    if !text.ends_with('.') {
        text.push('.');
    }
    let possible = argument.get_possible_values();
    let possible: Vec<_> = possible
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(clap::builder::PossibleValue::get_name)
        // A value of the feature of the same name, which the help describes.
        .filter(|value| *value != "parquet")
        .map(|value| format!("`{value}`"))
        .collect();
    let takes_values = argument.get_action().takes_values();
    if takes_values && !possible.is_empty() {
        let _ = write!(text, " One of {}.", possible.join(", "));
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if takes_values && !defaults.is_empty() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    cell(&text)
}

/// A text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}
