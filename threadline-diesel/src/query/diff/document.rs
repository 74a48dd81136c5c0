//! Differences of JSON documents, path by path.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use similar::DiffTag;

use super::sequence::diff_sequences;
use super::{DiffMismatch, FieldState};
use crate::json::StoredJson;

/// Documents are looked into this deep; what lies deeper is compared as a whole.
const MAX_DEPTH: usize = 64;

/// What changed between two JSON documents. Numbers are compared and kept digit by digit.
///
/// ```
/// use threadline_diesel::query::diff::JsonDiff;
/// use threadline_diesel::json::StoredJson;
///
/// let before: StoredJson = serde_json::from_str(r#"{"plan": "free", "limit": 1.0}"#)?;
/// let after: StoredJson = serde_json::from_str(r#"{"plan": "free", "limit": 1.00}"#)?;
/// let diff = JsonDiff::between(&before, &after);
/// assert_eq!(diff.edits[0].path, "/limit");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JsonDiff {
    /// What changed, by path; nothing where the documents say the same.
    pub edits: Vec<JsonEdit>,
}

/// A place in a document that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JsonEdit {
    /// Where: a JSON Pointer (RFC 6901). The index of an element that only one document has counts
    /// in that document.
    pub path: String,
    /// What was there: `value`, `null` or `absent`.
    pub before: FieldState,
    /// What is there: `value`, `null` or `absent`.
    pub after: FieldState,
}

impl JsonDiff {
    /// The difference of two documents.
    #[must_use]
    pub fn between(before: &StoredJson, after: &StoredJson) -> Self {
        let mut edits = Vec::new();
        let (before, after) = (Node::of(before, 0), Node::of(after, 0));
        before.compare(&after, &mut String::new(), &mut edits);
        Self { edits }
    }

    /// The document after, from the document before. Fields of objects may come in another order.
    ///
    /// # Errors
    /// [`DiffMismatch`] when this is not the difference of that document.
    pub fn apply(&self, before: &StoredJson) -> Result<StoredJson, DiffMismatch> {
        let edits: Vec<_> = self
            .edits
            .iter()
            .map(|edit| (tokens(&edit.path), edit))
            .collect();
        let edits: Vec<_> = edits
            .iter()
            .map(|(tokens, edit)| (tokens.as_slice(), *edit))
            .collect();
        let text = Node::of(before, 0).patched(&edits)?.ok_or(DiffMismatch)?;
        serde_json::from_str(&text).map_err(|_| DiffMismatch)
    }
}

/// An edit with what is left of its path.
type Patch<'a> = (&'a [String], &'a JsonEdit);

/// A part of a document.
struct Node {
    raw: StoredJson,
    kind: Kind,
}

enum Kind {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    /// A scalar, or what is not looked into.
    Whole,
}

impl Node {
    fn of(raw: &StoredJson, depth: usize) -> Self {
        let kind = match raw.as_str().as_bytes().first() {
            Some(b'{') if depth < MAX_DEPTH => {
                let fields = raw.fields();
                let names: BTreeSet<_> = fields.iter().map(|(name, _)| name).collect();
                if names.len() == fields.len() {
                    Kind::Object(
                        fields
                            .into_iter()
                            .map(|(name, value)| (name, Self::of(&value, depth + 1)))
                            .collect(),
                    )
                } else {
                    Kind::Whole // a name given twice has no path
                }
            }
            Some(b'[') if depth < MAX_DEPTH => match raw.read::<Vec<StoredJson>>() {
                Ok(elements) => Kind::Array(
                    elements
                        .iter()
                        .map(|element| Self::of(element, depth + 1))
                        .collect(),
                ),
                Err(_) => Kind::Whole,
            },
            _ => Kind::Whole,
        };
        Self {
            raw: raw.clone(),
            kind,
        }
    }

    fn state(&self) -> FieldState {
        FieldState::of(&self.raw)
    }

    /// The text of this part with the fields of objects in a fixed order.
    fn canonical(&self) -> String {
        match &self.kind {
            Kind::Object(fields) => {
                let mut fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| field(name, &value.canonical()))
                    .collect();
                fields.sort_unstable();
                format!("{{{}}}", fields.join(", "))
            }
            Kind::Array(elements) => {
                let elements: Vec<_> = elements.iter().map(Self::canonical).collect();
                format!("[{}]", elements.join(", "))
            }
            Kind::Whole => self.raw.as_str().to_owned(),
        }
    }

    fn compare(&self, after: &Self, path: &mut String, edits: &mut Vec<JsonEdit>) {
        if self.raw == after.raw {
            return;
        }
        match (&self.kind, &after.kind) {
            (Kind::Object(before), Kind::Object(after)) => {
                compare_objects(before, after, path, edits);
            }
            (Kind::Array(before), Kind::Array(after)) => compare_arrays(before, after, path, edits),
            _ => edits.push(JsonEdit {
                path: path.clone(),
                before: self.state(),
                after: after.state(),
            }),
        }
    }

    /// The text of this part after edits; none where it is gone.
    fn patched(&self, edits: &[Patch<'_>]) -> Result<Option<String>, DiffMismatch> {
        if let Some((_, edit)) = edits.iter().find(|(path, _)| path.is_empty()) {
            if edit.before != self.state() {
                return Err(DiffMismatch);
            }
            return Ok(edit.after.json().map(|value| value.as_str().to_owned()));
        }
        if edits.is_empty() {
            return Ok(Some(self.raw.as_str().to_owned()));
        }
        let mut by_token: BTreeMap<&str, Vec<Patch<'_>>> = BTreeMap::new();
        for (path, edit) in edits {
            let (token, rest) = path.split_first().ok_or(DiffMismatch)?;
            by_token.entry(token).or_default().push((rest, edit));
        }
        match &self.kind {
            Kind::Object(fields) => patched_object(fields, by_token).map(Some),
            Kind::Array(elements) => patched_array(elements, &by_token).map(Some),
            Kind::Whole => Err(DiffMismatch),
        }
    }
}

fn compare_objects(
    before: &[(String, Node)],
    after: &[(String, Node)],
    path: &mut String,
    edits: &mut Vec<JsonEdit>,
) {
    let fields = |fields: &'_ [(String, Node)]| -> BTreeMap<String, usize> {
        fields
            .iter()
            .enumerate()
            .map(|(at, (name, _))| (name.clone(), at))
            .collect()
    };
    let (in_before, in_after) = (fields(before), fields(after));
    let names: BTreeSet<_> = in_before.keys().chain(in_after.keys()).collect();
    for name in names {
        let old = in_before.get(name).map(|at| &before[*at].1);
        let new = in_after.get(name).map(|at| &after[*at].1);
        let length = path.len();
        path.push('/');
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        compare_optional(old, new, path, edits);
        path.truncate(length);
    }
}

fn compare_optional(
    before: Option<&Node>,
    after: Option<&Node>,
    path: &mut String,
    edits: &mut Vec<JsonEdit>,
) {
    if let (Some(before), Some(after)) = (before, after) {
        return before.compare(after, path, edits);
    }
    edits.push(JsonEdit {
        path: path.clone(),
        before: before.map_or(FieldState::Absent, Node::state),
        after: after.map_or(FieldState::Absent, Node::state),
    });
}

/// Arrays of equal length are compared element by element; in others, elements are removed and added.
fn compare_arrays(before: &[Node], after: &[Node], path: &mut String, edits: &mut Vec<JsonEdit>) {
    let length = path.len();
    let mut at = |index: usize, before: Option<&Node>, after: Option<&Node>| {
        path.push('/');
        path.push_str(&index.to_string());
        compare_optional(before, after, path, edits);
        path.truncate(length);
    };
    if before.len() == after.len() {
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            at(index, Some(before), Some(after));
        }
        return;
    }
    let canonical = |elements: &[Node]| elements.iter().map(Node::canonical).collect::<Vec<_>>();
    for op in diff_sequences(&canonical(before), &canonical(after)) {
        if op.tag() == DiffTag::Equal {
            continue;
        }
        for index in op.old_range() {
            at(index, Some(&before[index]), None);
        }
        for index in op.new_range() {
            at(index, None, Some(&after[index]));
        }
    }
}

fn patched_object(
    fields: &[(String, Node)],
    mut edits: BTreeMap<&str, Vec<Patch<'_>>>,
) -> Result<String, DiffMismatch> {
    let mut shown = Vec::new();
    for (name, value) in fields {
        let edits = edits.remove(name.as_str()).unwrap_or_default();
        if let Some(text) = value.patched(&edits)? {
            shown.push(field(name, &text));
        }
    }
    for (name, edits) in edits {
        let [([], edit)] = edits.as_slice() else {
            return Err(DiffMismatch);
        };
        shown.push(field(name, added(edit)?.as_str()));
    }
    Ok(format!("{{{}}}", shown.join(", ")))
}

fn field(name: &str, value: &str) -> String {
    format!("{}: {value}", serde_json::Value::from(name))
}

/// What an edit adds where nothing was.
fn added(edit: &JsonEdit) -> Result<StoredJson, DiffMismatch> {
    match (&edit.before, edit.after.json()) {
        (FieldState::Absent, Some(value)) => Ok(value),
        _ => Err(DiffMismatch),
    }
}

fn patched_array(
    elements: &[Node],
    edits: &BTreeMap<&str, Vec<Patch<'_>>>,
) -> Result<String, DiffMismatch> {
    let mut kept: BTreeMap<usize, Vec<Patch<'_>>> = BTreeMap::new();
    let mut additions = BTreeMap::new();
    for (token, edits) in edits {
        let index: usize = token.parse().map_err(|_| DiffMismatch)?;
        for (path, edit) in edits {
            if path.is_empty() && edit.before == FieldState::Absent {
                additions.insert(index, added(edit)?);
            } else {
                kept.entry(index).or_default().push((path, edit));
            }
        }
    }
    let mut shown = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let edits = kept.remove(&index).unwrap_or_default();
        shown.extend(element.patched(&edits)?);
    }
    if !kept.is_empty() {
        return Err(DiffMismatch);
    }
    for (index, value) in additions {
        if index > shown.len() {
            return Err(DiffMismatch);
        }
        shown.insert(index, value.as_str().to_owned());
    }
    Ok(format!("[{}]", shown.join(", ")))
}

/// The parts of a JSON Pointer.
fn tokens(path: &str) -> Vec<String> {
    path.split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}
