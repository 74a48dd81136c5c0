//! Filters as pairs of names and texts, and as a JSON object of texts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use threadline_core::row_key::RowKeyInput;

use super::{InvalidFilter, InvalidFilters, TimelineFilters};

/// The longest value of a filter, in bytes.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// The most columns of a primary key in PostgreSQL.
const MAX_KEY_PAIRS: usize = 32;

/// The longest part of a value in an error, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// The JSON object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Document(BTreeMap<String, Value>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Texts(Vec<String>),
}

impl TryFrom<Document> for TimelineFilters {
    type Error = InvalidFilters;

    fn try_from(document: Document) -> Result<Self, InvalidFilters> {
        let pairs = document.0.into_iter().flat_map(|(name, value)| {
            let texts = match value {
                Value::Text(text) => vec![text],
                Value::Texts(texts) => texts,
            };
            texts.into_iter().map(move |text| (name.clone(), text))
        });
        Self::from_pairs(pairs)
    }
}

impl From<TimelineFilters> for Document {
    fn from(filters: TimelineFilters) -> Self {
        let mut fields = BTreeMap::new();
        let keys = filters.key.as_ref().map(RowKeyInput::texts);
        for (name, text) in filters.pairs() {
            fields.insert(name.to_owned(), Value::Text(text));
        }
        if let Some(texts @ [_, _, ..]) = keys.as_deref() {
            fields.insert("key".to_owned(), Value::Texts(texts.to_vec()));
        }
        Self(fields)
    }
}

impl InvalidFilter {
    pub(super) fn new(name: &str, value: &str, reason: impl Display) -> Self {
        let mut shown: String = value.chars().take(MAX_SHOWN_CHARS).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self {
            name: name.to_owned(),
            value: shown,
            reason: reason.to_string(),
        }
    }
}

/// Parses filters by name and keeps the errors.
pub(super) struct FieldParser {
    pairs: Vec<(String, String)>,
    errors: Vec<InvalidFilter>,
}

impl FieldParser {
    pub(super) fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let pairs = pairs.into_iter();
        Self {
            pairs: pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            errors: Vec::new(),
        }
    }

    /// Takes the values of a filter.
    fn texts(&mut self, name: &str) -> Vec<String> {
        let is_taken = |pair: &mut (String, String)| pair.0 == name;
        let taken = self.pairs.extract_if(.., is_taken);
        let values: Vec<_> = taken.map(|(_, value)| value).collect();
        for value in &values {
            if value.len() > MAX_VALUE_BYTES || value.contains('\0') {
                let reason = format!("use at most {MAX_VALUE_BYTES} bytes without NUL");
                self.errors.push(InvalidFilter::new(name, value, reason));
                return Vec::new();
            }
        }
        values
    }

    /// Takes a filter and parses it by a function.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = match self.texts(name).as_slice() {
            [] => return None,
            [text] => parse(text).map_err(|reason| InvalidFilter::new(name, text, reason)),
            texts => Err(InvalidFilter::new(
                name,
                &texts.join(", "),
                "give this filter once",
            )),
        };
        parsed.map_err(|invalid| self.errors.push(invalid)).ok()
    }

    /// Takes a filter and parses it.
    pub(super) fn value<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.parsed(name, str::parse)
    }

    /// Takes the key: one text, or `column=value` pairs.
    pub(super) fn key(&mut self) -> Option<RowKeyInput> {
        let texts = self.texts("key");
        let parsed = match texts.as_slice() {
            [] => return None,
            [text] => text
                .parse()
                .map_err(|reason| InvalidFilter::new("key", text, reason)),
            texts if texts.len() > MAX_KEY_PAIRS => {
                let reason = format!("a key has at most {MAX_KEY_PAIRS} columns");
                Err(InvalidFilter::new("key", &texts.join(", "), reason))
            }
            texts => RowKeyInput::from_pairs(texts)
                .map_err(|reason| InvalidFilter::new("key", &texts.join(", "), reason)),
        };
        parsed.map_err(|invalid| self.errors.push(invalid)).ok()
    }

    /// The errors; pairs that were not taken are unknown.
    pub(super) fn finish(mut self) -> Vec<InvalidFilter> {
        for (name, value) in self.pairs {
            let reason = "there is no filter with this name";
            self.errors.push(InvalidFilter::new(&name, &value, reason));
        }
        self.errors
    }
}
