//! A model as its declaration and attributes describe it, before validation.

use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Ident, Path};

use crate::attr::audited::ModelOptions;
use crate::attr::diesel::ModelTable;
use crate::attr::{self, Redaction, Rule};
use crate::errors::Errors;

/// An item with `#[derive(Audited)]`.
pub struct Model<'a> {
    /// The item: a struct, unless validation rejects it.
    pub input: &'a DeriveInput,
    /// The path of the module that `table!` generates.
    pub table: Path,
    /// The columns of `#[diesel(primary_key(...))]`; `None` for Diesel's default, `id`.
    pub primary_key: Option<Vec<Ident>>,
    /// The options of the table.
    pub options: ModelOptions,
    /// The rules of the struct and then of its fields, in source order.
    pub redactions: Vec<Redaction>,
}

impl<'a> Model<'a> {
    /// Reads the model. Attributes that cannot be parsed are reported and left out.
    pub fn read(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let ModelTable { name, primary_key } = attr::diesel::model(&input.attrs);
        let (options, mut redactions) = attr::audited::model(&input.attrs, errors);
        if let Data::Struct(data) = &input.data {
            for field in &data.fields {
                redactions.extend(attr::audited::field(field, errors));
            }
        }
        let table = name.unwrap_or_else(|| Ok(infer_table(&input.ident)));
        let table = table.unwrap_or_else(|error| {
            errors.push(error);
            infer_table(&input.ident)
        });
        Self {
            input,
            table,
            primary_key,
            options,
            redactions,
        }
    }

    /// The columns that have a rule, in source order.
    pub fn columns_with(&self, rule: Rule) -> Vec<&Ident> {
        self.redactions
            .iter()
            .filter(|redaction| redaction.rule == rule)
            .map(|redaction| &redaction.column)
            .collect()
    }
}

/// The table of a struct without `table_name`, at the span of the struct's name.
fn infer_table(name: &Ident) -> Path {
    Ident::new(&infer_table_name(&name.unraw().to_string()), name.span()).into()
}

/// Infers a table name from a struct name exactly as Diesel's derives do: an underscore before
/// every uppercase letter but the first, all in lower case, and an `s` at the end.
fn infer_table_name(name: &str) -> String {
    let mut table = String::with_capacity(name.len() + 1);
    for (index, character) in name.chars().enumerate() {
        if index > 0 && character.is_uppercase() {
            table.push('_');
        }
        if index == 0 || character.is_uppercase() {
            table.extend(character.to_lowercase());
        } else {
            table.push(character);
        }
    }
    table.push('s');
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_inferred_as_diesel_infers_them() {
        for (name, table) in [
            ("Foo", "foos"),
            ("FooBar", "foo_bars"),
            ("FooBarBaz", "foo_bar_bazs"),
            ("HTTPRequest", "h_t_t_p_requests"),
            ("X", "xs"),
            ("Person2Address", "person2_addresss"),
            ("Foo_Bar", "foo__bars"),
            ("foo", "foos"),
            ("Äpfel", "äpfels"),
        ] {
            assert_eq!(infer_table_name(name), table, "{name}");
        }
    }
}
