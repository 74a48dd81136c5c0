//! Validation of a model. Whether a column exists is left to the compiler, which resolves every
//! column of a rule in the table's `columns` module.

use std::collections::BTreeMap;

use syn::ext::IdentExt;
use syn::{Data, GenericParam, LitStr};

use crate::ast::Model;
use crate::attr::audited::Flag;
use crate::attr::{Redaction, Rule};
use crate::errors::Errors;

/// The maximum length of a placeholder in characters, as in `threadline_core::table`.
const MAX_MASK_CHARS: usize = 200;

/// The primary key that Diesel assumes for a model without `primary_key`.
const DEFAULT_KEY: &str = "id";

/// Validates a model.
///
/// # Errors
/// All errors of the model, including those of parsing its attributes.
pub fn check(model: &Model<'_>, mut errors: Errors) -> syn::Result<()> {
    check_struct(model, &mut errors);
    check_generics(model, &mut errors);
    check_duplicate_rules(&model.redactions, &mut errors);
    check_key(model, &mut errors);
    if let Some(text) = &model.options.mask_with {
        check_placeholder(text, model, &mut errors);
    }
    errors.into_result()
}

fn check_struct(model: &Model<'_>, errors: &mut Errors) {
    let (span, kind) = match &model.input.data {
        Data::Struct(_) => return,
        Data::Enum(data) => (data.enum_token.span, "an enum"),
        Data::Union(data) => (data.union_token.span, "a union"),
    };
    let message = format!("`Audited` can be derived for structs only, not for {kind}");
    errors.at(span, message);
}

/// Rejects type and const parameters: a generic model has no single table to register. Lifetimes
/// are allowed.
fn check_generics(model: &Model<'_>, errors: &mut Errors) {
    for parameter in &model.input.generics.params {
        let (name, kind) = match parameter {
            GenericParam::Lifetime(_) => continue,
            GenericParam::Type(parameter) => (&parameter.ident, "type"),
            GenericParam::Const(parameter) => (&parameter.ident, "const"),
        };
        let message = format!(
            "`Audited` cannot be derived for a struct with the {kind} parameter `{name}`: a table \
             is registered at link time, which needs a concrete type"
        );
        errors.at(name.span(), message);
    }
}

fn check_duplicate_rules(redactions: &[Redaction], errors: &mut Errors) {
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
                format!("duplicate rule `{}` for column `{column}`", rule.name())
            }
            Some(_) => format!(
                "column `{column}` has more than one rule: keep one of `exclude`, `mask` and \
                 `ignore`"
            ),
        };
        errors.at(redaction.span, message);
    }
}

/// Rejects rules for key columns, because the key is stored with every change.
fn check_key(model: &Model<'_>, errors: &mut Errors) {
    if model.options.flags.contains(&Flag::NoKey) {
        return;
    }
    for redaction in &model.redactions {
        let column = redaction.column.unraw();
        let hint = match &model.primary_key {
            Some(key) if key.iter().any(|key| key.unraw() == column) => "",
            None if column == DEFAULT_KEY => {
                " (`id` is the primary key unless `#[diesel(primary_key(...))]` names another)"
            }
            _ => continue,
        };
        let message = format!(
            "`{}` cannot apply to the key column `{column}`: the key is stored with every \
             change{hint}",
            redaction.rule.name()
        );
        errors.at(redaction.span, message);
    }
}

fn check_placeholder(text: &LitStr, model: &Model<'_>, errors: &mut Errors) {
    let is_mask = |redaction: &Redaction| redaction.rule.name() == Rule::Mask.name();
    if !model.redactions.iter().any(is_mask) {
        let message = "`mask_with` has no effect, because no column is masked: add \
                       `mask(column, ...)` or remove it";
        errors.at(text.span(), message);
    }
    if let Some(problem) = placeholder_problem(&text.value()) {
        let message = format!(
            "a placeholder must have 1 to {MAX_MASK_CHARS} characters and no control characters: \
             this one {problem}"
        );
        errors.at(text.span(), message);
    }
}

fn placeholder_problem(text: &str) -> Option<String> {
    let length = text.chars().count();
    if text.is_empty() {
        Some("is empty".to_owned())
    } else if length > MAX_MASK_CHARS {
        Some(format!("has {length} characters"))
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
    fn the_derive_and_the_table_builder_share_the_placeholder_limit() {
        assert_eq!(MAX_MASK_CHARS, threadline_core::table::MAX_MASK_CHARS);
        assert_eq!(placeholder_problem(&"ß".repeat(MAX_MASK_CHARS)), None);
        assert!(placeholder_problem(&"ß".repeat(MAX_MASK_CHARS + 1)).is_some());
    }
}
