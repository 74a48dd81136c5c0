#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::pedantic)]

mod ast;
mod attr;
mod errors;
mod expand;
mod fallback;
mod nearest;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Audited` for a Diesel model and registers its table when the program is linked.
///
/// The table comes from Diesel's `#[diesel(table_name = …)]`; everything else has a default. See
/// the [crate's documentation](crate) for an example and for every option.
#[proc_macro_derive(Audited, attributes(audited, diesel))]
pub fn derive_audited(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::derive(&input).into()
}
