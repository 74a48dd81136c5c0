//! Every mistake of one derive, so that the user meets them all at once.

use std::fmt::Display;

use proc_macro2::Span;

/// Collects compile errors instead of stopping at the first.
#[derive(Default)]
pub struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds an error at the culprit.
    pub fn at(&mut self, culprit: Span, message: impl Display) {
        self.push(syn::Error::new(culprit, message));
    }

    /// Adds an error.
    pub fn push(&mut self, error: syn::Error) {
        self.0 = Some(std::mem::take(self).with(error));
    }

    /// All errors and one more.
    pub fn with(self, error: syn::Error) -> syn::Error {
        match self.0 {
            Some(mut known) => {
                known.combine(error);
                known
            }
            None => error,
        }
    }

    /// The value, unless there was an error.
    pub fn or<T>(self, value: T) -> syn::Result<T> {
        self.0.map_or(Ok(value), Err)
    }
}
