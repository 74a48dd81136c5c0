//! The parameters of an address or a form.

use std::fmt::Display;
use std::str::FromStr;

use crate::page_error::PageError;

/// Parameters, read by name. Names are written with `_` or `-`; an empty value is none, as forms send it.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
    is_json: bool,
}

/// A parameter with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// The name of the parameter; empty if the error is about several.
    pub(crate) field: String,
    /// The value as given.
    pub(crate) value: String,
    /// What is wrong, and what to write.
    pub(crate) message: String,
}

impl FieldError {
    /// An error that is not about one parameter.
    pub(crate) fn of_page(message: impl Display) -> Self {
        Self {
            field: String::new(),
            value: String::new(),
            message: message.to_string(),
        }
    }
}

impl Parameters {
    /// Parses a query or the body of a form.
    pub(crate) fn parse(query: &str) -> Self {
        let mut parameters = Self {
            pairs: form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.replace('-', "_"), value.into_owned()))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            errors: Vec::new(),
            is_json: false,
        };
        match parameters.text("format").as_deref() {
            None | Some("html") => {}
            Some("json") => parameters.is_json = true,
            Some(other) => parameters.reject("format", other, "write json or html"),
        }
        parameters
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Whether a parameter is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// Whether an error about a parameter is kept.
    #[cfg(feature = "background")]
    pub(crate) fn has_error(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.field == name)
    }

    /// Takes all values of a parameter.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        self.pairs.retain(|(key, value)| {
            let is_taken = key == name;
            if is_taken {
                values.push(value.clone());
            }
            !is_taken
        });
        values
    }

    /// Takes a parameter that is given at most once.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.texts(name);
        if values.len() > 1 {
            self.reject(name, &values.join(", "), "give this parameter once");
        }
        values.pop()
    }

    /// Takes a parameter and parses it; an error is kept for [`finish`](Self::finish).
    pub(crate) fn value<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.parsed(name, |text| {
            text.parse().map_err(|error: T::Err| error.to_string())
        })
    }

    /// Takes a parameter and parses it by a function.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(&text)
            .map_err(|message| self.reject(name, &text, message))
            .ok()
    }

    /// Takes a parameter that is on or off.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.parsed(name, |text| match text {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err("write true or false".to_owned()),
        })
        .unwrap_or_default()
    }

    /// Adds an error about a parameter.
    pub(crate) fn reject(&mut self, name: &str, value: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: name.to_owned(),
            value: value.to_owned(),
            message: message.into(),
        });
    }

    /// Ends the reading: parameters that no one took are unknown.
    pub(crate) fn finish(mut self) -> Result<(), PageError> {
        for (name, value) in std::mem::take(&mut self.pairs) {
            self.reject(&name, &value, "this page has no such parameter");
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(PageError::Invalid(self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(parameters: Parameters) -> Vec<String> {
        match parameters.finish() {
            Err(PageError::Invalid(errors)) => {
                errors.into_iter().map(|error| error.field).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn names_have_underscores_or_hyphens_and_empty_values_are_none() {
        let mut parameters = Parameters::parse("on-behalf-of=user%3A1&table=&format=json");
        assert!(parameters.is_json());
        assert_eq!(parameters.text("on_behalf_of").as_deref(), Some("user:1"));
        assert_eq!(parameters.text("table"), None);
        assert!(parameters.finish().is_ok());
    }

    #[test]
    fn unknown_doubled_and_malformed_parameters_are_errors_at_the_field() {
        let mut parameters = Parameters::parse("id=x&op=insert&op=delete&nmae=1&format=xml");
        assert_eq!(parameters.value::<i64>("id"), None);
        parameters.text("op");
        assert_eq!(errors(parameters), ["format", "id", "op", "nmae"]);
    }
}
