//! The filters of changes, named as the options of the command line.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use threadline_core::action::ActionStatus;
use threadline_core::row_key::RowKeyText;
use threadline_diesel::query::{InvalidFilters, TimelineFilters};
use threadline_diesel::{Scope, Timeline};

use super::instant::GivenInstant;
use super::parameters::Parameters;

/// The filters of changes in an address, with the meaning of its window now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ChangeFilters {
    /// All filters but the window.
    pub(crate) fields: TimelineFilters,
    pub(crate) from: Option<GivenInstant>,
    pub(crate) to: Option<GivenInstant>,
}

impl ChangeFilters {
    /// Takes the filters out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters, now: DateTime<Utc>, zone: Tz) -> Self {
        let from = parameters.parsed("from", |text| {
            GivenInstant::parse(text, now, zone).map(GivenInstant::whole_seconds)
        });
        let to = parameters.parsed("to", |text| GivenInstant::parse(text, now, zone));
        let mut pairs = Vec::new();
        for name in TimelineFilters::NAMES {
            pairs.extend(parameters.texts(name).into_iter().map(|text| (name, text)));
        }
        let fields = TimelineFilters::from_pairs(pairs).unwrap_or_else(|InvalidFilters(errors)| {
            for error in errors {
                parameters.reject(&error.name, &error.value, error.reason);
            }
            TimelineFilters::default()
        });
        if let (Some(from), Some(to)) = (&from, &to)
            && from.instant > to.instant
        {
            parameters.reject("from", &from.text, "the window ends before it begins");
        }
        Self { fields, from, to }
    }

    /// Whether only filters without an index are given, and no window: reading could take long.
    pub(crate) fn needs_window(&self) -> bool {
        let fields = &self.fields;
        let is_indexed = fields.table.is_some()
            || fields.actor.is_some()
            || fields.on_behalf_of.is_some()
            || fields.unattributed
            || fields.correlation.is_some()
            || fields.request.is_some()
            || fields.job.is_some()
            || fields.action.is_some()
            || fields.status == Some(ActionStatus::Error);
        let has_window = self.from.is_some() || self.to.is_some();
        !is_indexed && !has_window && *self != Self::default()
    }

    /// The parameters of these filters: the inverse of [`take`](Self::take).
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.fields.pairs();
        for (name, end) in [("from", &self.from), ("to", &self.to)] {
            pairs.extend(end.as_ref().map(|end| (name, end.text.clone())));
        }
        pairs
    }

    /// The same filters with instants that do not depend on the time of the request, for links to pages.
    pub(crate) fn fixed(&self) -> Self {
        Self {
            fields: self.fields.clone(),
            from: self.from.as_ref().map(GivenInstant::fixed),
            to: self.to.as_ref().map(GivenInstant::fixed),
        }
    }

    /// The filters as a document, with a relative window as given.
    pub(crate) fn document(&self) -> TimelineFilters {
        let given = |end: &Option<GivenInstant>| end.as_ref()?.text.parse().ok();
        let mut document = self.fields.clone();
        document.from = given(&self.from);
        document.to = given(&self.to);
        document
    }

    /// The arguments of these filters on the command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.fixed().document().command_arguments()
    }

    /// The timeline with these filters. `row_key` is the stored form of the key.
    pub(crate) fn timeline(
        &self,
        row_key: Option<&RowKeyText>,
        scope: Option<&Scope>,
    ) -> Result<Timeline, InvalidFilters> {
        // The fields have no window to resolve.
        let timeline = self.fields.timeline(row_key, Utc::now(), Tz::UTC, scope)?;
        let timeline = match &self.from {
            Some(from) => timeline.from(from.instant),
            None => timeline,
        };
        Ok(match &self.to {
            Some(to) => timeline.to(to.instant),
            None => timeline,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;
    use threadline_core::actor::ActorRef;
    use threadline_core::table::TableName;
    use threadline_diesel::Op;

    use super::*;
    use crate::href::Href;

    fn instants() -> impl Strategy<Value = GivenInstant> {
        prop_oneof![
            Just("-24h"),
            Just("2026-01-31T12:00:00Z"),
            Just("2026-01-31 12:00")
        ]
        .prop_map(|text| {
            let now = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
            GivenInstant::parse(text, now, Tz::Europe__Berlin).unwrap()
        })
    }

    proptest! {
        #[test]
        fn filters_survive_the_way_through_an_address(
            name in option::of("\\PC{1,12}"),
            key in option::of("\\PC{1,12}"),
            action in option::of("[a-z.&=#%+ü]{1,12}"),
            actor in option::of("[!-~]{1,20}"),
            from in option::of(instants()),
            is_delete in any::<bool>(),
        ) {
            let mut fields = TimelineFilters::default();
            let key = key.filter(|_| name.is_some());
            fields.key = key.and_then(|key| key.parse().ok());
            fields.table = name.map(|name| TableName::new("odd schema", name));
            fields.action = action;
            fields.actor = actor.and_then(|id| ActorRef::user(id).ok());
            fields.op = is_delete.then_some(Op::Delete);
            let filters = ChangeFilters { fields, from, to: None };
            let href = Href::new("/audit", "/timeline").with_all(filters.pairs());
            let query = href.as_str().split_once('?').map_or("", |(_, query)| query);
            let mut parameters = Parameters::parse(query);
            let now = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
            let read = ChangeFilters::take(&mut parameters, now, Tz::Europe__Berlin);
            prop_assert!(parameters.finish().is_ok());
            prop_assert_eq!(read, filters);
        }
    }
}
