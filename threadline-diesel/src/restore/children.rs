//! The rows that were deleted together with a row, in the order of their foreign keys.

use std::collections::{HashMap, HashSet, VecDeque};

use super::catalog::Catalog;
use super::image::ImageOfRow;

/// The places of the first row and of the rows that refer to it, directly or through others: every row comes
/// after the rows that it refers to. Rows that refer to each other in a circle come last, as recorded.
pub(super) fn order_by_references(catalog: &Catalog, rows: &[ImageOfRow]) -> Vec<usize> {
    let children = children_of(catalog, rows);
    let reached = reach_from_first(&children);
    let mut waits_for = vec![0_usize; rows.len()];
    for parent in &reached {
        for child in &children[*parent] {
            waits_for[*child] += 1;
        }
    }
    let mut ready: VecDeque<usize> = reached
        .iter()
        .copied()
        .filter(|row| waits_for[*row] == 0)
        .collect();
    let mut ordered = Vec::with_capacity(reached.len());
    while let Some(row) = ready.pop_front() {
        ordered.push(row);
        for child in &children[row] {
            waits_for[*child] -= 1;
            if waits_for[*child] == 0 {
                ready.push_back(*child);
            }
        }
    }
    let placed: HashSet<usize> = ordered.iter().copied().collect();
    ordered.extend(reached.into_iter().filter(|row| !placed.contains(row)));
    ordered
}

/// For each row, the other rows that refer to it.
fn children_of(catalog: &Catalog, rows: &[ImageOfRow]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); rows.len()];
    for reference in &catalog.references {
        let mut parents: HashMap<Vec<String>, usize> = HashMap::new();
        for (place, row) in rows.iter().enumerate() {
            if row.table == reference.parent {
                let values = row.values_of(&reference.parent_columns);
                parents.extend(values.map(|values| (values, place)));
            }
        }
        for (place, row) in rows.iter().enumerate() {
            if row.table != reference.child {
                continue;
            }
            let values = row.values_of(&reference.child_columns);
            match values.and_then(|values| parents.get(&values)) {
                Some(parent) if *parent != place => children[*parent].push(place),
                _ => {}
            }
        }
    }
    children
}

/// The first row and its descendants, in the order in which they are reached.
fn reach_from_first(children: &[Vec<usize>]) -> Vec<usize> {
    let mut reached = vec![0];
    let mut seen = HashSet::from([0]);
    let mut next = 0;
    while let Some(row) = reached.get(next).copied() {
        next += 1;
        reached.extend(
            children[row]
                .iter()
                .copied()
                .filter(|child| seen.insert(*child)),
        );
    }
    reached
}
