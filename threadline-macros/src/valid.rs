//! What contradicts itself or cannot be captured. Whether a column exists is left to the compiler,
//! which resolves every name of a rule in the table's `columns` module.

use std::collections::BTreeMap;

use syn::ext::IdentExt;
use syn::{Data, GenericParam, LitStr, Path};

use crate::ast::{Model, Redaction, Rule};
use crate::attr::audited::Flag;
use crate::errors::Errors;

/// The longest placeholder that capture takes, in characters.
const MAX_MASK_CHARS: usize = 200;

/// The column that Diesel takes as the key when a model names none.
const DEFAULT_KEY: &str = "id";

/// Judges a model; the table is returned if there is nothing to object.
///
/// # Errors
/// All errors of the model, those of reading it included.
pub fn check<'a>(model: &'a Model<'_>, mut errors: Errors) -> syn::Result<&'a Path> {
    struct_only(model, &mut errors);
    one_type(model, &mut errors);
    one_rule_a_column(&model.redactions, &mut errors);
    clear_key(model, &mut errors);
    if let Some(text) = &model.options.mask_with {
        placeholder(text, model, &mut errors);
    }
    match &model.table {
        Some(Ok(table)) => errors.or(table),
        Some(Err(error)) => Err(errors.with(error.clone())),
        None => Err(errors.with(missing_table(model))),
    }
}

fn missing_table(model: &Model<'_>) -> syn::Error {
    syn::Error::new(
        model.input.ident.span(),
        "write `#[diesel(table_name = ...)]` on the struct: columns and key are read from its \
         `table!`",
    )
}

fn struct_only(model: &Model<'_>, errors: &mut Errors) {
    let (culprit, kind) = match &model.input.data {
        Data::Struct(_) => return,
        Data::Enum(data) => (data.enum_token.span, "an enum"),
        Data::Union(data) => (data.union_token.span, "a union"),
    };
    let message = format!("write `#[derive(Audited)]` on a struct: {kind} is no row of a table");
    errors.at(culprit, message);
}

/// Refuses parameters that make many types of the model; lifetimes do not.
fn one_type(model: &Model<'_>, errors: &mut Errors) {
    for parameter in &model.input.generics.params {
        let (name, kind) = match parameter {
            GenericParam::Lifetime(_) => continue,
            GenericParam::Type(parameter) => (&parameter.ident, "type"),
            GenericParam::Const(parameter) => (&parameter.ident, "const"),
        };
        let message = format!(
            "write the struct without the {kind} parameter `{name}`: its table is registered when \
             the program is linked, which needs one concrete type"
        );
        errors.at(name.span(), message);
    }
}

fn one_rule_a_column(redactions: &[Redaction], errors: &mut Errors) {
    let mut rules = BTreeMap::new();
    for redaction in redactions {
        let column = redaction.column.unraw();
        let rule = redaction.rule;
        let message = match rules.get(&column) {
            None => {
                rules.insert(column, rule);
                continue;
            }
            Some(first) if *first == rule => {
                format!("write `{}` once for column `{column}`", rule.name())
            }
            Some(_) => format!(
                "write one of `exclude`, `mask` and `ignore` for column `{column}`: a column has one \
                 rule"
            ),
        };
        errors.at(redaction.culprit, message);
    }
}

/// Refuses rules for the key, by which history is found.
fn clear_key(model: &Model<'_>, errors: &mut Errors) {
    if model.options.flags.contains(&Flag::NoKey) {
        return;
    }
    for redaction in &model.redactions {
        let column = redaction.column.unraw();
        let reason = match &model.primary_key {
            Some(key) if key.iter().any(|key| key.unraw() == column) => {
                "it belongs to the primary key"
            }
            None if column == DEFAULT_KEY => {
                "it is the primary key unless `#[diesel(primary_key(...))]` names another"
            }
            _ => continue,
        };
        let message = format!(
            "write no `{}` for `{column}`: {reason}, and a key is stored with every change",
            redaction.rule.name()
        );
        errors.at(redaction.culprit, message);
    }
}

fn placeholder(text: &LitStr, model: &Model<'_>, errors: &mut Errors) {
    if model.redacted(Rule::Mask).is_empty() {
        let message = "write `mask(column, ...)` too, or remove `mask_with`: no column is masked";
        errors.at(text.span(), message);
    }
    if let Some(problem) = placeholder_problem(&text.value()) {
        let message = format!(
            "write 1 to {MAX_MASK_CHARS} characters without control characters: this text {problem}"
        );
        errors.at(text.span(), message);
    }
}

fn placeholder_problem(text: &str) -> Option<String> {
    let length = text.chars().count();
    if text.is_empty() {
        Some("is empty".to_owned())
    } else if length > MAX_MASK_CHARS {
        Some(format!("has {length}"))
    } else if text.chars().any(char::is_control) {
        Some("has a control character".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_placeholder_is_the_longest_that_capture_takes() {
        assert_eq!(MAX_MASK_CHARS, threadline_core::table::MAX_MASK_CHARS);
        assert_eq!(placeholder_problem(&"ß".repeat(MAX_MASK_CHARS)), None);
        assert!(placeholder_problem(&"ß".repeat(MAX_MASK_CHARS + 1)).is_some());
    }
}
