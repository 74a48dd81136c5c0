//! Edits of TOML files that keep comments and formatting.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

/// The version requirement of this release.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);

/// The manifest of a new xtask crate.
pub(super) fn xtask_manifest(name: &str, application: &str, path: &str) -> String {
    format!(
        "[package]\n\
         name = {name:?}\n\
         version = \"0.0.0\"\n\
         edition = \"2024\"\n\
         publish = false\n\
         \n\
         [dependencies]\n\
         {application} = {{ path = {path:?} }}\n\
         threadline-xtask = {VERSION:?}\n"
    )
}

/// Adds a member to the workspace of a manifest. A package without a workspace becomes its root.
pub(super) fn add_member(manifest: &str, member: &str) -> Result<String, String> {
    let mut document = parse(manifest)?;
    let workspace = document
        .entry("workspace")
        .or_insert_with(|| Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or("`workspace` is not a table")?;
    let members = workspace
        .entry("members")
        .or_insert_with(|| Item::Value(Value::Array(Array::new())))
        .as_array_mut()
        .ok_or("`workspace.members` is not an array")?;
    let is_listed = |value: &Value| {
        value.as_str().is_some_and(|text| {
            let text = text.trim_start_matches("./");
            text == "*" || text == member
        })
    };
    if !members.iter().any(is_listed) {
        push(members, member);
    }
    Ok(document.to_string())
}

/// Adds a text to an array, on a line of its own if the others are.
fn push(array: &mut Array, text: &str) {
    let mut value = Value::from(text);
    if let Some(last) = array.iter().last() {
        let prefix = last.decor().prefix().and_then(|prefix| prefix.as_str());
        let prefix = match prefix {
            // The first element of an array on one line has no space before it.
            Some("") | None => " ",
            Some(prefix) => prefix,
        };
        // A comment before the last element is not repeated.
        let prefix = prefix
            .rsplit_once('\n')
            .map_or(prefix.to_owned(), |(_, indent)| format!("\n{indent}"));
        value.decor_mut().set_prefix(prefix);
        array.push_formatted(value);
    } else {
        array.push(value);
    }
}

/// Adds the dependency on `threadline` to a manifest that has none.
pub(super) fn add_dependency(manifest: &str, features: &[&str]) -> Result<String, String> {
    let mut document = parse(manifest)?;
    let dependencies = document
        .entry("dependencies")
        .or_insert_with(|| Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or("`dependencies` is not a table")?;
    if dependencies.contains_key("threadline") {
        return Ok(manifest.to_owned());
    }
    let value = if features.is_empty() {
        Value::from(VERSION)
    } else {
        let mut table = InlineTable::new();
        table.insert("version", VERSION.into());
        table.insert(
            "features",
            features.iter().copied().collect::<Array>().into(),
        );
        table.into()
    };
    dependencies.insert("threadline", Item::Value(value));
    Ok(document.to_string())
}

/// Adds the alias of an xtask package to a cargo configuration.
pub(super) fn add_alias(config: &str, alias: &str, package: &str) -> Result<String, String> {
    let mut document = parse(config)?;
    let aliases = document
        .entry("alias")
        .or_insert_with(|| Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or("`alias` is not a table")?;
    let command = format!("run --quiet --package {package} --");
    match aliases.get(alias) {
        None => {
            aliases.insert(alias, Item::Value(command.into()));
            Ok(document.to_string())
        }
        Some(existing) if words(existing).contains(&package.to_owned()) => Ok(config.to_owned()),
        Some(existing) => Err(format!(
            "the alias `{alias}` is `{}` already: change it to `{command}`, or pass --name for another alias",
            words(existing).join(" ")
        )),
    }
}

/// The words of an alias, which is a text or an array.
fn words(alias: &Item) -> Vec<String> {
    let texts: Vec<&str> = match (alias.as_str(), alias.as_array()) {
        (Some(text), _) => text.split_whitespace().collect(),
        (None, Some(array)) => array.iter().filter_map(Value::as_str).collect(),
        (None, None) => Vec::new(),
    };
    texts
        .into_iter()
        .map(|text| text.trim_start_matches("--package=").to_owned())
        .collect()
}

fn parse(text: &str) -> Result<DocumentMut, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| format!("cannot parse it: {}", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_workspace_becomes_its_root() {
        let manifest = "# An application.\n[package]\nname = \"app\" # the name\n";
        let expected = format!("{manifest}\n[workspace]\nmembers = [\"xtask\"]\n");
        assert_eq!(add_member(manifest, "xtask").unwrap(), expected);
    }

    #[test]
    fn a_member_is_added_in_the_format_of_the_others() {
        for (before, after) in [
            (
                "[workspace]\nmembers = [\"app\"] # all\n",
                "[workspace]\nmembers = [\"app\", \"xtask\"] # all\n",
            ),
            (
                "[workspace]\nmembers = [\n    \"app\",\n    # The models.\n    \"models\",\n]\n",
                "[workspace]\nmembers = [\n    \"app\",\n    # The models.\n    \"models\",\n    \"xtask\",\n]\n",
            ),
            (
                "[workspace]\nresolver = \"3\"\n",
                "[workspace]\nresolver = \"3\"\nmembers = [\"xtask\"]\n",
            ),
        ] {
            assert_eq!(add_member(before, "xtask").unwrap(), after);
        }
        for listed in ["xtask", "*"] {
            let manifest = format!("[workspace]\nmembers = [\"app\", {listed:?}]\n");
            assert_eq!(add_member(&manifest, "xtask").unwrap(), manifest);
        }
    }

    #[test]
    fn a_dependency_is_added_once() {
        let manifest =
            "[dependencies]\ndiesel = \"2.3\" # queries\n\n[dev-dependencies]\nx = \"1\"\n";
        let added = add_dependency(manifest, &["async", "axum"]).unwrap();
        let expected = manifest.replace(
            "# queries\n",
            &format!(
                "# queries\nthreadline = {{ version = {VERSION:?}, features = [\"async\", \"axum\"] }}\n"
            ),
        );
        assert_eq!(added, expected);
        assert_eq!(add_dependency(&added, &["sync"]).unwrap(), added);
    }

    #[test]
    fn an_alias_of_another_command_is_refused() {
        let config = "[build]\njobs = 2\n";
        let added = add_alias(config, "xtask", "xtask").unwrap();
        assert_eq!(
            added,
            format!("{config}\n[alias]\nxtask = \"run --quiet --package xtask --\"\n")
        );
        assert_eq!(add_alias(&added, "xtask", "xtask").unwrap(), added);
        let array = "[alias]\nxtask = [\"run\", \"--package=xtask\", \"--\"]\n";
        assert_eq!(add_alias(array, "xtask", "xtask").unwrap(), array);
        let other = add_alias("[alias]\nxtask = \"run -p tasks --\"\n", "xtask", "xtask");
        assert!(other.unwrap_err().contains("`run -p tasks --` already"));
    }
}
