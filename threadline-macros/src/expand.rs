//! The expansion of a model.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{DeriveInput, GenericParam, Ident, Lifetime, Path};

use crate::ast::Model;
use crate::attr::Rule;
use crate::attr::audited::{Flag, ModelOptions};
use crate::errors::Errors;
use crate::{fallback, valid};

/// Expands `#[derive(Audited)]`.
pub fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let model = Model::read(input, &mut errors);
    match valid::check(&model, errors) {
        Ok(()) => model_impl(&model),
        Err(error) => fallback::expand(&model, &error),
    }
}

/// The path of the `__private` module that the expansion refers to.
fn private(options: &ModelOptions) -> TokenStream {
    options.root.as_ref().map_or_else(
        || quote!(::threadline::__private),
        |root| quote!(#root::__private),
    )
}

/// `impl Audited` with a body that evaluates to the table.
pub fn impl_audited(model: &Model<'_>, body: &TokenStream) -> TokenStream {
    let private = private(&model.options);
    let ident = &model.input.ident;
    let (impl_generics, type_generics, where_clause) = model.input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics #private::Audited for #ident #type_generics #where_clause {
            fn audited_table() -> ::core::result::Result<
                #private::AuditedTable,
                #private::InvalidTable,
            > {
                #body
            }
        }
    }
}

fn model_impl(model: &Model<'_>) -> TokenStream {
    let private = private(&model.options);
    let implementation = impl_audited(model, &audited_table(model));
    let ident = &model.input.ident;
    let name = ident.unraw().to_string();
    let lifetimes = static_lifetimes(model.input);
    quote! {
        #implementation
        #private::inventory::submit! {
            #private::Registration::new(
                ::core::module_path!(),
                #name,
                <#ident #lifetimes as #private::Audited>::audited_table,
            )
        }
    }
}

/// `<'static, ...>` for every lifetime parameter of the model, which makes it one concrete type.
fn static_lifetimes(input: &DeriveInput) -> Option<TokenStream> {
    let lifetimes: Vec<_> = input
        .generics
        .params
        .iter()
        .filter(|parameter| matches!(parameter, GenericParam::Lifetime(_)))
        .map(|_| Lifetime::new("'static", Span::call_site()))
        .collect();
    (!lifetimes.is_empty()).then(|| quote!(<#(#lifetimes),*>))
}

fn audited_table(model: &Model<'_>) -> TokenStream {
    let private = private(&model.options);
    let table = &model.table;
    let diesel_table = quote_spanned!(table_span(table)=> #table::table);
    let exclude = rule(model, Rule::Exclude);
    let mask = rule(model, Rule::Mask);
    let mask_keep_null = rule(model, Rule::MaskKeepNull);
    let ignore = rule(model, Rule::Ignore);
    let mask_with = model
        .options
        .mask_with
        .as_ref()
        .map(|text| quote!(.mask_with(#text)));
    let flags = model.options.flags.iter().map(|flag| match flag {
        Flag::NoKey => quote!(.without_key()),
        Flag::RequireActor => quote!(.actor(#private::ActorPolicy::Required)),
    });
    quote! {
        #private::from_diesel_table::<#diesel_table>()
            #exclude #mask #mask_keep_null #ignore #mask_with #(#flags)*
            .build()
    }
}

/// The builder call for the columns of a rule. Each column is a type path in the user's span, so
/// that the compiler reports a misspelt one there.
fn rule(model: &Model<'_>, rule: Rule) -> Option<TokenStream> {
    let private = private(&model.options);
    let table = &model.table;
    let columns = model.columns_with(rule);
    let names = columns.iter().map(|column| {
        quote_spanned!(table_span(table)=> <#table::columns::#column as #private::diesel::Column>::NAME)
    });
    let method = Ident::new(rule.builder_method(), Span::call_site());
    (!columns.is_empty()).then(|| quote!(.#method([#(#names),*])))
}

/// The span for errors about the table: the last segment of its path.
fn table_span(table: &Path) -> Span {
    table
        .segments
        .last()
        .map_or_else(Span::call_site, |segment| segment.ident.span())
}
