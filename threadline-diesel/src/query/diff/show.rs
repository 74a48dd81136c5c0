//! Diffs as text for a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use threadline_core::terminal::escape;

use super::text::{Hunk, LineKind};
use super::{ChangeDiff, FieldDiff, FieldState, JsonDiff, TextDiff};
use crate::json::StoredJson;
use crate::models::Op;

/// The length to which values are cut; the JSON document has them in full.
const SHOWN_CHARS: usize = 100;

impl Display for ChangeDiff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}.{}",
            self.op,
            escape(&self.table_schema),
            escape(&self.table_name)
        )?;
        match (&self.key_before, &self.key_after) {
            (Some(before), Some(after)) if before != after => {
                write!(f, " {} → {}", shown_key(before), shown_key(after))?;
            }
            (_, Some(key)) | (Some(key), None) => write!(f, " {}", shown_key(key))?,
            (None, None) => {}
        }
        if let Some(partition) = &self.partition_name {
            write!(f, " partition {}", escape(partition))?;
        }
        write!(
            f,
            "\nchange {} at {}, transaction {}",
            self.id, self.captured_at, self.transaction_id
        )?;
        let (excluded, shown): (Vec<_>, Vec<_>) = self
            .fields
            .iter()
            .partition(|field| field.is_never_stored());
        let width = shown
            .iter()
            .map(|field| field.field.chars().count())
            .max()
            .unwrap_or_default();
        for field in &shown {
            write!(f, "\n  {:width$}  ", escape(&field.field))?;
            field.show(self.op, f)?;
        }
        if !excluded.is_empty() {
            let names: Vec<_> = excluded.iter().map(|field| escape(&field.field)).collect();
            write!(f, "\n  never stored: {}", names.join(", "))?;
        }
        Ok(())
    }
}

impl FieldDiff {
    fn is_never_stored(&self) -> bool {
        self.before == FieldState::Excluded || self.after == FieldState::Excluded
    }

    fn show(&self, op: Op, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.json, &self.text, op) {
            (Some(json), _, _) => show_json(json, f),
            (None, Some(text), _) => show_text(text, f),
            (None, None, Op::Insert | Op::Baseline) => f.write_str(&shown(&self.after)),
            (None, None, Op::Delete) => f.write_str(&shown(&self.before)),
            (None, None, _) if self.before == self.after => {
                write!(f, "{}, changed", shown(&self.before))
            }
            (None, None, _) => write!(f, "{} → {}", shown(&self.before), shown(&self.after)),
        }
    }
}

fn show_json(diff: &JsonDiff, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("(json)")?;
    for edit in &diff.edits {
        let path = if edit.path.is_empty() {
            "/".to_owned()
        } else {
            escape(&edit.path)
        };
        match (&edit.before, &edit.after) {
            (FieldState::Absent, after) => write!(f, "\n    + {path}  {}", as_json(after))?,
            (before, FieldState::Absent) => write!(f, "\n    - {path}  {}", as_json(before))?,
            (before, after) => {
                write!(
                    f,
                    "\n    ~ {path}  {} → {}",
                    as_json(before),
                    as_json(after)
                )?;
            }
        }
    }
    Ok(())
}

fn show_text(diff: &TextDiff, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("(text)")?;
    for hunk in &diff.hunks {
        show_hunk(hunk, f)?;
    }
    Ok(())
}

fn show_hunk(hunk: &Hunk, f: &mut Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "\n    @@ -{},{} +{},{} @@",
        hunk.before_start, hunk.before_lines, hunk.after_start, hunk.after_lines
    )?;
    for line in &hunk.lines {
        let sign = match line.kind {
            LineKind::Same => ' ',
            LineKind::Removed => '-',
            LineKind::Added => '+',
        };
        match line.text.strip_suffix('\n') {
            Some(text) => write!(f, "\n    {sign}{}", escape(text))?,
            None => write!(
                f,
                "\n    {sign}{}\n    \\ no line break at the end",
                escape(&line.text)
            )?,
        }
    }
    Ok(())
}

fn shown_key(key: &BTreeMap<String, String>) -> String {
    key.iter()
        .map(|(name, value)| format!("{}={}", escape(name), cut(&escape(value))))
        .collect::<Vec<_>>()
        .join(",")
}

/// A state as text. Values that look like the name of a state are quoted.
fn shown(state: &FieldState) -> String {
    match state {
        FieldState::Value(value) => shown_value(value),
        other => format!("({})", other.as_str()),
    }
}

fn shown_value(value: &StoredJson) -> String {
    let text = escape(&value.to_text());
    if text.is_empty() || text.starts_with(['(', ' ']) || text.ends_with(' ') {
        return cut(&escape(value.as_str()));
    }
    cut(&text)
}

fn as_json(state: &FieldState) -> String {
    match state {
        FieldState::Value(value) => cut(&escape(value.as_str())),
        FieldState::Null => "null".to_owned(),
        other => format!("({})", other.as_str()),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(SHOWN_CHARS - 1).collect();
    shown.push('…');
    shown
}
