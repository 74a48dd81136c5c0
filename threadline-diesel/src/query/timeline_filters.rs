//! The filters of a timeline as a document: for addresses, command lines, saved views and jobs.

mod document;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use threadline_core::action::{ActionName, ActionStatus};
use threadline_core::actor::{ActorRef, ActorType};
use threadline_core::context::ContextId;
use threadline_core::instant::{InstantInput, Tz};
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;

use self::document::{Document, FieldParser};
use super::filter_values::{ColumnName, MetaPattern, SearchText, validate_category};
use super::scope::Scope;
use super::timeline::{Attribution, Timeline};
use crate::models::Op;

/// The filters of a timeline as they are given: typed values, and a window whose instants can be relative.
///
/// As JSON, an object of texts with the names of the command line's options: `{"table": "public.invoices",
/// "from": "-24h"}`. A key of several pairs is an array of texts.
///
/// ```
/// use threadline_diesel::query::TimelineFilters;
///
/// let filters = TimelineFilters::from_pairs([("actor", "user:42"), ("from", "-24h")])?;
/// let json = serde_json::to_string(&filters)?;
/// assert_eq!(json, r#"{"actor":"user:42","from":"-24h"}"#);
/// assert_eq!(serde_json::from_str::<TimelineFilters>(&json)?, filters);
/// assert!(TimelineFilters::from_pairs([("key", "7")]).is_err(), "a key needs its table");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
#[non_exhaustive]
pub struct TimelineFilters {
    /// Only changes of this table.
    pub table: Option<TableName>,
    /// Only changes of the row with this key; needs a table.
    pub key: Option<RowKeyInput>,
    /// Only changes of tables in this schema; not with a table.
    pub schema: Option<String>,
    /// Only updates that changed this column.
    pub changed: Option<ColumnName>,
    /// Only changes of this kind.
    pub op: Option<Op>,
    /// Only changes by this actor.
    pub actor: Option<ActorRef>,
    /// Only changes by actors of this type.
    pub actor_type: Option<ActorType>,
    /// Only changes on behalf of this actor.
    pub on_behalf_of: Option<ActorRef>,
    /// Only changes without an actor; not with an actor or an actor type.
    pub unattributed: bool,
    /// Only changes of this correlation.
    pub correlation: Option<ContextId>,
    /// Only changes of this request.
    pub request: Option<ContextId>,
    /// Only changes of this job.
    pub job: Option<ContextId>,
    /// Only changes under actions of this name.
    pub action: Option<String>,
    /// Only changes under actions of this category.
    pub category: Option<String>,
    /// Only changes under actions with this status.
    pub status: Option<ActionStatus>,
    /// Only changes whose transaction or action has these fields in meta.
    pub meta: Option<MetaPattern>,
    /// Only changes with this text in a value.
    pub scan_values: Option<SearchText>,
    /// The start of the window, inclusive.
    pub from: Option<InstantInput>,
    /// The end of the window, inclusive.
    pub to: Option<InstantInput>,
}

/// Filters that are malformed or contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidFilters(pub Vec<InvalidFilter>);

/// One filter that is malformed or contradicts another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} `{value}`: {reason}")]
#[non_exhaustive]
pub struct InvalidFilter {
    /// The name of the filter.
    pub name: String,
    /// The value as given, shortened if it is long.
    pub value: String,
    /// What is wrong, and what to write.
    pub reason: String,
}

/// The start and the end of a window.
type Window = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

impl TimelineFilters {
    /// The names of the filters.
    pub const NAMES: [&'static str; 19] = [
        "table",
        "key",
        "schema",
        "changed",
        "op",
        "actor",
        "actor_type",
        "on_behalf_of",
        "unattributed",
        "correlation",
        "request",
        "job",
        "action",
        "category",
        "status",
        "meta",
        "scan_values",
        "from",
        "to",
    ];

    /// Parses filters by name. Only `key` can be given several times, once for each `column=value`.
    ///
    /// # Errors
    /// [`InvalidFilters`] with every filter that is unknown, malformed or contradicts another.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidFilters>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut fields = FieldParser::new(pairs);
        let filters = Self {
            table: fields.value("table"),
            key: fields.key(),
            schema: fields.parsed("schema", schema_name),
            changed: fields.value("changed"),
            op: fields.value("op"),
            actor: fields.value("actor"),
            actor_type: fields.value("actor_type"),
            on_behalf_of: fields.value("on_behalf_of"),
            unattributed: fields.parsed("unattributed", flag).unwrap_or_default(),
            correlation: fields.value("correlation"),
            request: fields.value("request"),
            job: fields.value("job"),
            action: fields.parsed("action", action_name),
            category: fields.parsed("category", category),
            status: fields.value("status"),
            meta: fields.value("meta"),
            scan_values: fields.value("scan_values"),
            from: fields.value("from"),
            to: fields.value("to"),
        };
        let mut errors = fields.finish();
        errors.extend(filters.contradictions());
        if errors.is_empty() {
            Ok(filters)
        } else {
            Err(InvalidFilters(errors))
        }
    }

    /// Rejects filters that contradict each other.
    ///
    /// # Errors
    /// [`InvalidFilters`] for a key without a table, a schema beside a table, and `unattributed` beside an
    /// actor or an actor type.
    pub fn validate(&self) -> Result<(), InvalidFilters> {
        match self.contradictions() {
            errors if errors.is_empty() => Ok(()),
            errors => Err(InvalidFilters(errors)),
        }
    }

    fn contradictions(&self) -> Vec<InvalidFilter> {
        let mut errors = Vec::new();
        if let (Some(key), None) = (&self.key, &self.table) {
            errors.push(InvalidFilter::new(
                "key",
                key.as_str(),
                "a key needs its table",
            ));
        }
        if let (Some(schema), Some(_)) = (&self.schema, &self.table) {
            let reason = "give a table or a schema, not both";
            errors.push(InvalidFilter::new("schema", schema, reason));
        }
        if self.unattributed && (self.actor.is_some() || self.actor_type.is_some()) {
            let reason = "changes without an actor have neither actor nor actor type";
            errors.push(InvalidFilter::new("unattributed", "true", reason));
        }
        errors
    }

    /// The filters by name: the inverse of [`from_pairs`](Self::from_pairs).
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        fn text<T: ToString>(value: Option<&T>) -> Option<String> {
            value.map(ToString::to_string)
        }
        let keys = self.key.iter().flat_map(RowKeyInput::texts);
        let owned = |text: &str| Some(text.to_owned());
        [("table", text(self.table.as_ref()))]
            .into_iter()
            .chain(keys.map(|key| ("key", Some(key))))
            .chain([
                ("schema", self.schema.clone()),
                (
                    "changed",
                    self.changed.as_ref().and_then(|one| owned(one.as_str())),
                ),
                ("op", text(self.op.as_ref())),
                ("actor", text(self.actor.as_ref())),
                ("actor_type", text(self.actor_type.as_ref())),
                ("on_behalf_of", text(self.on_behalf_of.as_ref())),
                ("unattributed", self.unattributed.then(|| "true".to_owned())),
                ("correlation", text(self.correlation.as_ref())),
                ("request", text(self.request.as_ref())),
                ("job", text(self.job.as_ref())),
                ("action", self.action.clone()),
                ("category", self.category.clone()),
                ("status", self.status.and_then(|one| owned(one.as_str()))),
                (
                    "meta",
                    self.meta.as_ref().and_then(|one| owned(one.as_str())),
                ),
                (
                    "scan_values",
                    self.scan_values
                        .as_ref()
                        .and_then(|one| owned(one.as_str())),
                ),
                (
                    "from",
                    self.from.as_ref().and_then(|one| owned(one.as_str())),
                ),
                ("to", self.to.as_ref().and_then(|one| owned(one.as_str()))),
            ])
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// The options of these filters on the command line.
    #[must_use]
    pub fn command_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (name, value) in self.pairs() {
            let option = format!("--{}", name.replace('_', "-"));
            match name {
                "unattributed" => arguments.push(option),
                // A separate value that begins with a hyphen would be read as an option.
                _ if value.starts_with('-') => arguments.push(format!("{option}={value}")),
                _ => arguments.extend([option, value]),
            }
        }
        arguments
    }

    /// The same filters with a window that does not depend on the current time and the time zone.
    ///
    /// # Errors
    /// [`InvalidFilters`] if an instant does not exist in the time zone, or the window ends before it begins.
    pub fn fixed(&self, now: DateTime<Utc>, zone: Tz) -> Result<Self, InvalidFilters> {
        let (from, to) = self.window(now, zone)?;
        Ok(Self {
            from: from.map(InstantInput::from),
            to: to.map(InstantInput::from),
            ..self.clone()
        })
    }

    /// The same filters with local times as instants, for readers in another time zone. Relative instants stay
    /// relative.
    ///
    /// # Errors
    /// [`InvalidFilters`] if a local time does not exist in the time zone.
    pub fn without_local_times(&self, zone: Tz) -> Result<Self, InvalidFilters> {
        let absolute =
            |input: &Option<InstantInput>| input.clone().filter(|one| !one.is_relative());
        let window = Self {
            from: absolute(&self.from),
            to: absolute(&self.to),
            ..Self::default()
        };
        let window = window.fixed(DateTime::UNIX_EPOCH, zone)?;
        Ok(Self {
            from: window.from.or_else(|| self.from.clone()),
            to: window.to.or_else(|| self.to.clone()),
            ..self.clone()
        })
    }

    fn window(&self, now: DateTime<Utc>, zone: Tz) -> Result<Window, InvalidFilters> {
        let mut errors = Vec::new();
        let mut resolve = |name, input: Option<&InstantInput>| {
            let input = input?;
            input
                .resolve(now, zone)
                .map_err(|invalid| errors.push(InvalidFilter::new(name, input.as_str(), invalid)))
                .ok()
        };
        let (from, to) = (
            resolve("from", self.from.as_ref()),
            resolve("to", self.to.as_ref()),
        );
        if let (Some(start), Some(end), Some(input)) = (from, to, &self.from)
            && start > end
        {
            let reason = "the window ends before it begins";
            errors.push(InvalidFilter::new("from", input.as_str(), reason));
        }
        if errors.is_empty() {
            Ok((from, to))
        } else {
            Err(InvalidFilters(errors))
        }
    }

    /// The timeline with these filters. `row_key` is the stored form of the key, which
    /// [`resolve_key`](crate::resolve_key) reads from the database.
    ///
    /// # Errors
    /// As [`fixed`](Self::fixed) and [`validate`](Self::validate); and if there is a key, but no `row_key`.
    pub fn timeline(
        &self,
        row_key: Option<&RowKeyText>,
        now: DateTime<Utc>,
        zone: Tz,
        scope: Option<&Scope>,
    ) -> Result<Timeline, InvalidFilters> {
        self.validate()?;
        let (from, to) = self.window(now, zone)?;
        let timeline = match (&self.table, &self.key, row_key) {
            (Some(table), Some(_), Some(key)) => Timeline::new().row(table.clone(), key),
            (_, Some(key), _) => {
                let reason = "the stored form of the key was not resolved";
                return Err(InvalidFilters(vec![InvalidFilter::new(
                    "key",
                    key.as_str(),
                    reason,
                )]));
            }
            (Some(table), None, _) => Timeline::new().table(table.clone()),
            (None, None, _) => Timeline::new(),
        };
        let timeline = set(timeline, self.schema.as_ref(), Timeline::schema);
        let timeline = set(timeline, self.changed.as_ref(), Timeline::changed_field);
        let timeline = set(timeline, self.op.as_ref(), Timeline::op);
        let timeline = set(
            timeline,
            self.scan_values.as_ref(),
            Timeline::scanning_values,
        );
        let timeline = set(timeline, from.as_ref(), Timeline::from);
        let timeline = set(timeline, to.as_ref(), Timeline::to);
        let timeline = self.filter_attribution(timeline);
        Ok(match scope {
            Some(scope) => timeline.scope(scope),
            None => timeline,
        })
    }

    fn filter_attribution(&self, timeline: Timeline) -> Timeline {
        let attribution = self.unattributed.then_some(Attribution::Unattributed);
        let timeline = set(timeline, attribution.as_ref(), Timeline::attribution);
        let timeline = set(timeline, self.actor.as_ref(), Timeline::actor);
        let timeline = set(timeline, self.actor_type.as_ref(), Timeline::actor_type);
        let timeline = set(timeline, self.on_behalf_of.as_ref(), Timeline::on_behalf_of);
        let timeline = set(
            timeline,
            self.correlation.as_ref(),
            Timeline::correlation_id,
        );
        let timeline = set(timeline, self.request.as_ref(), Timeline::request_id);
        let timeline = set(timeline, self.job.as_ref(), Timeline::job_id);
        let timeline = set(timeline, self.action.as_ref(), Timeline::action);
        let timeline = set(timeline, self.category.as_ref(), Timeline::action_category);
        let timeline = set(timeline, self.status.as_ref(), Timeline::action_status);
        set(timeline, self.meta.as_ref(), Timeline::meta)
    }
}

/// Adds a filter that is given.
fn set<T: Clone>(
    timeline: Timeline,
    value: Option<&T>,
    add: impl FnOnce(Timeline, T) -> Timeline,
) -> Timeline {
    match value {
        Some(value) => add(timeline, value.clone()),
        None => timeline,
    }
}

fn schema_name(text: &str) -> Result<String, String> {
    match ColumnName::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("use 1 to 63 bytes, as PostgreSQL stores the name".to_owned()),
    }
}

fn action_name(text: &str) -> Result<String, String> {
    match ActionName::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(invalid) => Err(invalid.to_string()),
    }
}

fn category(text: &str) -> Result<String, String> {
    match validate_category(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(invalid) => Err(invalid.to_string()),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests;
