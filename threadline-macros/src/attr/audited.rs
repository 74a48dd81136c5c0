//! Our own attributes, on the struct and on its fields.

use std::collections::BTreeSet;

use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Field, Ident, LitStr, Path, Token, parenthesized, token};

use super::{at_end_of_entry, diesel, entries, unquoted};
use crate::ast::{Redaction, Rule};
use crate::errors::Errors;
use crate::nearest::nearest;

/// What may stand in `#[audited(...)]` on a struct, and how it is written.
const OPTIONS: [(&str, &str); 7] = [
    ("exclude", "exclude(column, ...)"),
    ("mask", "mask(column, ...)"),
    ("ignore", "ignore(column, ...)"),
    ("mask_with", "mask_with = \"...\""),
    ("no_key", "no_key"),
    ("require_actor", "require_actor"),
    ("crate", "crate = path"),
];

/// The options of a model, its rules apart.
#[derive(Default)]
pub struct ModelOptions {
    /// What stands in for masked values.
    pub mask_with: Option<LitStr>,
    /// What is there or not.
    pub flags: Vec<Flag>,
    /// Where the generated code finds its support; the facade if nothing is said.
    pub root: Option<Path>,
}

/// An option without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// The table has no key.
    NoKey,
    /// A write without an actor fails.
    RequireActor,
}

impl Flag {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "no_key" => Some(Self::NoKey),
            "require_actor" => Some(Self::RequireActor),
            _ => None,
        }
    }
}

/// Reads the attributes of a struct.
pub fn model(attributes: &[Attribute], errors: &mut Errors) -> (ModelOptions, Vec<Redaction>) {
    let mut model = ModelReader::default();
    each_option(attributes, errors, |name, input, errors| {
        model.read(name, input, errors)
    });
    (model.options, model.redactions)
}

/// Reads the attributes of a field.
pub fn field(field: &Field, errors: &mut Errors) -> Vec<Redaction> {
    let column = diesel::column_name(&field.attrs).or_else(|| field.ident.clone());
    let mut redactions = Vec::new();
    each_option(&field.attrs, errors, |name, input, _| {
        let rule = field_rule(name, input)?;
        let column = column.clone().ok_or_else(|| no_column(name, rule))?;
        redactions.push(Redaction {
            rule,
            column,
            culprit: name.span(),
        });
        Ok(())
    });
    redactions
}

/// Visits the options of all `#[audited(...)]` attributes; the visitor reads what follows the
/// name.
fn each_option(
    attributes: &[Attribute],
    errors: &mut Errors,
    mut visit: impl FnMut(&Ident, ParseStream, &mut Errors) -> syn::Result<()>,
) {
    for attribute in attributes {
        if !attribute.path().is_ident("audited") {
            continue;
        }
        let read = attribute.parse_args_with(|input: ParseStream| {
            if input.is_empty() {
                return Err(syn::Error::new_spanned(
                    attribute.path(),
                    "write an option into `#[audited(...)]`, or remove it",
                ));
            }
            entries(input, errors, |input, errors| {
                let name = input.call(Ident::parse_any).map_err(|error| {
                    syn::Error::new(error.span(), "write the name of an option")
                })?;
                visit(&name, input, errors)
            });
            Ok(())
        });
        if let Err(error) = read {
            errors.push(error);
        }
    }
}

/// Gathers the options of a struct, over all its attributes.
#[derive(Default)]
struct ModelReader {
    options: ModelOptions,
    redactions: Vec<Redaction>,
    seen: BTreeSet<String>,
}

impl ModelReader {
    fn read(&mut self, name: &Ident, input: ParseStream, errors: &mut Errors) -> syn::Result<()> {
        let text = name.to_string();
        if let Some(rule) = Rule::from_name(&text) {
            self.redact(rule, name, input, errors)?;
        } else if let Some(flag) = Flag::from_name(&text) {
            self.options.flags.push(flag);
            no_value(name, input)?;
        } else {
            match text.as_str() {
                "mask_with" => self.options.mask_with = Some(mask_with(input)?),
                "crate" => self.options.root = Some(root(input)?),
                _ => return Err(unknown_option(name)),
            }
        }
        if !self.seen.insert(text) {
            errors.at(name.span(), format!("write `{name}` once for a struct"));
        }
        Ok(())
    }

    fn redact(
        &mut self,
        rule: Rule,
        name: &Ident,
        input: ParseStream,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        if !input.peek(token::Paren) {
            let message = format!("write `{name}(column, ...)`: on a struct a rule names columns");
            return Err(syn::Error::new(name.span(), message));
        }
        let columns;
        parenthesized!(columns in input);
        if columns.is_empty() {
            let message =
                format!("write `{name}(column, ...)`: a rule without columns does nothing");
            return Err(syn::Error::new(name.span(), message));
        }
        entries(&columns, errors, |input, _| {
            let column = column(input)?;
            self.redactions.push(Redaction {
                rule,
                culprit: column.span(),
                column,
            });
            Ok(())
        });
        Ok(())
    }
}

/// Reads a column's identifier, and says how to write what is nearly one.
fn column(input: ParseStream) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        let quoted: LitStr = input.parse()?;
        let message = match unquoted(&quoted) {
            Ok(column) => format!("write `{column}`: a rule names a column as `table!` does"),
            Err(_) => "write the column's identifier in `table!`, without quotes".to_owned(),
        };
        return Err(syn::Error::new(quoted.span(), message));
    }
    let keyword = input.fork().call(Ident::parse_any);
    input.parse().map_err(|error| match keyword {
        Ok(keyword) => {
            let message = format!("write `r#{keyword}`: `{keyword}` alone is a keyword");
            syn::Error::new(keyword.span(), message)
        }
        Err(_) => syn::Error::new(error.span(), "write the name of a column"),
    })
}

fn no_value(name: &Ident, input: ParseStream) -> syn::Result<()> {
    if at_end_of_entry(input) {
        return Ok(());
    }
    Err(input.error(format!("write `{name}` alone: it takes no value")))
}

fn mask_with(input: ParseStream) -> syn::Result<LitStr> {
    let text = input.parse::<Token![=]>().and_then(|_| input.parse());
    text.map_err(|error| {
        syn::Error::new(
            error.span(),
            "write `mask_with = \"...\"`: the text that stands in for masked values",
        )
    })
}

fn root(input: ParseStream) -> syn::Result<Path> {
    let path = input
        .parse::<Token![=]>()
        .and_then(|_| input.call(Path::parse_mod_style));
    path.map_err(|error| {
        syn::Error::new(
            error.span(),
            "write `crate = path`: where `threadline` is found, without quotes",
        )
    })
}

fn unknown_option(name: &Ident) -> syn::Error {
    let names = OPTIONS.map(|(option, _)| option);
    let known = OPTIONS.map(|(_, usage)| format!("`{usage}`")).join(", ");
    let message = match nearest(&name.to_string(), &names) {
        Some(meant) => {
            format!("write `{meant}`: there is no option `{name}`; the options are {known}")
        }
        None => format!("write one of {known}: there is no option `{name}`"),
    };
    syn::Error::new(name.span(), message)
}

/// Reads a rule on a field, which stands alone.
fn field_rule(name: &Ident, input: ParseStream) -> syn::Result<Rule> {
    let text = name.to_string();
    let message = match Rule::from_name(&text) {
        Some(rule) if at_end_of_entry(input) => return Ok(rule),
        Some(_) => {
            format!(
                "write `#[audited({name})]`: a rule on a field is for its column; a list of columns \
                 stands on the struct"
            )
        }
        None if OPTIONS.iter().any(|(option, _)| *option == text) => {
            format!("write `{name}` on the struct: a field takes `exclude`, `mask` or `ignore`")
        }
        None => match nearest(&text, &Rule::NAMES) {
            Some(meant) => format!("write `{meant}`: there is no rule `{name}` for a field"),
            None => format!(
                "write `exclude`, `mask` or `ignore`: there is no rule `{name}` for a field"
            ),
        },
    };
    Err(syn::Error::new(name.span(), message))
}

fn no_column(name: &Ident, rule: Rule) -> syn::Error {
    let rule = rule.name();
    let message = format!(
        "write `#[diesel(column_name = ...)]` on the field, or `{rule}(column)` on the struct: a \
         field without a name has no column"
    );
    syn::Error::new(name.span(), message)
}
