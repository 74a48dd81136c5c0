//! The form of a timeline's filters.

use maud::{Markup, html};
use threadline_core::actor::ActorType;
use threadline_core::table::{AuditedTable, TableName};
use threadline_diesel::Op;

use super::form::{Choice, Field, field, select};
use crate::access::Capability;
use crate::href::Href;
use crate::question::{FieldError, Parameters};
use crate::request::GrantedRequest;

/// The fields that are always visible, before the operation.
const MAIN: [(&str, &str); 6] = [
    ("from", "From"),
    ("to", "To"),
    ("table", "Table"),
    ("actor", "Actor"),
    ("action", "Action"),
    ("correlation", "Correlation"),
];

/// The text fields of the fold.
const MORE: [(&str, &str, &str); 9] = [
    ("changed", "Changed column", "updates that changed it"),
    ("on_behalf_of", "On behalf of", "user:42"),
    ("request", "Request", ""),
    ("job", "Job", ""),
    ("schema", "Schema", "without a table"),
    ("category", "Action category", ""),
    ("meta", "Meta", r#"{"tenant": 7}"#),
    (
        "scan_values",
        "Text in values",
        "at least 3 characters, slow",
    ),
    ("limit", "Entries a page", "1 to 200"),
];

/// The selection lists and the check box of the fold.
const MORE_CHOICES: [&str; 3] = ["actor_type", "status", "unattributed"];

/// The form as typed. `tables` are the tables that it suggests.
pub(crate) fn filter_form(
    request: &GrantedRequest,
    errors: &[FieldError],
    tables: &[AuditedTable],
) -> Markup {
    let mut typed = Typed(request.parameters());
    let names = MORE.iter().map(|(name, ..)| *name).chain(MORE_CHOICES);
    let used = names.filter(|name| typed.is_used(name, errors)).count();
    let table = typed.text("table");
    let keys = typed.0.texts("key");
    html! {
        form.filters method="get" action=(request.href("/timeline")) {
            (error_summary(errors))
            div.fields {
                @for (name, label) in MAIN {
                    @let text = if name == "table" { table.clone() } else { typed.text(name) };
                    @let one = Field::new(name, label).value(&text).errors(errors);
                    @match name {
                        "from" => (field(&one.placeholder("-24h"))),
                        "to" => (field(&one.placeholder("now"))),
                        "table" => {
                            (field(&one.list("tables")))
                            // Not the key columns of a table that may be hidden.
                            (key_fields(&table, &keys, if request.scope().is_none() { tables } else { &[] }, errors))
                        }
                        "actor" => (field(&one.placeholder("user:42"))),
                        _ => (field(&one)),
                    }
                }
                (choices("op", "Operation", Op::ALL.iter().map(|op| op.as_str()), &typed.text("op")))
            }
            (suggestions(request, tables))
            div.more {
                details open[used > 0] {
                    summary { "More filters" @if used > 0 { " (" (used) " used)" } }
                    div.fields {
                        @for (name, label, placeholder) in MORE {
                            @if name != "scan_values" || request.allows(Capability::Values) {
                                @let text = typed.text(name);
                                (field(&Field::new(name, label).value(&text).placeholder(placeholder).errors(errors)))
                            }
                        }
                        (choices("actor_type", "Actor type", ActorType::ALL.map(ActorType::as_str), &typed.text("actor_type")))
                        (choices("status", "Action status", ["ok", "error"], &typed.text("status")))
                        (choices("unattributed", "Without an actor", ["true"], &typed.text("unattributed")))
                    }
                }
                div.buttons {
                    button.primary type="submit" { "Apply" }
                    a.button href=(request.href("/timeline")) { "Reset" }
                }
            }
            @for name in ["group", "window", "by"] {
                @let text = typed.text(name);
                @if !text.is_empty() { input type="hidden" name=(name) value=(text); }
            }
        }
    }
}

/// The texts of the address.
struct Typed(Parameters);

impl Typed {
    /// Takes the text of a parameter; of several, the first.
    fn text(&mut self, name: &str) -> String {
        self.0.texts(name).into_iter().next().unwrap_or_default()
    }

    fn is_used(&self, name: &str, errors: &[FieldError]) -> bool {
        self.0.has(name) || errors.iter().any(|error| error.field == name)
    }
}

/// A selection list with an empty choice.
fn choices(
    name: &'static str,
    label: &str,
    values: impl IntoIterator<Item = &'static str>,
    selected: &str,
) -> Markup {
    let any = if name == "unattributed" {
        "no matter"
    } else {
        "any"
    };
    let first = Choice::new("", selected.is_empty()).label(any);
    let values = values.into_iter().map(|value| {
        let choice = Choice::new(value, value == selected);
        if name == "unattributed" {
            choice.label("only these")
        } else {
            choice
        }
    });
    select(name, label, std::iter::once(first).chain(values))
}

/// The key: a field for each of its columns, as far as they are known.
fn key_fields(
    table: &str,
    keys: &[String],
    tables: &[AuditedTable],
    errors: &[FieldError],
) -> Markup {
    let name = table.parse::<TableName>().ok();
    let known = tables.iter().find(|one| Some(one.name()) == name.as_ref());
    let columns: Vec<_> = known
        .map(|table| table.key_columns().map(|one| one.name.clone()).collect())
        .unwrap_or_default();
    let fields = columns.len().max(keys.len()).max(1);
    let is_composite = fields > 1;
    html! {
        @for place in 0..fields {
            @let value = keys.get(place).map_or("", String::as_str);
            @let hint = columns.get(place).filter(|_| is_composite).map(|one| format!("{one}="));
            (field(&Field::new("key", "Key").value(value).place(place)
                .placeholder(hint.as_deref().unwrap_or_default())
                .errors(if place == 0 { errors } else { &[] })))
        }
    }
}

/// The captured tables, unless a scope hides some.
fn suggestions(request: &GrantedRequest, tables: &[AuditedTable]) -> Markup {
    html! {
        @if request.scope().is_none() {
            datalist id="tables" {
                @for table in tables { option value=(table.name()) {} }
            }
        }
    }
}

/// The errors, with links to their fields.
fn error_summary(errors: &[FieldError]) -> Markup {
    let names = MAIN.iter().map(|(name, _)| *name);
    let names = names.chain(MORE.iter().map(|(name, ..)| *name));
    let names: Vec<_> = names.chain(MORE_CHOICES).chain(["key", "op"]).collect();
    html! {
        @if !errors.is_empty() {
            div.empty role="alert" {
                p.strong { "Check the filters" }
                ul {
                    @for error in errors {
                        li {
                            @match names.iter().find(|name| **name == error.field) {
                                Some(name) => { a href=(Href::field(name)) { (name) } ": " }
                                None if error.field.is_empty() => {}
                                None => { code { (error.field) } ": " }
                            }
                            (error.message)
                        }
                    }
                }
            }
        }
    }
}
