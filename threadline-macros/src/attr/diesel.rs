//! The part of Diesel's attributes that concerns us. Diesel's own derives judge the rest, so what
//! is not understood here is passed over.

use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, LitStr, Path, Token, Type, parenthesized};

use super::{at_end_of_entry, skip_entry, unquoted};

/// The table of a model, as Diesel knows it.
#[derive(Default)]
pub struct ModelTable {
    /// `table_name`; an error when it is there and is no path.
    pub name: Option<syn::Result<Path>>,
    /// `primary_key`.
    pub primary_key: Option<Vec<Ident>>,
}

/// Reads `table_name` and `primary_key`.
pub fn model(attributes: &[Attribute]) -> ModelTable {
    let mut table = ModelTable::default();
    options(attributes, |name, input| {
        match name.to_string().as_str() {
            "table_name" => table.name = Some(table_name(input)),
            "primary_key" => table.primary_key = Some(primary_key(input)?),
            _ => skip_value(input),
        }
        Ok(())
    });
    table
}

/// Reads the `column_name` of a field.
pub fn column_name(attributes: &[Attribute]) -> Option<Ident> {
    let mut column = None;
    options(attributes, |name, input| {
        if name == "column_name" {
            input.parse::<Token![=]>()?;
            column = Some(identifier(input)?);
        } else {
            skip_value(input);
        }
        Ok(())
    });
    column
}

/// Visits the options of all `#[diesel(...)]` attributes; the visitor reads what follows the name.
fn options(
    attributes: &[Attribute],
    mut visit: impl FnMut(&Ident, ParseStream) -> syn::Result<()>,
) {
    for attribute in attributes {
        if !attribute.path().is_ident("diesel") {
            continue;
        }
        // An attribute that cannot be read is for Diesel to report.
        let _ = attribute.parse_args_with(|input: ParseStream| {
            while !input.is_empty() {
                if let Ok(name) = input.call(Ident::parse_any) {
                    let _ = visit(&name, input);
                }
                skip_entry(input);
            }
            Ok(())
        });
    }
}

fn table_name(input: ParseStream) -> syn::Result<Path> {
    let path = input
        .parse::<Token![=]>()
        .and_then(|_| input.call(Path::parse_mod_style));
    path.map_err(|error| {
        syn::Error::new(
            error.span(),
            "write `table_name = path::to::table`: the path of the module that `table!` makes",
        )
    })
}

fn primary_key(input: ParseStream) -> syn::Result<Vec<Ident>> {
    let columns;
    parenthesized!(columns in input);
    let columns = Punctuated::<Ident, Token![,]>::parse_terminated(&columns)?;
    Ok(columns.into_iter().collect())
}

/// A column's identifier, which Diesel also takes in quotes.
fn identifier(input: ParseStream) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        return unquoted(&input.parse()?);
    }
    input.parse()
}

/// Passes over the value of an option: arguments in parentheses, or whatever stands behind `=`.
///
/// A value may have commas outside of any bracket, as in `sql_type = Map<Text, Text>`; only
/// reading it as what it is finds its end.
fn skip_value(input: ParseStream) {
    if input.parse::<Token![=]>().is_ok() && !skip_as::<Type>(input) {
        skip_as::<Expr>(input);
    }
}

/// Passes over a syntax, if that leads to the end of the entry.
fn skip_as<T: Parse>(input: ParseStream) -> bool {
    let ahead = input.fork();
    let is_value = ahead.parse::<T>().is_ok() && at_end_of_entry(&ahead);
    if is_value {
        input.advance_to(&ahead);
    }
    is_value
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::ToTokens;
    use syn::parse_quote;

    fn table_of(attributes: &[Attribute]) -> String {
        match model(attributes).name {
            Some(Ok(path)) => path.to_token_stream().to_string(),
            Some(Err(error)) => format!("error: {error}"),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn options_of_diesel_s_other_derives_are_passed_over() {
        let attributes: [Attribute; 8] = [
            parse_quote!(#[diesel(check_for_backend(diesel::pg::Pg))]),
            parse_quote!(#[diesel(belongs_to(User, foreign_key = author_id), belongs_to(Blog<'_>))]),
            parse_quote!(#[diesel(treat_none_as_null = true, aggregate)]),
            parse_quote!(#[diesel(base_query = a::table.filter(f::<A, B>(1)), base_query_type = Map<A, B>)]),
            parse_quote!(#[diesel(sql_type = Map<primary_key, table_name>, error_type = Box<dyn E>)]),
            parse_quote!(#[diesel(postgres_type(name = "t", schema = "s"))]),
            parse_quote!(#[derive(Debug)]),
            parse_quote!(#[diesel(some_day = |a, b| a, table_name = crate::schema::r#type, primary_key(a, r#b))]),
        ];
        assert_eq!(table_of(&attributes), "crate :: schema :: r#type");
        let key = model(&attributes).primary_key.unwrap();
        assert_eq!(key, ["a", "r#b"]);
    }

    #[test]
    fn a_table_name_in_quotes_is_an_error_and_not_a_missing_name() {
        let attributes = [parse_quote!(#[diesel(table_name = "members")])];
        assert!(table_of(&attributes).starts_with("error: write `table_name = path::to::table`"));
        assert_eq!(table_of(&[]), "none");
    }

    #[test]
    fn a_column_name_is_read_bare_raw_and_quoted() {
        for (attribute, column) in [
            (parse_quote!(#[diesel(column_name = kind)]), "kind"),
            (
                parse_quote!(#[diesel(embed, column_name = r#type)]),
                "r#type",
            ),
            (parse_quote!(#[diesel(column_name = "kind")]), "kind"),
            (parse_quote!(#[diesel(column_name = "type")]), "r#type"),
        ] {
            assert_eq!(column_name(&[attribute]).unwrap(), column);
        }
        assert!(column_name(&[parse_quote!(#[diesel(sql_type = Text)])]).is_none());
    }
}
