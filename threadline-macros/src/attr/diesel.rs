//! The options of `#[diesel(...)]` that the derive uses. All others are skipped without validation,
//! which is left to Diesel's own derives.

use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, LitStr, Path, Token, Type, parenthesized};

use super::{is_end_of_entry, parse_quoted, skip_entry};

/// What `#[diesel(...)]` says about a model's table.
#[derive(Default)]
pub struct ModelTable {
    /// The path of `table_name`, or an error if its value is not a path.
    pub name: Option<syn::Result<Path>>,
    /// The columns of `primary_key`.
    pub primary_key: Option<Vec<Ident>>,
}

/// Parses `table_name` and `primary_key`.
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

/// Parses the `column_name` of a field.
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

/// Visits the options of all `#[diesel(...)]` attributes. The visitor parses the tokens after the
/// option's name.
fn options(
    attributes: &[Attribute],
    mut visit: impl FnMut(&Ident, ParseStream) -> syn::Result<()>,
) {
    for attribute in attributes {
        if !attribute.path().is_ident("diesel") {
            continue;
        }
        // Diesel's derives report attributes that cannot be parsed.
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
            "expected the path of the module that `table!` generates: `table_name = path::to::table`",
        )
    })
}

fn primary_key(input: ParseStream) -> syn::Result<Vec<Ident>> {
    let columns;
    parenthesized!(columns in input);
    let columns = Punctuated::<Ident, Token![,]>::parse_terminated(&columns)?;
    Ok(columns.into_iter().collect())
}

/// Parses a column's identifier; Diesel also accepts it in quotes.
fn identifier(input: ParseStream) -> syn::Result<Ident> {
    if input.peek(LitStr) {
        return parse_quoted(&input.parse()?);
    }
    input.parse()
}

/// Skips the value of an option: arguments in parentheses, or the type or expression after `=`.
///
/// A value can have commas outside of brackets, as in `sql_type = Map<Text, Text>`, so its end is
/// found by parsing it.
fn skip_value(input: ParseStream) {
    if input.parse::<Token![=]>().is_ok() && !skip_as::<Type>(input) {
        skip_as::<Expr>(input);
    }
}

/// Skips a `T` if the entry ends after it.
fn skip_as<T: Parse>(input: ParseStream) -> bool {
    let ahead = input.fork();
    let is_value = ahead.parse::<T>().is_ok() && is_end_of_entry(&ahead);
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
    fn other_diesel_options_are_skipped() {
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
    fn a_quoted_table_name_is_an_error() {
        let attributes = [parse_quote!(#[diesel(table_name = "members")])];
        assert!(table_of(&attributes).starts_with("error: expected the path of the module"));
        assert_eq!(table_of(&[]), "none");
    }

    #[test]
    fn column_names_are_parsed_bare_raw_and_quoted() {
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
