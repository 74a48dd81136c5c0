//! The code that a model becomes.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{DeriveInput, GenericParam, Ident, Lifetime, Path};

use crate::ast::{Model, Rule};
use crate::attr::audited::{Flag, ModelOptions};
use crate::errors::Errors;
use crate::{fallback, valid};

/// Expands `#[derive(Audited)]`.
pub fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let model = Model::read(input, &mut errors);
    match valid::check(&model, errors) {
        Ok(table) => model_impl(&model, table),
        Err(error) => fallback::expand(&model, &error),
    }
}

/// Where the generated code finds everything that it names.
fn private(options: &ModelOptions) -> TokenStream {
    options.root.as_ref().map_or_else(
        || quote!(::threadline::__private),
        |root| quote!(#root::__private),
    )
}

/// `impl Audited` for a model, around the code that makes the table.
pub fn impl_audited(model: &Model<'_>, table: &TokenStream) -> TokenStream {
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
                #table
            }
        }
    }
}

fn model_impl(model: &Model<'_>, table: &Path) -> TokenStream {
    let private = private(&model.options);
    let implementation = impl_audited(model, &audited_table(model, table));
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

/// The arguments that make one type of a model that borrows: `<'static>`.
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

fn audited_table(model: &Model<'_>, table: &Path) -> TokenStream {
    let private = private(&model.options);
    let of_diesel = quote_spanned!(table_span(table)=> #table::table);
    let exclude = rule(model, table, Rule::Exclude);
    let mask = rule(model, table, Rule::Mask);
    let ignore = rule(model, table, Rule::Ignore);
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
        #private::from_diesel_table::<#of_diesel>()
            #exclude #mask #ignore #mask_with #(#flags)*
            .build()
    }
}

/// The call that gives a rule its columns. Each is named by its type, in the span of the user, so
/// that the compiler itself finds a misspelt one and points at it.
fn rule(model: &Model<'_>, table: &Path, rule: Rule) -> Option<TokenStream> {
    let private = private(&model.options);
    let columns = model.redacted(rule);
    let names = columns.iter().map(|column| {
        quote_spanned!(table_span(table)=> <#table::columns::#column as #private::diesel::Column>::NAME)
    });
    let method = Ident::new(rule.name(), Span::call_site());
    (!columns.is_empty()).then(|| quote!(.#method([#(#names),*])))
}

/// Where to point when the table is not one: the last word of its path.
fn table_span(table: &Path) -> Span {
    table
        .segments
        .last()
        .map_or_else(Span::call_site, |segment| segment.ident.span())
}
