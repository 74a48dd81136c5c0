//! Diffs of changes.

use maud::{Markup, html};
use threadline_diesel::Op;
use threadline_diesel::query::diff::{
    ChangeDiff, FieldDiff, FieldState, Hunk, JsonDiff, LineKind, TextDiff,
};

use super::value::{PAGE_CHARS, value};
use crate::access::Capability;
use crate::request::GrantedRequest;

/// The diff of a change as a table. Without the capability `values`, only the names of the fields.
pub(crate) fn diff_table(request: &GrantedRequest, diff: &ChangeDiff) -> Markup {
    if !request.allows(Capability::Values) {
        return html! {
            p.note { "Your grant does not show values. These fields are part of the change:" }
            ul { @for field in &diff.fields { li { bdi { (field.field) } } } }
        };
    }
    if diff.fields.is_empty() {
        return html! { p.note { "This change has no fields." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Fields of the change" {
            table.diff {
                thead {
                    tr {
                        th scope="col" { "Field" }
                        th scope="col" { "Before" }
                        th scope="col" { "After" }
                    }
                }
                tbody { @for field in &diff.fields { (field_row(diff.op, field)) } }
            }
        }
    }
}

fn field_row(op: Op, field: &FieldDiff) -> Markup {
    html! {
        tr {
            th scope="row" { bdi { (field.field) } }
            (field_cells(op, field))
        }
    }
}

/// The two cells of a field: before and after, or the edits of a document or a long text.
pub(crate) fn field_cells(op: Op, field: &FieldDiff) -> Markup {
    html! {
        @if let Some(json) = &field.json {
            td colspan="2" { (json_edits(json)) }
        } @else if let Some(text) = &field.text {
            td colspan="2" { (text_hunks(text)) }
        } @else if op == Op::Update {
            td { (removed(&field.before)) }
            td { (added(&field.after)) }
        } @else {
            td { (value(&field.before, PAGE_CHARS)) }
            td { (value(&field.after, PAGE_CHARS)) }
        }
    }
}

fn removed(state: &FieldState) -> Markup {
    html! { del { span.hidden { "was " } (value(state, PAGE_CHARS)) } }
}

fn added(state: &FieldState) -> Markup {
    html! { ins { span.hidden { "now " } (value(state, PAGE_CHARS)) } }
}

/// The edits of a JSON document, by path.
fn json_edits(diff: &JsonDiff) -> Markup {
    html! {
        ul.edits {
            @for edit in &diff.edits {
                li {
                    code { bdi { @if edit.path.is_empty() { "/" } @else { (edit.path) } } }
                    " "
                    (removed(&edit.before)) " → " (added(&edit.after))
                }
            }
        }
    }
}

/// The hunks of a long text, by line.
fn text_hunks(diff: &TextDiff) -> Markup {
    html! { @for hunk in &diff.hunks { (text_hunk(hunk)) } }
}

fn text_hunk(hunk: &Hunk) -> Markup {
    html! {
        p.utc { "line " (hunk.before_start) " → " (hunk.after_start) }
        pre tabindex="0" {
            @for line in &hunk.lines {
                @match line.kind {
                    LineKind::Removed => del { span.hidden { "was " } "- " (line.text) },
                    LineKind::Added => ins { span.hidden { "now " } "+ " (line.text) },
                    _ => span { "  " (line.text) },
                }
            }
        }
    }
}
