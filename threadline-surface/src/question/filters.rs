//! The filters of changes, named as the options of the command line.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use threadline_core::action::ActionStatus;
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;
use threadline_diesel::query::{Attribution, ColumnName, MetaPattern, SearchText};
use threadline_diesel::{Op, Scope, Timeline};

use super::instant::GivenInstant;
use super::parameters::Parameters;

/// The filters of changes in an address.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ChangeFilters {
    pub(crate) table: Option<TableName>,
    /// The key, one text or `column=value` pairs.
    pub(crate) key: Vec<String>,
    pub(crate) schema: Option<String>,
    pub(crate) changed: Option<ColumnName>,
    pub(crate) op: Option<Op>,
    pub(crate) actor: Option<ActorRef>,
    pub(crate) actor_type: Option<ActorType>,
    pub(crate) on_behalf_of: Option<ActorRef>,
    pub(crate) unattributed: bool,
    pub(crate) correlation: Option<ContextId>,
    pub(crate) request: Option<ContextId>,
    pub(crate) job: Option<ContextId>,
    pub(crate) action: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) status: Option<ActionStatus>,
    pub(crate) meta: Option<MetaPattern>,
    pub(crate) scan_values: Option<SearchText>,
    pub(crate) from: Option<GivenInstant>,
    pub(crate) to: Option<GivenInstant>,
}

impl ChangeFilters {
    /// Takes the filters out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters, now: DateTime<Utc>, zone: Tz) -> Self {
        let filters = Self {
            table: parameters.value("table"),
            key: parameters.texts("key"),
            schema: parameters.text("schema"),
            changed: parameters.value("changed"),
            op: parameters.value("op"),
            actor: parameters.value("actor"),
            actor_type: parameters.value("actor_type"),
            on_behalf_of: parameters.value("on_behalf_of"),
            unattributed: parameters.flag("unattributed"),
            correlation: parameters.value("correlation"),
            request: parameters.value("request"),
            job: parameters.value("job"),
            action: parameters.text("action"),
            category: parameters.text("category"),
            status: parameters.parsed("status", parse_status),
            meta: parameters.value("meta"),
            scan_values: parameters.value("scan_values"),
            from: parameters.parsed("from", |text| {
                GivenInstant::parse(text, now, zone).map(GivenInstant::whole_seconds)
            }),
            to: parameters.parsed("to", |text| GivenInstant::parse(text, now, zone)),
        };
        filters.reject_contradictions(parameters);
        filters
    }

    fn reject_contradictions(&self, parameters: &mut Parameters) {
        if let (Some(key), None) = (self.key.first(), &self.table) {
            parameters.reject("key", key, "a key needs its table");
        }
        if let (Some(schema), Some(_)) = (&self.schema, &self.table) {
            parameters.reject("schema", schema, "give a table or a schema, not both");
        }
        if self.unattributed && (self.actor.is_some() || self.actor_type.is_some()) {
            let message = "changes without an actor have neither actor nor actor type";
            parameters.reject("unattributed", "true", message);
        }
        if let Err(error) = self.key_input() {
            parameters.reject("key", &self.key.join(", "), error);
        }
        if let (Some(from), Some(to)) = (&self.from, &self.to)
            && from.instant > to.instant
        {
            parameters.reject("from", &from.text, "the window ends before it begins");
        }
    }

    /// Whether only filters without an index are given, and no window: reading could take long.
    pub(crate) fn needs_window(&self) -> bool {
        let is_indexed = self.table.is_some()
            || self.actor.is_some()
            || self.on_behalf_of.is_some()
            || self.unattributed
            || self.correlation.is_some()
            || self.request.is_some()
            || self.job.is_some()
            || self.action.is_some()
            || self.status == Some(ActionStatus::Error);
        let has_window = self.from.is_some() || self.to.is_some();
        !is_indexed && !has_window && *self != Self::default()
    }

    /// The key of the row. `threadline_diesel::resolve_key` turns it into its stored form.
    pub(crate) fn key_input(&self) -> Result<Option<RowKeyInput>, String> {
        key_input(&self.key)
    }

    /// The parameters of these filters: the inverse of [`take`](Self::take).
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        let mut push = |name, value: Option<String>| {
            if let Some(value) = value {
                pairs.push((name, value));
            }
        };
        push("table", self.table.as_ref().map(ToString::to_string));
        for key in &self.key {
            push("key", Some(key.clone()));
        }
        push("schema", self.schema.clone());
        push(
            "changed",
            self.changed.as_ref().map(|one| one.as_str().to_owned()),
        );
        push("op", self.op.as_ref().map(ToString::to_string));
        push("actor", self.actor.as_ref().map(ToString::to_string));
        push(
            "actor_type",
            self.actor_type.as_ref().map(ToString::to_string),
        );
        push(
            "on_behalf_of",
            self.on_behalf_of.as_ref().map(ToString::to_string),
        );
        push("unattributed", self.unattributed.then(|| "true".to_owned()));
        push(
            "correlation",
            self.correlation.as_ref().map(ToString::to_string),
        );
        push("request", self.request.as_ref().map(ToString::to_string));
        push("job", self.job.as_ref().map(ToString::to_string));
        push("action", self.action.clone());
        push("category", self.category.clone());
        push("status", self.status.map(|one| one.as_str().to_owned()));
        push(
            "meta",
            self.meta.as_ref().map(|one| one.as_str().to_owned()),
        );
        push(
            "scan_values",
            self.scan_values.as_ref().map(|one| one.as_str().to_owned()),
        );
        push("from", self.from.as_ref().map(|one| one.text.clone()));
        push("to", self.to.as_ref().map(|one| one.text.clone()));
        pairs
    }

    /// The same filters with instants that do not depend on the time of the request, for links to pages.
    pub(crate) fn fixed(&self) -> Self {
        Self {
            from: self.from.as_ref().map(GivenInstant::fixed),
            to: self.to.as_ref().map(GivenInstant::fixed),
            ..self.clone()
        }
    }

    /// The arguments of these filters on the command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (name, value) in self.fixed().pairs() {
            arguments.push(format!("--{}", name.replace('_', "-")));
            if name != "unattributed" {
                arguments.push(value);
            }
        }
        arguments
    }

    /// The timeline with these filters. `row_key` is the stored form of the key.
    pub(crate) fn timeline(&self, row_key: Option<&RowKeyText>, scope: Option<&Scope>) -> Timeline {
        fn set<T>(
            timeline: Timeline,
            value: Option<&T>,
            add: fn(Timeline, T) -> Timeline,
        ) -> Timeline
        where
            T: Clone,
        {
            match value {
                Some(value) => add(timeline, value.clone()),
                None => timeline,
            }
        }
        let mut timeline = match (&self.table, row_key) {
            (Some(table), Some(key)) => Timeline::new().row(table.clone(), key),
            (Some(table), None) => Timeline::new().table(table.clone()),
            (None, _) => Timeline::new(),
        };
        timeline = set(timeline, self.schema.as_ref(), Timeline::schema);
        timeline = set(timeline, self.changed.as_ref(), Timeline::changed_field);
        timeline = set(
            timeline,
            self.scan_values.as_ref(),
            Timeline::scanning_values,
        );
        timeline = set(timeline, self.op.as_ref(), Timeline::op);
        timeline = set(timeline, self.actor.as_ref(), Timeline::actor);
        timeline = set(timeline, self.actor_type.as_ref(), Timeline::actor_type);
        timeline = set(timeline, self.on_behalf_of.as_ref(), Timeline::on_behalf_of);
        timeline = set(
            timeline,
            self.correlation.as_ref(),
            Timeline::correlation_id,
        );
        timeline = set(timeline, self.request.as_ref(), Timeline::request_id);
        timeline = set(timeline, self.job.as_ref(), Timeline::job_id);
        timeline = set(timeline, self.action.as_ref(), Timeline::action);
        timeline = set(timeline, self.category.as_ref(), Timeline::action_category);
        timeline = set(timeline, self.status.as_ref(), Timeline::action_status);
        timeline = set(timeline, self.meta.as_ref(), Timeline::meta);
        if self.unattributed {
            timeline = timeline.attribution(Attribution::Unattributed);
        }
        if let Some(from) = &self.from {
            timeline = timeline.from(from.instant);
        }
        if let Some(to) = &self.to {
            timeline = timeline.to(to.instant);
        }
        match scope {
            Some(scope) => timeline.scope(scope),
            None => timeline,
        }
    }
}

/// The key of a row: one text, or `column=value` pairs; none if there is no text.
pub(crate) fn key_input(texts: &[String]) -> Result<Option<RowKeyInput>, String> {
    let input = match texts {
        [] => return Ok(None),
        [key] => key.parse(),
        pairs => RowKeyInput::from_pairs(pairs),
    };
    input.map(Some).map_err(|error| error.to_string())
}

fn parse_status(text: &str) -> Result<ActionStatus, String> {
    [ActionStatus::Ok, ActionStatus::Error]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| "write ok or error".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

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
            let filters = ChangeFilters {
                key: name.is_some().then_some(key).flatten().into_iter().collect(),
                table: name.map(|name| TableName::new("odd schema", name)),
                action,
                actor: actor.and_then(|id| ActorRef::user(id).ok()),
                op: is_delete.then_some(Op::Delete),
                from,
                ..ChangeFilters::default()
            };
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
