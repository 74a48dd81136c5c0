//! Differences of JSON documents, path by path.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use similar::DiffTag;

use super::sequence::diff_sequences;
use super::{DiffMismatch, FieldState};
use crate::json::StoredJson;

/// The maximum depth of a path. Deeper values are compared as a whole.
const MAX_DEPTH: usize = 64;

/// The differences of two JSON documents. Numbers are compared digit by digit: 1.0 differs from 1.00.
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
    /// The edits, by path; none if the documents are equal.
    pub edits: Vec<JsonEdit>,
}

/// The change of one value in a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JsonEdit {
    /// The path, a JSON Pointer (RFC 6901). The index of an added or removed element is its index in the
    /// document that has it.
    pub path: String,
    /// The state in the old document: `value`, `null` or `absent`.
    pub before: FieldState,
    /// The state in the new document: `value`, `null` or `absent`.
    pub after: FieldState,
}

impl JsonDiff {
    /// The difference of two documents.
    #[must_use]
    pub fn between(before: &StoredJson, after: &StoredJson) -> Self {
        let mut edits = Vec::new();
        let (before, after) = (Node::new(before, 0), Node::new(after, 0));
        before.compare(&after, &mut String::new(), &mut edits);
        Self { edits }
    }

    /// Applies the diff to the old document and returns the new one. The order of fields may differ.
    ///
    /// # Errors
    /// [`DiffMismatch`] when the diff was made from another document.
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
        let text = Node::new(before, 0).apply(&edits)?.ok_or(DiffMismatch)?;
        serde_json::from_str(&text).map_err(|_| DiffMismatch)
    }
}

/// An edit with the rest of its path.
type Patch<'a> = (&'a [String], &'a JsonEdit);

/// A value of a document.
struct Node {
    raw: StoredJson,
    kind: Kind,
}

enum Kind {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    /// A scalar, or a value that is compared as a whole.
    Whole,
}

impl Node {
    fn new(raw: &StoredJson, depth: usize) -> Self {
        let kind = match raw.as_str().as_bytes().first() {
            Some(b'{') if depth < MAX_DEPTH => {
                let fields = raw.fields();
                let names: BTreeSet<_> = fields.iter().map(|(name, _)| name).collect();
                if names.len() == fields.len() {
                    Kind::Object(
                        fields
                            .into_iter()
                            .map(|(name, value)| (name, Self::new(&value, depth + 1)))
                            .collect(),
                    )
                } else {
                    Kind::Whole // a duplicate name has no unique path
                }
            }
            Some(b'[') if depth < MAX_DEPTH => match raw.read::<Vec<StoredJson>>() {
                Ok(elements) => Kind::Array(
                    elements
                        .iter()
                        .map(|element| Self::new(element, depth + 1))
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
        FieldState::from_stored(&self.raw)
    }

    /// The text of this value with the fields of objects in a fixed order.
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

    /// The text of this value after edits; none if it was removed.
    fn apply(&self, edits: &[Patch<'_>]) -> Result<Option<String>, DiffMismatch> {
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
            Kind::Object(fields) => apply_to_object(fields, by_token).map(Some),
            Kind::Array(elements) => apply_to_array(elements, &by_token).map(Some),
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

fn apply_to_object(
    fields: &[(String, Node)],
    mut edits: BTreeMap<&str, Vec<Patch<'_>>>,
) -> Result<String, DiffMismatch> {
    let mut shown = Vec::new();
    for (name, value) in fields {
        let edits = edits.remove(name.as_str()).unwrap_or_default();
        if let Some(text) = value.apply(&edits)? {
            shown.push(field(name, &text));
        }
    }
    for (name, edits) in edits {
        let [([], edit)] = edits.as_slice() else {
            return Err(DiffMismatch);
        };
        shown.push(field(name, added_value(edit)?.as_str()));
    }
    Ok(format!("{{{}}}", shown.join(", ")))
}

fn field(name: &str, value: &str) -> String {
    format!("{}: {value}", serde_json::Value::from(name))
}

/// The value that an edit adds.
fn added_value(edit: &JsonEdit) -> Result<StoredJson, DiffMismatch> {
    match (&edit.before, edit.after.json()) {
        (FieldState::Absent, Some(value)) => Ok(value),
        _ => Err(DiffMismatch),
    }
}

fn apply_to_array(
    elements: &[Node],
    edits: &BTreeMap<&str, Vec<Patch<'_>>>,
) -> Result<String, DiffMismatch> {
    let mut kept: BTreeMap<usize, Vec<Patch<'_>>> = BTreeMap::new();
    let mut additions = BTreeMap::new();
    for (token, edits) in edits {
        let index: usize = token.parse().map_err(|_| DiffMismatch)?;
        for (path, edit) in edits {
            if path.is_empty() && edit.before == FieldState::Absent {
                additions.insert(index, added_value(edit)?);
            } else {
                kept.entry(index).or_default().push((path, edit));
            }
        }
    }
    let mut shown = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let edits = kept.remove(&index).unwrap_or_default();
        shown.extend(element.apply(&edits)?);
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
