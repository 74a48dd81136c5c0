//! Parsing of `#[audited(...)]` on a struct and its fields.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Field, Ident, LitStr, Path, Token, parenthesized, token};

use super::{Redaction, Rule, diesel, entries, is_end_of_entry, parse_quoted};
use crate::errors::Errors;

/// The options of `#[audited(...)]` on a struct, each with its syntax.
const OPTIONS: [(&str, &str); 7] = [
    ("exclude", "exclude(column, ...)"),
    ("mask", "mask(column, column(keep_null), ...)"),
    ("ignore", "ignore(column, ...)"),
    ("mask_with", "mask_with = \"...\""),
    ("no_key", "no_key"),
    ("require_actor", "require_actor"),
    ("crate", "crate = path"),
];

/// The options of a model other than rules.
#[derive(Default)]
pub struct ModelOptions {
    /// The placeholder for masked values.
    pub mask_with: Option<LitStr>,
    /// The options without a value.
    pub flags: Vec<Flag>,
    /// The path of the crate that the expansion refers to; `::threadline` by default.
    pub root: Option<Path>,
}

/// An option without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// The table has no key.
    NoKey,
    /// Writes without an actor fail.
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

/// Parses the attributes of a struct.
pub fn model(attributes: &[Attribute], errors: &mut Errors) -> (ModelOptions, Vec<Redaction>) {
    let mut model = ModelParser::default();
    each_option(attributes, errors, |name, input, errors| {
        model.parse(name, input, errors)
    });
    (model.options, model.redactions)
}

/// Parses the attributes of a field.
pub fn field(field: &Field, errors: &mut Errors) -> Vec<Redaction> {
    let column = diesel::column_name(&field.attrs).or_else(|| field.ident.clone());
    let mut redactions = Vec::new();
    each_option(&field.attrs, errors, |name, input, _| {
        let rule = field_rule(name, input)?;
        let column = column.clone().ok_or_else(|| no_column(name, rule))?;
        redactions.push(Redaction {
            rule,
            column,
            span: name.span(),
        });
        Ok(())
    });
    redactions
}

/// Visits the options of all `#[audited(...)]` attributes. The visitor parses the tokens after the
/// option's name.
fn each_option(
    attributes: &[Attribute],
    errors: &mut Errors,
    mut visit: impl FnMut(&Ident, ParseStream, &mut Errors) -> syn::Result<()>,
) {
    for attribute in attributes {
        if !attribute.path().is_ident("audited") {
            continue;
        }
        let parsed = attribute.parse_args_with(|input: ParseStream| {
            if input.is_empty() {
                return Err(syn::Error::new_spanned(
                    attribute.path(),
                    "expected an option in `#[audited(...)]`",
                ));
            }
            entries(input, errors, |input, errors| {
                let name = input.call(Ident::parse_any).map_err(|error| {
                    syn::Error::new(error.span(), "expected the name of an option")
                })?;
                visit(&name, input, errors)
            });
            Ok(())
        });
        if let Err(error) = parsed {
            errors.push(error);
        }
    }
}

/// Collects the options of a struct from all its attributes.
#[derive(Default)]
struct ModelParser {
    options: ModelOptions,
    redactions: Vec<Redaction>,
    seen: BTreeSet<String>,
}

impl ModelParser {
    fn parse(&mut self, name: &Ident, input: ParseStream, errors: &mut Errors) -> syn::Result<()> {
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
            errors.at(name.span(), format!("duplicate option `{name}`"));
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
            let message =
                format!("expected `{name}(column, ...)`: on a struct, a rule lists columns");
            return Err(syn::Error::new(name.span(), message));
        }
        let columns;
        parenthesized!(columns in input);
        if columns.is_empty() {
            let message = format!("`{name}` lists no columns: write `{name}(column, ...)`");
            return Err(syn::Error::new(name.span(), message));
        }
        entries(&columns, errors, |input, _| {
            let column = column(input)?;
            let rule = match rule {
                Rule::Mask if input.peek(token::Paren) => mask_option(input)?,
                rule => rule,
            };
            self.redactions.push(Redaction {
                rule,
                span: column.span(),
                column,
            });
            Ok(())
        });
        Ok(())
    }
}

/// Parses a column's identifier. Errors say how to write quoted names and keywords.
fn column(input: ParseStream) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        let quoted: LitStr = input.parse()?;
        let message = match parse_quoted(&quoted) {
            Ok(column) => format!("expected the column's identifier without quotes: `{column}`"),
            Err(_) => "expected the column's identifier in `table!`, without quotes".to_owned(),
        };
        return Err(syn::Error::new(quoted.span(), message));
    }
    let keyword = input.fork().call(Ident::parse_any);
    input.parse().map_err(|error| match keyword {
        Ok(keyword) => {
            let message = format!("`{keyword}` is a keyword: write `r#{keyword}`");
            syn::Error::new(keyword.span(), message)
        }
        Err(_) => syn::Error::new(error.span(), "expected a column"),
    })
}

/// Parses `(keep_null)`, the option of a masked column.
fn mask_option(input: ParseStream) -> syn::Result<Rule> {
    let option;
    let parens = parenthesized!(option in input);
    let name = option.parse::<Ident>();
    // An error is reported once: tokens that are left over would be another one.
    let rest: TokenStream = option.parse()?;
    match name {
        Ok(name) if name == "keep_null" && rest.is_empty() => Ok(Rule::MaskKeepNull),
        _ => Err(syn::Error::new(
            parens.span.join(),
            "expected `(keep_null)`: the only option of a masked column",
        )),
    }
}

fn no_value(name: &Ident, input: ParseStream) -> syn::Result<()> {
    if is_end_of_entry(input) {
        return Ok(());
    }
    Err(input.error(format!("`{name}` takes no value")))
}

fn mask_with(input: ParseStream) -> syn::Result<LitStr> {
    let text = input.parse::<Token![=]>().and_then(|_| input.parse());
    text.map_err(|error| {
        syn::Error::new(
            error.span(),
            "expected `mask_with = \"...\"`: the placeholder for masked values",
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
            "expected `crate = path`: the path of the `threadline` crate, without quotes",
        )
    })
}

fn unknown_option(name: &Ident) -> syn::Error {
    let names = OPTIONS.map(|(option, _)| option);
    let known = OPTIONS.map(|(_, usage)| format!("`{usage}`")).join(", ");
    let message = match closest(&name.to_string(), &names) {
        Some(option) => {
            format!("unknown option `{name}`: did you mean `{option}`? The options are {known}")
        }
        None => format!("unknown option `{name}`: the options are {known}"),
    };
    syn::Error::new(name.span(), message)
}

/// Parses a rule on a field: its name, or `mask(keep_null)`.
fn field_rule(name: &Ident, input: ParseStream) -> syn::Result<Rule> {
    let text = name.to_string();
    let message = match Rule::from_name(&text) {
        Some(rule) if is_end_of_entry(input) => return Ok(rule),
        Some(Rule::Mask) if input.peek(token::Paren) => match mask_option(input) {
            Ok(rule) => return Ok(rule),
            Err(_) => "on a field, `mask` takes only `keep_null`: write `#[audited(mask)]` or \
                       `#[audited(mask(keep_null))]`, or list columns on the struct"
                .to_owned(),
        },
        Some(_) => format!(
            "a rule on a field takes no arguments: write `#[audited({name})]`, or list columns on \
             the struct"
        ),
        None if OPTIONS.iter().any(|(option, _)| *option == text) => format!(
            "`{name}` is an option of the struct: a field takes `exclude`, `mask` or `ignore`"
        ),
        None => match closest(&text, &Rule::NAMES) {
            Some(rule) => format!("unknown rule `{name}`: did you mean `{rule}`?"),
            None => {
                format!("unknown rule `{name}`: a field takes `exclude`, `mask` or `ignore`")
            }
        },
    };
    Err(syn::Error::new(name.span(), message))
}

fn no_column(name: &Ident, rule: Rule) -> syn::Error {
    let rule = rule.name();
    let message = format!(
        "a tuple field has no column name: add `#[diesel(column_name = ...)]`, or write \
         `{rule}(column)` on the struct"
    );
    syn::Error::new(name.span(), message)
}

/// The candidate with the smallest Levenshtein distance to a word, if the distance is at most two
/// and at most half the word's length.
fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = 2.min(word.chars().count() / 2);
    candidates
        .iter()
        .map(|&candidate| (strsim::levenshtein(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_of_the_attribute_has_a_section_for_each_option() {
        let guide = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../guides/audited-attribute.md"
        );
        let guide = std::fs::read_to_string(guide).unwrap();
        let sections: Vec<_> = guide
            .lines()
            .filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'))
            .collect();
        assert_eq!(sections, OPTIONS.map(|(_, usage)| usage));

        // The table lists the rules, which a field takes, and the options that it does not take.
        for (name, usage) in OPTIONS {
            let field = match Rule::from_name(name) {
                Some(_) => format!("`{name}`"),
                None => "|".to_owned(),
            };
            let row = format!("| `{name}` | `{usage}` | {field}");
            assert!(guide.contains(&row), "no row {row}");
        }
    }
}
