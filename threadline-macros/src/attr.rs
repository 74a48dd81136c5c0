//! Reading attributes: our own strictly, Diesel's tolerantly.

pub mod audited;
pub mod diesel;

use proc_macro2::TokenTree;
use syn::parse::ParseStream;
use syn::{Ident, LitStr, Token};

use crate::errors::Errors;

/// Reads a comma separated list to its end; an entry that cannot be read is reported and skipped,
/// so that one mistake does not hide the next.
fn entries(
    input: ParseStream,
    errors: &mut Errors,
    mut entry: impl FnMut(ParseStream, &mut Errors) -> syn::Result<()>,
) {
    while !input.is_empty() {
        let result = entry(input, errors).and_then(|()| end_of_entry(input));
        if let Err(error) = result {
            errors.push(error);
        }
        skip_entry(input);
    }
}

/// Refuses whatever follows an entry and is no comma.
fn end_of_entry(input: ParseStream) -> syn::Result<()> {
    if at_end_of_entry(input) {
        return Ok(());
    }
    Err(input.error("write `,` between entries"))
}

fn at_end_of_entry(input: ParseStream) -> bool {
    input.is_empty() || input.peek(Token![,])
}

/// Moves past the next comma.
fn skip_entry(input: ParseStream) {
    while let Ok(token) = input.parse::<TokenTree>() {
        if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',') {
            return;
        }
    }
}

/// The identifier of a column whose name stands in quotes: `"type"` is what Rust writes `r#type`.
fn unquoted(name: &LitStr) -> syn::Result<Ident> {
    name.parse().or_else(|error| {
        let mut raw: Ident = syn::parse_str(&format!("r#{}", name.value())).map_err(|_| error)?;
        raw.set_span(name.span());
        Ok(raw)
    })
}
