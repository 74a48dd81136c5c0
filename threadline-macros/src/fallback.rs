//! What a model becomes when its declaration is wrong.

use proc_macro2::TokenStream;
use quote::quote;

use crate::ast::Model;
use crate::expand::impl_audited;

/// The errors, and an implementation of the trait all the same: code that uses the model as an
/// `Audited` one is not at fault, and gets no errors of its own.
pub fn expand(model: &Model<'_>, error: &syn::Error) -> TokenStream {
    let errors = error.to_compile_error();
    let implementation = impl_audited(model, &quote!(::core::unreachable!()));
    quote! {
        #errors
        #implementation
    }
}
