//! The expansion of a model whose declaration has errors.

use proc_macro2::TokenStream;
use quote::quote;

use crate::ast::Model;
use crate::expand::impl_audited;

/// Expands to the errors and an implementation of the trait, so that code which uses the model as
/// `Audited` gets no errors of its own.
pub fn expand(model: &Model<'_>, error: &syn::Error) -> TokenStream {
    let errors = error.to_compile_error();
    let implementation = impl_audited(model, &quote!(::core::unreachable!()));
    quote! {
        #errors
        #implementation
    }
}
