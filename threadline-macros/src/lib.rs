#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::pedantic)]

mod ast;
mod attr;
mod errors;
mod expand;
mod fallback;
mod valid;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Audited` for a Diesel model and registers its table at link time.
///
/// The table is that of `#[diesel(table_name = …)]`; without the attribute its name is inferred
/// from the struct's, as Diesel's derives do: `OrderLine` has the table `order_lines`. See the
/// [crate documentation](crate) for an example and all options.
#[proc_macro_derive(Audited, attributes(audited, diesel))]
pub fn derive_audited(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::derive(&input).into()
}
