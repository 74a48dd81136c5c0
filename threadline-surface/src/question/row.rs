//! A row and the instants, the field and the value of the page of a row.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use threadline_core::row_key::RowKeyInput;
use threadline_core::table::TableName;
use threadline_diesel::query::ColumnName;

use super::instant::GivenInstant;
use super::paging::Paging;
use super::parameters::Parameters;
use crate::href::Href;

/// The parameters of the page of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowQuestion {
    pub(crate) table: TableName,
    /// The key, one text or `column=value` pairs.
    pub(crate) key: Vec<String>,
    pub(crate) at: Option<GivenInstant>,
    pub(crate) a: Option<GivenInstant>,
    pub(crate) b: Option<GivenInstant>,
    pub(crate) field: Option<ColumnName>,
    pub(crate) became: Option<String>,
    pub(crate) with_children: bool,
    /// Whether the SQL that restores the row is part of the page.
    pub(crate) restore: bool,
    pub(crate) paging: Paging,
}

impl RowQuestion {
    /// Takes the parameters of a row. None if there is no table or no key, which is an error unless both are
    /// missing. Errors are kept in the parameters.
    pub(crate) fn take(
        parameters: &mut Parameters,
        now: DateTime<Utc>,
        zone: Tz,
    ) -> Option<(Self, RowKeyInput)> {
        let mut instant =
            |name| parameters.parsed(name, |text| GivenInstant::parse(text, now, zone));
        let (at, a, b) = (instant("at"), instant("a"), instant("b"));
        let table: Option<TableName> = parameters.value("table");
        let key = parameters.texts("key");
        let field = parameters.value("field");
        let became = parameters.text("became");
        let with_children = parameters.flag("with_children");
        let restore = parameters.flag("restore");
        let paging = Paging::take(parameters);
        let input = match key_input(&key) {
            Ok(input) => input,
            Err(message) => {
                parameters.reject("key", &key.join(", "), message);
                None
            }
        };
        match (&table, key.first()) {
            (Some(_), None) => parameters.reject("key", "", "give the key of the row"),
            (None, Some(_)) => parameters.reject("table", "", "give the table of the row"),
            _ => {}
        }
        let question = Self {
            table: table?,
            key,
            at,
            a,
            b,
            field,
            became,
            with_children,
            restore,
            paging,
        };
        question.reject_contradictions(parameters);
        Some((question, input?))
    }

    fn reject_contradictions(&self, parameters: &mut Parameters) {
        if let (Some(at), true) = (&self.at, self.a.is_some() || self.b.is_some()) {
            parameters.reject("at", &at.text, "give one instant, or a and b");
        }
        if let (Some(value), None) = (&self.became, &self.field) {
            parameters.reject("became", value, "a value needs its field");
        }
        if let (true, Some(field)) = (self.with_children, &self.field) {
            let message = "give a field or the changes of children, not both";
            parameters.reject("field", field.as_str(), message);
        }
    }

    /// The address of the row.
    pub(crate) fn row(&self, page: Href) -> Href {
        let page = page.with("table", &self.table);
        self.key
            .iter()
            .fold(page, |href, key| href.with("key", key))
    }

    /// The address of the row at the instants of this page, one of which is replaced.
    pub(crate) fn at_instant(&self, page: Href, name: &str, instant: DateTime<Utc>) -> Href {
        let others = self.instants().into_iter().filter(|(one, _)| *one != name);
        let page = self.row(page).with_all(others);
        page.with(name, GivenInstant::at(instant).text)
    }

    /// The address of this page without a cursor.
    pub(crate) fn list(&self, page: Href) -> Href {
        let mut list = self.row(page).with_all(self.instants());
        if let Some(field) = &self.field {
            list = list.with("field", field.as_str());
        }
        if let Some(value) = &self.became {
            list = list.with("became", value);
        }
        if self.with_children {
            list = list.with("with_children", true);
        }
        self.paging.add_limit(list)
    }

    /// The instants of the address. Relative ones are fixed, because cursors and links continue this page.
    fn instants(&self) -> Vec<(&'static str, String)> {
        [("at", &self.at), ("a", &self.a), ("b", &self.b)]
            .into_iter()
            .filter_map(|(name, given)| Some((name, given.as_ref()?.fixed().text)))
            .collect()
    }
}

/// The key of a row: one text, or `column=value` pairs; none if there is no text.
fn key_input(texts: &[String]) -> Result<Option<RowKeyInput>, String> {
    let input = match texts {
        [] => return Ok(None),
        [key] => key.parse(),
        pairs => RowKeyInput::from_pairs(pairs),
    };
    input.map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> RowQuestion {
        let mut parameters = Parameters::parse(query);
        let taken = RowQuestion::take(&mut parameters, DateTime::UNIX_EPOCH, Tz::Europe__Berlin);
        assert!(parameters.finish().is_ok(), "{query}");
        taken.unwrap().0
    }

    fn instants() -> impl Strategy<Value = Option<GivenInstant>> {
        let instant = |seconds| DateTime::UNIX_EPOCH + chrono::Duration::seconds(seconds);
        option::of((0..2_000_000_000_i64).prop_map(move |one| GivenInstant::at(instant(one))))
    }

    proptest! {
        #[test]
        fn a_row_survives_the_way_through_an_address(
            name in "\\PC{1,12}",
            value in "\\PC{1,12}",
            is_composite in any::<bool>(),
            (a, b) in (instants(), instants()),
            field in option::of("[a-z &=#%+ü]{1,12}"),
            became in option::of("\\PC{1,12}"),
        ) {
            let key = if is_composite { vec![format!("a={value}"), "b=1".to_owned()] } else { vec![value] };
            let question = RowQuestion {
                table: TableName::new("odd schema", name),
                key,
                at: None,
                a,
                b,
                became: became.filter(|_| field.is_some()),
                field: field.and_then(|name| ColumnName::new(name).ok()),
                with_children: false,
                restore: false,
                paging: Paging::default(),
            };
            let href = question.list(Href::new("/audit", "/rows"));
            let query = href.as_str().split_once('?').map_or("", |(_, query)| query);
            prop_assert_eq!(read(query), question);
        }
    }

    #[test]
    fn a_relative_instant_is_fixed_in_links() {
        let href = read("table=t&key=1&a=-1h").list(Href::new("", "/rows"));
        assert!(
            href.as_str().contains("a=1969-12-31T23%3A00%3A00Z"),
            "{href}"
        );
    }
}
