//! Attribute parsing: `#[audited(...)]` strictly, `#[diesel(...)]` leniently.

pub mod audited;
pub mod diesel;

use proc_macro2::{Span, TokenTree};
use syn::parse::ParseStream;
use syn::{Ident, LitStr, Token};

use crate::errors::Errors;

/// The effect of a rule on a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The column is never stored.
    Exclude,
    /// The column is stored as a placeholder, also where it is NULL.
    Mask,
    /// The column is stored as a placeholder, but NULL as NULL: `mask(keep_null)`.
    MaskKeepNull,
    /// The column is stored, but a change of it alone is not recorded.
    Ignore,
}

impl Rule {
    /// The names of all rules.
    pub const NAMES: [&str; 3] = ["exclude", "mask", "ignore"];

    /// Looks a rule up by its name in attributes.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "exclude" => Some(Self::Exclude),
            "mask" => Some(Self::Mask),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }

    /// The method of `AuditedTableBuilder` that adds columns with the rule.
    pub fn builder_method(self) -> &'static str {
        match self {
            Self::MaskKeepNull => "mask_keep_null",
            other => other.name(),
        }
    }

    /// The rule's name in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Mask | Self::MaskKeepNull => "mask",
            Self::Ignore => "ignore",
        }
    }
}

/// A rule for one column.
pub struct Redaction {
    /// The rule.
    pub rule: Rule,
    /// The column's identifier in the `columns` module that `table!` generates.
    pub column: Ident,
    /// The span for errors: the column in a list, the rule on a field.
    pub span: Span,
}

/// Parses a comma-separated list to its end. An entry that cannot be parsed is reported and
/// skipped, so that one error does not hide the next.
fn entries(
    input: ParseStream,
    errors: &mut Errors,
    mut entry: impl FnMut(ParseStream, &mut Errors) -> syn::Result<()>,
) {
    while !input.is_empty() {
        let result = entry(input, errors).and_then(|()| expect_end_of_entry(input));
        if let Err(error) = result {
            errors.push(error);
        }
        skip_entry(input);
    }
}

/// Returns an error unless the entry ends here.
fn expect_end_of_entry(input: ParseStream) -> syn::Result<()> {
    if is_end_of_entry(input) {
        return Ok(());
    }
    Err(input.error("expected `,`"))
}

fn is_end_of_entry(input: ParseStream) -> bool {
    input.is_empty() || input.peek(Token![,])
}

/// Advances past the next comma.
fn skip_entry(input: ParseStream) {
    while let Ok(token) = input.parse::<TokenTree>() {
        if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',') {
            return;
        }
    }
}

/// Converts a quoted column name into an identifier; `"type"` becomes `r#type`.
fn parse_quoted(name: &LitStr) -> syn::Result<Ident> {
    name.parse().or_else(|error| {
        let mut raw: Ident = syn::parse_str(&format!("r#{}", name.value())).map_err(|_| error)?;
        raw.set_span(name.span());
        Ok(raw)
    })
}
