//! Bar charts as small SVG files for light and dark pages.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::variant::Variant;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 250.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}\
    .title{font-weight:600;font-size:14px}\
    .threadline{fill:#2f7d6b}.delta{fill:#74b8a4}.common{fill:#b5683c}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}\
    .threadline{fill:#4fb39b}.delta{fill:#9ad7c6}.common{fill:#dd9166}}";

/// The bars of one workload.
struct Group {
    label: String,
    bars: Vec<(Variant, f64)>,
}

/// Writes all charts of a report into a folder.
pub(crate) fn write_all(folder: &Path, report: &Report) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut small: Vec<Group> = Vec::new();
    for one in &report.small {
        let over = report.small_over(one.workload, one.variant);
        push(&mut small, one.workload.label(), one.variant, over);
    }
    let mut bulk: Vec<Group> = Vec::new();
    for one in &report.bulk {
        let over = report.bulk_over(one.workload, one.variant);
        push(&mut bulk, one.workload.label(), one.variant, over);
    }
    let mut clients: Vec<Group> = Vec::new();
    for one in &report.clients {
        let commit = if one.synchronous {
            "synchronous"
        } else {
            "asynchronous"
        };
        let label = format!("{} client(s), {commit} commit", one.clients);
        push(&mut clients, &label, one.variant, report.share(one));
    }
    for (name, title, groups) in [
        (
            "single-rows",
            "Microseconds per statement, minus no capture (less is better)",
            small,
        ),
        (
            "many-rows",
            "Microseconds per row in bulk, minus no capture (less is better)",
            bulk,
        ),
        (
            "clients",
            "Share of the throughput without capture (more is better)",
            clients,
        ),
    ] {
        let file = folder.join(format!("{name}.svg"));
        std::fs::write(&file, draw(title, &groups))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

fn push(groups: &mut Vec<Group>, label: &str, variant: Variant, value: f64) {
    if variant == Variant::None {
        return;
    }
    match groups.iter_mut().find(|group| group.label == label) {
        Some(group) => group.bars.push((variant, value)),
        None => groups.push(Group {
            label: label.to_owned(),
            bars: vec![(variant, value)],
        }),
    }
}

fn class(variant: Variant) -> &'static str {
    match variant {
        Variant::None | Variant::Full => "threadline",
        Variant::Common => "common",
    }
}

fn draw(title: &str, groups: &[Group]) -> String {
    let values = groups.iter().flat_map(|group| &group.bars);
    let largest = values
        .map(|(_, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - 60.0) / largest;
    let mut body = String::new();
    let mut y = 60.0;
    // Writing to a String cannot fail.
    for (at, variant) in [Variant::Full, Variant::Common].iter().enumerate() {
        let x = [LABELS, LABELS + 130.0][at];
        let _ = write!(
            body,
            r#"<rect class="{}" x="{x}" y="32" width="11" height="11"/><text x="{}" y="42">{}</text>"#,
            class(*variant),
            x + 16.0,
            variant.label()
        );
    }
    for group in groups {
        let _ = write!(
            body,
            r#"<text x="8" y="{}">{}</text>"#,
            y + BAR - 3.0,
            group.label
        );
        for (variant, value) in &group.bars {
            let width = (value * scale).max(1.0);
            let shown = if largest < 2.0 {
                format!("{value:.2}")
            } else {
                format!("{value:.1}")
            };
            let _ = write!(
                body,
                r#"<rect class="{}" x="{LABELS}" y="{y}" width="{width:.1}" height="{}"/><text x="{:.1}" y="{}">{shown}</text>"#,
                class(*variant),
                BAR - 2.0,
                LABELS + width + 6.0,
                y + BAR - 3.0,
            );
            y += BAR;
        }
        y += GAP;
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{title}"><style>{STYLE}</style><text class="title" x="8" y="20">{title}</text>{body}</svg>"#
    )
}
