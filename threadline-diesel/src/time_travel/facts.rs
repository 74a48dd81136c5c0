//! Facts about a table from the trail and the catalogs, and which records determine its rows as of an instant.

use chrono::{DateTime, Utc};
use diesel::sql_types::Jsonb;
use serde::Deserialize;
use threadline_core::storage::STORAGE_SCHEMA;
use threadline_core::table::TableName;

use super::{Gaps, TimeTravel, TimeTravelError};
use crate::json::StoredJson;
use crate::query::removed_sql;

/// The statement that reads [`Facts`]; its parameters are schema and name.
pub(crate) fn facts_sql() -> String {
    include_str!("facts.sql")
        .replace("@removed@", &removed_sql("$1", "$2"))
        .replace("@threadline@", STORAGE_SCHEMA)
}

/// Its row.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct FactsRow {
    #[diesel(sql_type = Jsonb)]
    pub(crate) facts: StoredJson,
}

/// Facts about a table that do not depend on the instant.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Facts {
    relation: Option<i64>,
    horizon: Option<DateTime<Utc>>,
    pub(crate) mask_with: Option<String>,
    pub(crate) columns: Vec<ColumnFacts>,
    unique_keys: Vec<Vec<i16>>,
    enrolments: Vec<Enrolment>,
    suspensions: Vec<Suspension>,
    baselines: Vec<BaselineRun>,
    last_purge: Option<DateTime<Utc>>,
    removed: Vec<Removed>,
    purge_keeps_rows: bool,
    truncations: Vec<Truncation>,
}

/// A column of the table as it is now.
#[derive(Debug, Deserialize)]
pub(crate) struct ColumnFacts {
    pub(crate) name: String,
    number: i16,
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) is_text: bool,
    pub(crate) form: ImageValue,
    /// Whether the trail may have values that the present type rejects.
    pub(crate) may_reject: bool,
    pub(crate) rule: Option<String>,
}

/// How a value of a type is read from an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImageValue {
    /// The value in the image.
    Json,
    /// As `row_from_image` reads it, whatever `lc_monetary` is.
    Money,
    /// As `jsonb_populate_record` reads it.
    Array,
    /// By the input function of its type.
    Text,
}

#[derive(Debug, Default, Deserialize)]
struct Enrolment {
    order_id: i64,
    at: DateTime<Utc>,
    event: String,
    relation: Option<i64>,
    key_columns: Option<Vec<String>>,
    key_numbers: Option<Vec<i16>>,
    key_since: Option<i64>,
    was_captured: Option<bool>,
    was_empty: Option<bool>,
    /// The last change before capture was enabled without triggers in place.
    last_change_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
struct Suspension {
    order_id: i64,
    at: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct BaselineRun {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    of_all_rows: bool,
}

/// A time of which retention removed the changes.
#[derive(Debug, Deserialize)]
struct Removed {
    /// Changes with smaller ids are older.
    last_id: i64,
    /// The end of the restored span before it, if there is one.
    from: Option<DateTime<Utc>>,
    to: DateTime<Utc>,
}

/// A truncate of the table, or of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Truncation {
    pub(crate) id: i64,
    at: DateTime<Utc>,
    pub(crate) partition: Option<String>,
}

/// Earlier changes do not describe the table after this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boundary {
    order_id: i64,
    at: DateTime<Utc>,
    event: Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// `captured_until`: when capture is known to have worked last, if it was off without a record.
    Enabled {
        first: bool,
        empty: bool,
        captured_until: Option<DateTime<Utc>>,
    },
    Disabled,
    Suspended,
    /// The end of a restored span. Later changes, until an instant, are removed.
    Removed {
        until: DateTime<Utc>,
    },
}

impl Boundary {
    /// Changes with greater ids are newer.
    fn last_id(&self) -> i64 {
        match self.event {
            Event::Removed { .. } => self.order_id - 1,
            _ => self.order_id,
        }
    }
}

/// Which records determine the rows of a table as of an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    /// Only changes with greater ids count.
    pub(crate) after: i64,
    /// Only changes with smaller ids count.
    pub(crate) before: Option<i64>,
    /// Whether row keys are unique at every instant.
    pub(crate) by_key: bool,
    /// Whether records after the instant show rows without a record before it.
    pub(crate) with_later: bool,
    /// Partitions that were truncated separately, with their last truncate.
    pub(crate) truncated_partitions: Vec<Truncation>,
}

impl Facts {
    /// Which records determine the rows as of the instant.
    pub(crate) fn records(
        &self,
        travel: &TimeTravel,
        table: &TableName,
    ) -> Result<Records, TimeTravelError> {
        if self.relation.is_none() {
            return Err(TimeTravelError::NoSuchTable(table.clone()));
        }
        let instant = travel.instant;
        let boundaries = self.boundaries();
        let start = boundaries.iter().rev().find(|one| one.at <= instant);
        let (Some(start), true) = (start, self.horizon.is_some_and(|h| h <= instant)) else {
            return Err(TimeTravelError::BeforeHorizon {
                table: table.clone(),
                instant,
                horizon: self.horizon,
            });
        };
        let end = boundaries.iter().find(|one| one.at > instant);
        // The instant at which the trail had all rows that existed at the boundary.
        let settled = self.baseline(instant, start, end).or(self.purge(instant));
        let gap = self.gap(instant, start, end, settled);
        if let (Some(reason), Gaps::Refused) = (&gap, travel.gaps) {
            return Err(TimeTravelError::Incomplete {
                table: table.clone(),
                reason: reason.clone(),
            });
        }
        let enrolled = self
            .enrolments
            .iter()
            .rev()
            .find(|one| one.event == "enabled" && one.at <= instant);
        let by_key = enrolled.is_some_and(|enrolled| self.tells_rows_apart(enrolled));
        let is_settled_later = settled.is_some_and(|settled| settled > instant);
        if !by_key && is_settled_later && travel.gaps == Gaps::Refused {
            return Err(TimeTravelError::Inexact {
                table: table.clone(),
                detail: "it has no unique key, and rows were recorded after the instant".into(),
            });
        }
        let after = match gap {
            None => start.last_id(),
            Some(_) => enrolled.and_then(|one| one.key_since).unwrap_or(0),
        };
        let (emptied, truncated_partitions) = self.truncations(instant, after);
        Ok(Records {
            after: emptied,
            before: end.map(|end| end.order_id),
            by_key,
            with_later: by_key && (is_settled_later || gap.is_some()),
            truncated_partitions,
        })
    }

    fn boundaries(&self) -> Vec<Boundary> {
        let first = self.enrolments.iter().find(|one| one.event == "enabled");
        let mut boundaries: Vec<_> = self
            .enrolments
            .iter()
            .filter_map(|one| {
                let event = if one.event != "enabled" {
                    Event::Disabled
                } else if one.was_captured == Some(true) && one.key_since != Some(one.order_id) {
                    return None;
                } else {
                    Event::Enabled {
                        first: first.is_some_and(|first| first.order_id == one.order_id),
                        empty: one.was_empty == Some(true),
                        captured_until: self.captured_until(one),
                    }
                };
                Some(Boundary {
                    order_id: one.order_id,
                    at: one.at,
                    event,
                })
            })
            .chain(self.suspensions.iter().map(|one| Boundary {
                order_id: one.order_id,
                at: one.at,
                event: Event::Suspended,
            }))
            .chain(self.removed.iter().filter_map(|one| {
                Some(Boundary {
                    order_id: one.last_id,
                    at: one.from?,
                    event: Event::Removed { until: one.to },
                })
            }))
            .collect();
        boundaries.sort_by_key(|one| one.order_id);
        boundaries
    }

    /// If triggers were missing when capture was enabled, and no record says since when: the last instant at
    /// which they are known to have worked.
    fn captured_until(&self, enabled: &Enrolment) -> Option<DateTime<Utc>> {
        let mut earlier = self.enrolments.iter().rev();
        let previous = earlier.find(|one| one.order_id < enabled.order_id)?;
        let is_unrecorded = previous.event == "enabled" && enabled.was_captured == Some(false);
        is_unrecorded.then(|| {
            let deployed = previous.at;
            enabled
                .last_change_at
                .map_or(deployed, |at| at.max(deployed))
        })
    }

    /// The last purge. It concerns no instant in a restored span with all changes before it.
    fn purge(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.last_purge.filter(|_| !self.is_restored(instant))
    }

    /// Whether changes after an instant are removed, but not the changes until then.
    fn is_restored(&self, instant: DateTime<Utc>) -> bool {
        let mut removed = self.removed.iter();
        removed.any(|one| one.from.is_some_and(|from| from > instant))
    }

    fn loses_rows(&self, instant: DateTime<Utc>) -> bool {
        self.purge(instant).is_some() && !self.purge_keeps_rows
    }

    /// When the first baseline ended that recorded every row that the trail did not know since the
    /// boundary. Where the trail knew rows before the boundary, it must have recorded all rows.
    fn baseline(
        &self,
        instant: DateTime<Utc>,
        start: &Boundary,
        end: Option<&Boundary>,
    ) -> Option<DateTime<Utc>> {
        let since = self
            .purge(instant)
            .filter(|_| self.loses_rows(instant))
            .map_or(start.at, |purge| purge.max(start.at));
        let is_first = matches!(start.event, Event::Enabled { first: true, .. });
        self.baselines
            .iter()
            .filter(|run| is_first || run.of_all_rows)
            .find(|run| run.from >= since && end.is_none_or(|end| run.to < end.at))
            .map(|run| run.to)
    }

    /// Why rows may be missing or wrong as of the instant.
    fn gap(
        &self,
        instant: DateTime<Utc>,
        start: &Boundary,
        end: Option<&Boundary>,
        settled: Option<DateTime<Utc>>,
    ) -> Option<String> {
        let baseline = self.baseline(instant, start, end);
        if let Event::Removed { until } = start.event
            && instant < until
        {
            return Some(format!(
                "its changes from {} to {until} were removed",
                start.at
            ));
        }
        if self.is_restored(instant)
            && let Some(first) = self.removed.first().filter(|one| one.to <= instant)
        {
            return Some(format!(
                "its changes before {} were removed, and others after the restored span",
                first.to
            ));
        }
        let truncated = self
            .truncations
            .iter()
            .find(|one| one.at > instant && settled.is_some_and(|settled| one.at <= settled));
        if let Some(truncated) = truncated {
            return Some(format!(
                "it was truncated at {}, with rows that the trail may not have",
                truncated.at
            ));
        }
        if let Some(Boundary {
            at: enabled,
            event:
                Event::Enabled {
                    captured_until: Some(until),
                    ..
                },
            ..
        }) = end
            && *until < instant
        {
            return Some(format!(
                "it was created again, or its triggers were missing, between {until} and {enabled}"
            ));
        }
        if start.event == Event::Disabled {
            return Some(format!("capture was disabled at {}", start.at));
        }
        if baseline.is_some() {
            return None;
        }
        match start.event {
            Event::Suspended => Some(format!("capture was suspended at {}", start.at)),
            Event::Enabled { empty: false, .. } => Some(format!(
                "it had rows when capture was enabled at {}, and no finished baseline recorded them",
                start.at
            )),
            _ if self.loses_rows(instant) => Some(
                "a purge removed the last images of rows, and no finished baseline recorded them since"
                    .into(),
            ),
            _ => None,
        }
    }

    fn tells_rows_apart(&self, enrolled: &Enrolment) -> bool {
        let mut key = if enrolled.relation == self.relation {
            enrolled.key_numbers.clone().unwrap_or_default()
        } else {
            let names = enrolled.key_columns.as_deref().unwrap_or_default();
            self.columns
                .iter()
                .filter(|column| names.contains(&column.name))
                .map(|column| column.number)
                .collect()
        };
        key.sort_unstable();
        self.unique_keys.iter().any(|unique| {
            let mut unique = unique.clone();
            unique.sort_unstable();
            unique == key
        })
    }

    /// The id after which the table was last emptied, at least `after`; and what was emptied of it since.
    fn truncations(&self, instant: DateTime<Utc>, after: i64) -> (i64, Vec<Truncation>) {
        let mut emptied = after;
        let mut partitions: Vec<Truncation> = Vec::new();
        for one in self
            .truncations
            .iter()
            .filter(|one| one.at <= instant && one.id > after)
        {
            if one.partition.is_none() {
                emptied = one.id;
                partitions.clear();
            } else {
                partitions.retain(|other| other.partition != one.partition);
                partitions.push(one.clone());
            }
        }
        (emptied, partitions)
    }
}
