//! Verification of the records of a sealed export.

use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;

use super::Stop;
use super::VerifyError;
use super::finding::{Finding, Reason, Summary};
use super::lines::Lines;
use super::published::Published;
use super::published_tiles::PublishedTiles;
use super::removals::Removals;
use super::roots::RootCheck;
use crate::record::RecordKind;
use crate::sealed_line::{Body, SealedLine};

/// Verifies all records of an export. Without tiles it must have a line for every leaf.
pub(super) fn check_export(
    path: &Path,
    published: &Published,
    tiles: Option<PublishedTiles>,
    limit: Option<u64>,
    summary: &mut Summary,
) -> Result<(), Stop> {
    let mut check = ExportCheck {
        removals: read_removals(path)?,
        roots: RootCheck::new(published.checkpoints()),
        tiles,
        order: Order::default(),
        next: None,
        unexplained: None,
        summary,
    };
    let mut lines = Lines::open(path)?;
    while let Some(bytes) = lines.next()? {
        // What is after the requested size is not verified.
        if limit.is_some() && check.next == Some(check.summary.size) {
            break;
        }
        match check.check_line(bytes) {
            Ok(()) => {}
            Err(Stop::Finding(finding)) => return Err(check.choose(*finding).into()),
            Err(error) => return Err(error),
        }
    }
    check.finish()
}

/// The state of a verification between two lines.
struct ExportCheck<'a> {
    removals: Removals,
    roots: RootCheck<'a>,
    tiles: Option<PublishedTiles>,
    order: Order,
    next: Option<u64>,
    /// The first record that no removal explains. The cause may be a damaged removal, which comes later.
    unexplained: Option<Finding>,
    summary: &'a mut Summary,
}

impl ExportCheck<'_> {
    fn check_line(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let line = SealedLine::parse(bytes).map_err(|error| {
            Finding::new(Reason::ContentDiffers, error).at_leaf(self.next.unwrap_or(0))
        })?;
        let first = if self.tiles.is_some() { line.leaf } else { 0 };
        let leaf = self.next.unwrap_or(first);
        if self.next.is_none() {
            self.summary.first_leaf = leaf;
        }
        self.order.check(&line, leaf)?;
        let found = |reason, detail: &dyn Display| {
            Finding::new(reason, detail)
                .at_leaf(leaf)
                .of_record(&line.entry)
        };
        if leaf >= self.summary.size {
            let covered = format!(
                "the newest checkpoint covers the leaves below {}",
                self.summary.size
            );
            return Err(found(Reason::Unsealed, &covered).into());
        }
        line.check_content()
            .map_err(|error| found(Reason::ContentDiffers, &error))?;
        let hash = line.entry.leaf_hash();
        if let Some(tiles) = &mut self.tiles {
            if tiles.leaf_hash(leaf)? != hash {
                let detail = "the entry is not the one in the published tiles";
                return Err(found(Reason::ContentDiffers, &detail).into());
            }
        } else {
            self.roots.push(hash)?;
        }
        if self.unexplained.is_none() {
            self.unexplained = find_unexplained(&line, &self.removals)
                .map(|finding| finding.at_leaf(leaf).of_record(&line.entry));
        }
        self.summary.records += 1;
        match line.body {
            Body::Removed => self.summary.removed += 1,
            Body::Erased { .. } => self.summary.erased += 1,
            Body::Complete { .. } => {}
        }
        self.next = Some(leaf + 1);
        Ok(())
    }

    /// The finding to report: an unexplained record comes first, unless the later finding may be its cause.
    fn choose(&mut self, finding: Finding) -> Finding {
        let is_other_record = finding.reason == Reason::ContentDiffers
            && finding
                .kind
                .is_some_and(|kind| kind != RecordKind::Removal.name());
        match self.unexplained.take() {
            Some(unexplained) if is_other_record => unexplained,
            _ => finding,
        }
    }

    fn finish(self) -> Result<(), Stop> {
        let end = self.next.unwrap_or(0);
        if self.tiles.is_none() && end < self.summary.size {
            let detail = format!(
                "the export ends before the checkpoint of size {}; pass the size of an earlier checkpoint to verify \
                 an earlier export, or tiles to verify a part",
                self.summary.size
            );
            return Err(Finding::new(Reason::Missing, detail).at_leaf(end).into());
        }
        if let Some(finding) = self.unexplained {
            return Err(finding.into());
        }
        Ok(self.roots.finish()?)
    }
}

/// Reads the removals of an export. They are verified with all other records afterwards: if one is forged, the
/// verification fails there.
fn read_removals(path: &Path) -> Result<Removals, VerifyError> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: &'a str,
    }
    let mut removals = Removals::default();
    let mut lines = Lines::open(path)?;
    while let Some(bytes) = lines.next()? {
        let is_removal = serde_json::from_slice::<Kind<'_>>(bytes)
            .is_ok_and(|line| line.kind == RecordKind::Removal.name());
        if is_removal && let Ok(line) = SealedLine::parse(bytes) {
            removals.add(line);
        }
    }
    Ok(removals)
}

/// The order of leaves and ids.
#[derive(Default)]
struct Order {
    previous: Option<(i64, bool)>,
}

impl Order {
    /// Checks that a line has the expected leaf and a greater id than the line before. A transaction has the id of
    /// its first change, which follows it.
    fn check(&mut self, line: &SealedLine, expected: u64) -> Result<(), Finding> {
        let entry = &line.entry;
        if line.leaf != expected {
            let reason = if line.leaf > expected {
                Reason::Missing
            } else {
                Reason::OrderBroken
            };
            let detail = format!("the line has leaf {}", line.leaf);
            return Err(Finding::new(reason, detail).at_leaf(expected));
        }
        let broken = |detail: &str| {
            Finding::new(Reason::OrderBroken, detail)
                .at_leaf(expected)
                .of_record(entry)
        };
        if (entry.kind == RecordKind::Genesis) != (expected == 0) {
            return Err(broken("a log begins with its only genesis record"));
        }
        if matches!(entry.kind, RecordKind::Genesis | RecordKind::Clock) {
            return Ok(());
        }
        let place = Some((entry.id, entry.kind != RecordKind::Transaction));
        if place <= self.previous {
            return Err(broken(
                "the id is not greater than that of the record before",
            ));
        }
        self.previous = place;
        Ok(())
    }
}

/// What of a record a later removal must explain, and does not.
fn find_unexplained(line: &SealedLine, removals: &Removals) -> Option<Finding> {
    match &line.body {
        Body::Complete { .. } => None,
        Body::Removed => (!removals.explain_removal(line.leaf, &line.entry)).then(|| {
            let detail = "the record was removed, and no later sealed removal has a cut-off after its time";
            Finding::new(Reason::RemovalUnexplained, detail)
        }),
        Body::Erased { fields, erased, .. } => erased
            .keys()
            .find(|path| !removals.explain_erasure(line.leaf, fields, path))
            .map(|path| {
                let detail = format!(
                    "no later sealed removal names the field `{path}` of this leaf, or the field has another value than a placeholder"
                );
                Finding::new(Reason::ErasureUnexplained, detail)
            }),
    }
}
