//! Restores an archived period into the trail, for a time.
//!
//! The period is that of one partition. Its records are compared with the log of seals while they are loaded, into
//! tables that become partitions at the end. All of it is one transaction: a restore that is interrupted leaves the
//! trail as it was. Consumers of the feed, and the sealer among them, wait until the transaction ends.

mod error;
mod load;
mod partition;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Date, Double, Text, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

pub use self::error::RestoreError;
use self::load::Loader;
use self::partition::{PartitionRow, attach, create_tables, partitions};
use super::layout::{ArchiveKind, ArchiveManifest, day_start, next_day, read_manifests};
use crate::seal::rows::{as_bigint, query};
use crate::storage::Storage;

/// The longest time for which a period can be restored.
pub const MAX_KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A period to restore: a month, or a day of a trail whose partitions are days or weeks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePeriod {
    /// A month: `2026-01`.
    Month(
        /// Its first day.
        NaiveDate,
    ),
    /// The period of the trail's partitions that contains a day: `2026-01-31`.
    Day(NaiveDate),
}

/// A text is not a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a period is a month or a day: 2026-01 or 2026-01-31")]
pub struct InvalidPeriod;

impl FromStr for RestorePeriod {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        if let Ok(day) = text.parse() {
            return Ok(Self::Day(day));
        }
        let first = format!("{text}-01").parse().map_err(|_| InvalidPeriod)?;
        Ok(Self::Month(first))
    }
}

impl fmt::Display for RestorePeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Month(first) => write!(f, "{}", first.format("%Y-%m")),
            Self::Day(day) => write!(f, "{day}"),
        }
    }
}

/// What to restore, for how long and why.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    period: RestorePeriod,
    reason: String,
    keep: Duration,
}

impl RestoreOptions {
    /// A period and the reason, for 7 days.
    #[must_use]
    pub fn new(period: RestorePeriod, reason: impl Into<String>) -> Self {
        Self {
            period,
            reason: reason.into(),
            keep: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }

    /// Sets how long purges keep the period: at most [`MAX_KEEP`].
    #[must_use]
    pub const fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }
}

/// A restored period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoredSpan {
    /// When it begins.
    pub from: DateTime<Utc>,
    /// When it ends, exclusive.
    pub to: DateTime<Utc>,
    /// Restored changes.
    pub changes: u64,
    /// Restored transactions. Those that the trail still had are not among them.
    pub transactions: u64,
    /// Restored actions. Those that the trail still had are not among them.
    pub actions: u64,
    /// Records of which values were erased after they were archived. The trail has these values again.
    pub unerased: u64,
    /// Purges keep the period, and everything before its end, until then.
    pub keep_until: DateTime<Utc>,
}

/// The progress of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// The day that is loaded.
    pub day: NaiveDate,
    /// Records that were loaded so far.
    pub records: u64,
}

/// Restores an archived period into the trail: afterwards all questions about it are answered as before it was
/// purged. A purge removes it when its time has passed.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_export::archive::{RestoreOptions, restore};
/// use threadline_export::storage::Storage;
///
/// let storage = Storage::local("/var/lib/app/archive")?;
/// let options = RestoreOptions::new("2026-01".parse()?, "ticket 4711");
/// let restored = restore(conn, &storage, &options, |_| {}).await?;
/// println!("{} changes", restored.changes);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`RestoreError`]; the trail is then as it was.
pub async fn restore(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    options: &RestoreOptions,
    mut progress: impl FnMut(RestoreProgress) + Send,
) -> Result<RestoredSpan, RestoreError> {
    if options.reason.trim().is_empty() {
        return Err(RestoreError::NoReason);
    }
    if options.keep.is_zero() || options.keep > MAX_KEEP {
        return Err(RestoreError::Keep);
    }
    conn.transaction(async |conn| {
        restore_in_transaction(conn, storage, options, &mut progress).await
    })
    .await
}

async fn restore_in_transaction(
    conn: &mut AsyncPgConnection,
    storage: &Storage,
    options: &RestoreOptions,
    progress: &mut (dyn FnMut(RestoreProgress) + Send),
) -> Result<RestoredSpan, RestoreError> {
    let span = begin(conn, options.period).await?;
    let partitions = partitions(conn, &span).await?;
    if partitions.iter().any(PartitionRow::is_present_change) {
        return Err(RestoreError::StillInTrail(options.period));
    }
    let manifests = read_manifests(storage).await?;
    let days = archived_days(conn, &manifests, &span).await?;

    create_tables(conn, &partitions).await?;
    let mut loader = Loader::new(conn, storage, &partitions, progress);
    for manifest in days {
        loader.load_day(manifest).await?;
    }
    loader.load_outside(&span, &manifests).await?;
    let totals = loader.loaded();
    attach(conn, &partitions).await?;
    let keep_until = record_span(conn, &span, totals.ids, options).await?;
    Ok(RestoredSpan {
        from: span.from_instant,
        to: span.to_instant,
        changes: totals.changes,
        transactions: totals.transactions,
        actions: totals.actions,
        unerased: totals.unerased,
        keep_until,
    })
}

/// The span of a period.
#[derive(Debug, QueryableByName)]
struct SpanRow {
    #[diesel(sql_type = Text)]
    width: String,
    #[diesel(sql_type = Timestamptz)]
    from_instant: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    to_instant: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    owner: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Bool)]
    may_act_as_owner: bool,
}

/// Takes the lock of restores, becomes the owner of the trail, and finds the span.
async fn begin(
    conn: &mut AsyncPgConnection,
    period: RestorePeriod,
) -> Result<SpanRow, RestoreError> {
    let (RestorePeriod::Month(day) | RestorePeriod::Day(day)) = period;
    let span: SpanRow = query(include_str!("sql/restore_span.sql"))
        .bind::<Date, _>(day)
        .get_result(conn)
        .await?;
    if !span.may_act_as_owner {
        return Err(RestoreError::NotOwner {
            role: span.role,
            owner: span.owner,
        });
    }
    if matches!(period, RestorePeriod::Month(_)) && span.width != "month" {
        return Err(RestoreError::NotByMonth { width: span.width });
    }
    let begun: AnswerRow = query(
        "SELECT set_config('role', $1, true) IS NOT NULL \
            AND set_config('idle_in_transaction_session_timeout', '0', true) IS NOT NULL \
            AND pg_try_advisory_xact_lock(hashtext('threadline archive restore')) AS answer",
    )
    .bind::<Text, _>(span.owner.clone())
    .get_result(conn)
    .await?;
    if begun.answer {
        Ok(span)
    } else {
        Err(RestoreError::AtWork)
    }
}

#[derive(Debug, QueryableByName)]
struct AnswerRow {
    #[diesel(sql_type = Bool)]
    answer: bool,
}

#[derive(Debug, QueryableByName)]
struct DayRow {
    #[diesel(sql_type = Date)]
    day: NaiveDate,
    #[diesel(sql_type = BigInt)]
    changes: i64,
}

/// The manifests of a span. The archive must have every sealed change of it.
async fn archived_days<'a>(
    conn: &mut AsyncPgConnection,
    manifests: &'a [ArchiveManifest],
    span: &SpanRow,
) -> Result<Vec<&'a ArchiveManifest>, RestoreError> {
    let begins = |manifest: &ArchiveManifest| day_start(manifest.day);
    let within =
        |one: &&ArchiveManifest| (span.from_instant..span.to_instant).contains(&begins(one));
    let days: Vec<_> = manifests.iter().filter(within).collect();
    let (first_id, last_id) = id_range(manifests, span);
    let sealed: Vec<DayRow> = query(include_str!("sql/sealed_changes.sql"))
        .bind::<BigInt, _>(first_id)
        .bind::<BigInt, _>(last_id)
        .bind::<Timestamptz, _>(span.from_instant)
        .bind::<Timestamptz, _>(span.to_instant)
        .load(conn)
        .await?;
    let rows = |day| {
        let manifest = days.iter().find(|one| one.day == day);
        manifest.map_or(0, |one| one.rows_of(ArchiveKind::Changes))
    };
    let missing: Vec<NaiveDate> = sealed
        .iter()
        .filter(|sealed| as_bigint(rows(sealed.day)) < sealed.changes)
        .map(|sealed| sealed.day)
        .collect();
    if !missing.is_empty() {
        return Err(RestoreError::NotArchived(missing));
    }
    if sealed.is_empty() {
        return Err(RestoreError::NothingArchived);
    }
    Ok(days)
}

/// The ids that the changes of a span can have: those between the archived days before and after it. The clock may have
/// been wrong, so the ids of its own days are in the range in any case.
fn id_range(manifests: &[ArchiveManifest], span: &SpanRow) -> (i64, i64) {
    let (mut first_id, mut last_id) = (0, i64::MAX);
    let (mut own_first, mut own_last) = (i64::MAX, 0);
    for manifest in manifests {
        let begins = day_start(manifest.day);
        for file in manifest.files_of(ArchiveKind::Changes) {
            if begins < span.from_instant {
                first_id = first_id.max(file.last_id);
            } else if begins >= span.to_instant {
                last_id = last_id.min(file.first_id);
            } else {
                own_first = own_first.min(file.first_id);
                own_last = own_last.max(file.last_id);
            }
        }
    }
    (first_id.min(own_first), last_id.max(own_last))
}

#[derive(Debug, QueryableByName)]
struct InstantRow {
    #[diesel(sql_type = Timestamptz)]
    instant: DateTime<Utc>,
}

async fn record_span(
    conn: &mut AsyncPgConnection,
    span: &SpanRow,
    (first_id, last_id): (i64, i64),
    options: &RestoreOptions,
) -> Result<DateTime<Utc>, RestoreError> {
    let row: InstantRow = query(
        "INSERT INTO @threadline@.audit_restored_spans VALUES \
            ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5), $6) RETURNING keep_until AS instant",
    )
    .bind::<Timestamptz, _>(span.from_instant)
    .bind::<Timestamptz, _>(span.to_instant)
    .bind::<BigInt, _>(first_id)
    .bind::<BigInt, _>(last_id)
    .bind::<Double, _>(options.keep.as_secs_f64())
    .bind::<Text, _>(options.reason.clone())
    .get_result(conn)
    .await?;
    Ok(row.instant)
}

/// Days for a message, adjacent ones as a range.
fn show_days(days: &[NaiveDate]) -> String {
    let mut ranges: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some((_, last)) if next_day(*last) == *day => *last = *day,
            _ => ranges.push((*day, *day)),
        }
    }
    let shown: Vec<_> = ranges
        .iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first} to {last}")
            }
        })
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_month_or_a_day() {
        let shown = |text: &str| {
            text.parse::<RestorePeriod>()
                .map(|period| period.to_string())
        };
        for text in ["2026-01", "2026-01-31"] {
            assert_eq!(shown(text).as_deref(), Ok(text));
        }
        for text in ["2026", "2026-13", "2026-02-30", "", "2026-01-01-01"] {
            assert_eq!(shown(text), Err(InvalidPeriod), "{text}");
        }
    }

    #[test]
    fn adjacent_days_are_shown_as_a_range() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let days = ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-03"].map(day);
        assert_eq!(show_days(&days), "2026-01-30 to 2026-02-01, 2026-02-03");
        assert_eq!(show_days(&[]), "");
    }
}
