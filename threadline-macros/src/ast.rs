//! A model as its declaration and its attributes describe it. Nothing is judged here beyond what
//! cannot be read at all.

use proc_macro2::Span;
use syn::{Data, DeriveInput, Ident, Path};

use crate::attr::{self, audited::ModelOptions, diesel::ModelTable};
use crate::errors::Errors;

/// What a rule does to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It is never stored.
    Exclude,
    /// It is stored as a placeholder.
    Mask,
    /// It is stored, but its change alone is not recorded.
    Ignore,
}

impl Rule {
    /// The rules by the names they have in attributes.
    pub const NAMES: [&str; 3] = ["exclude", "mask", "ignore"];

    /// The rule of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "exclude" => Some(Self::Exclude),
            "mask" => Some(Self::Mask),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }

    /// The name as it is written in attributes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Mask => "mask",
            Self::Ignore => "ignore",
        }
    }
}

/// One rule for one column.
pub struct Redaction {
    /// What to do.
    pub rule: Rule,
    /// The column as Diesel's `columns` module names it.
    pub column: Ident,
    /// Where to point when the rule is wrong: the column in a list, the rule on a field.
    pub culprit: Span,
}

/// A struct with `#[derive(Audited)]`.
pub struct Model<'a> {
    /// The struct itself, or what was taken for one.
    pub input: &'a DeriveInput,
    /// The `table!`; `None` when no attribute names one.
    pub table: Option<syn::Result<Path>>,
    /// The key; `None` when Diesel's default, `id`, is in effect.
    pub primary_key: Option<Vec<Ident>>,
    /// Everything about the table that is no rule for a column.
    pub options: ModelOptions,
    /// The rules of the struct, then those of its fields: the order in which they are written.
    pub redactions: Vec<Redaction>,
}

impl<'a> Model<'a> {
    /// Reads the model; what cannot be understood is left out and reported.
    pub fn read(input: &'a DeriveInput, errors: &mut Errors) -> Self {
        let ModelTable { name, primary_key } = attr::diesel::model(&input.attrs);
        let (options, mut redactions) = attr::audited::model(&input.attrs, errors);
        if let Data::Struct(data) = &input.data {
            for field in &data.fields {
                redactions.extend(attr::audited::field(field, errors));
            }
        }
        Self {
            input,
            table: name,
            primary_key,
            options,
            redactions,
        }
    }

    /// The columns masked or excluded, in the order in which they are written.
    pub fn redacted(&self, rule: Rule) -> Vec<&Ident> {
        self.redactions
            .iter()
            .filter(|redaction| redaction.rule == rule)
            .map(|redaction| &redaction.column)
            .collect()
    }
}
