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
    placeholder: &'a str,
    list: Option<&'static str>,
    place: usize,
    error: Option<&'a FieldError>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            value: "",
            hint: None,
            placeholder: "",
            list: None,
            place: 0,
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

    /// Sets an example of a value.
    pub(crate) fn placeholder(mut self, placeholder: &'a str) -> Self {
        self.placeholder = placeholder;
        self
    }

    /// Sets the id of a list of suggestions.
    pub(crate) fn list(mut self, id: &'static str) -> Self {
        self.list = Some(id);
        self
    }

    /// Sets the place among fields of the same name; 0 unless set.
    pub(crate) fn place(mut self, place: usize) -> Self {
        self.place = place;
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
    let id = match field.place {
        0 => format!("field-{}", field.name),
        place => format!("field-{}-{place}", field.name),
    };
    let placeholder = Some(field.placeholder).filter(|text| !text.is_empty());
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
                placeholder=[placeholder] list=[field.list]
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
pub(crate) struct Choice<'a> {
    value: &'a str,
    label: &'a str,
    is_selected: bool,
}

impl<'a> Choice<'a> {
    pub(crate) fn new(value: &'a str, is_selected: bool) -> Self {
        Self {
            value,
            label: value,
            is_selected,
        }
    }

    /// Sets the text; the value unless set.
    pub(crate) fn label(mut self, label: &'a str) -> Self {
        self.label = label;
        self
    }
}

/// A selection list with its label.
pub(crate) fn select<'a>(
    name: &'static str,
    label: &str,
    choices: impl IntoIterator<Item = Choice<'a>>,
) -> Markup {
    let id = format!("field-{name}");
    html! {
        div.field {
            label for=(id) { (label) }
            select id=(id) name=(name) {
                @for choice in choices {
                    option value=(choice.value) selected[choice.is_selected] { (choice.label) }
                }
            }
        }
    }
}
