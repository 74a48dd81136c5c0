//! Style sheet, script and icon: part of the program, under names with their digests.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file of the console.
#[derive(Debug)]
pub(crate) struct Asset {
    /// The name with the digest of the text: `console-0123456789ab.css`.
    pub(crate) name: String,
    pub(crate) content_type: &'static str,
    pub(crate) text: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let digest = hex::encode(Sha256::digest(text));
        Self {
            name: format!("{stem}-{}.{extension}", &digest[..12]),
            content_type,
            text,
        }
    }
}

/// The style sheet.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/console.css");
    Asset::new("console", "css", "text/css; charset=utf-8", text)
});

/// The script.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/console.js");
    Asset::new("console", "js", "text/javascript; charset=utf-8", text)
});

/// The icon.
pub(crate) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../assets/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", text)
});

/// The asset with a name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT, &*ICON]
        .into_iter()
        .find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_keep_to_their_budgets() {
        assert!(STYLE.text.len() <= 14 * 1024, "{} bytes", STYLE.text.len());
        assert!(SCRIPT.text.len() <= 6 * 1024, "{} bytes", SCRIPT.text.len());
    }
}
