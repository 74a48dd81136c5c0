//! Forms.

use maud::{Markup, html};

use crate::href::Href;
use crate::question::FieldError;

/// A field of a form.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    name: &'static str,
    label: &'static str,
    value: &'a str,
    hint: Option<&'static str>,
    error: Option<&'a FieldError>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            value: "",
            hint: None,
            error: None,
        }
    }

    /// Sets the value.
    pub(crate) fn value(mut self, value: &'a str) -> Self {
        self.value = value;
        self
    }

    /// Sets how to write a value.
    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Sets value and error from the errors of the form, if one is about this field.
    pub(crate) fn errors(mut self, errors: &'a [FieldError]) -> Self {
        self.error = errors.iter().find(|error| error.field == self.name);
        if let Some(error) = self.error {
            self.value = &error.value;
        }
        self
    }
}

/// A form that loads a page, with a button.
pub(crate) fn form(action: &Href, button: &str, fields: &[Field<'_>]) -> Markup {
    html! {
        form.stack method="get" action=(action) {
            @for one in fields { (field(one)) }
            button.primary type="submit" { (button) }
        }
    }
}

/// A text field with its label, hint and error.
pub(crate) fn field(field: &Field<'_>) -> Markup {
    let id = format!("field-{}", field.name);
    let hint_id = format!("{id}-hint");
    let error_id = format!("{id}-error");
    let described = match (field.hint, field.error) {
        (_, Some(_)) => Some(&error_id),
        (Some(_), None) => Some(&hint_id),
        (None, None) => None,
    };
    html! {
        div.field {
            label for=(id) { (field.label) }
            input id=(id) name=(field.name) value=(field.value) autocomplete="off"
                aria-describedby=[described] aria-invalid=[field.error.map(|_| "true")];
            @if let Some(error) = field.error {
                p.error id=(error_id) role="alert" { (error.message) }
            }
            @if let Some(hint) = field.hint {
                p.hint id=(hint_id) { (hint) }
            }
        }
    }
}

/// An entry of a selection list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    value: &'static str,
    is_selected: bool,
}

impl Choice {
    pub(crate) fn new(value: &'static str, is_selected: bool) -> Self {
        Self { value, is_selected }
    }
}

/// A selection list with its label.
pub(crate) fn select(
    name: &'static str,
    label: &str,
    choices: impl IntoIterator<Item = Choice>,
) -> Markup {
    let id = format!("field-{name}");
    html! {
        div.field {
            label for=(id) { (label) }
            select id=(id) name=(name) {
                @for choice in choices {
                    option value=(choice.value) selected[choice.is_selected] { (choice.value) }
                }
            }
        }
    }
}
