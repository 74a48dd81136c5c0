//! The progress bar of a download.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::packages::Package;

const DOWNLOAD_TEMPLATE: &str = "{msg} [{bar:30}] {bytes} of {total_bytes}";

/// Where [`ServerBinaries::obtain`](crate::ServerBinaries::obtain) reports the progress of a
/// download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Progress {
    /// Nowhere.
    #[default]
    Hidden,
    /// A progress bar on standard error if that is a terminal.
    Terminal,
}

impl Progress {
    /// The bar for the download of a package, at 0 bytes.
    pub(super) fn download_bar(self, package: &Package) -> ProgressBar {
        let target = match self {
            Self::Hidden => ProgressDrawTarget::hidden(),
            Self::Terminal => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(Some(package.bytes), target);
        if let Ok(style) = ProgressStyle::with_template(DOWNLOAD_TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_message(format!("downloading {}", package.name));
        bar
    }
}

/// Replaces the bar by a line of text: the size of this step is unknown.
pub(super) fn show_unpacking(bar: &ProgressBar, package: &Package) {
    bar.set_style(ProgressStyle::default_spinner());
    bar.set_message(format!("unpacking {}", package.name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_download_template_is_valid() {
        assert!(ProgressStyle::with_template(DOWNLOAD_TEMPLATE).is_ok());
    }
}
