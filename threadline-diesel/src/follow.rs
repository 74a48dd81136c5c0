//! Following a timeline: changes in the order in which they become visible.
//!
//! A timeline is ordered by the time of capture, not of the commit. A cursor would therefore skip the changes
//! of a transaction that commits late. [`Follow`] reads again from the start of the oldest
//! transaction that was running at the previous read, and returns the changes that it has not returned yet:
//! a change that was not visible then belongs to a transaction that was running, or to a later one.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Serialize;

use crate::models::TimelineEntry;
use crate::query::{Order, PageSize, ReadError, Timeline};
use crate::timeline;

/// The additional time that each read goes back if the role cannot see when other transactions started.
pub const BLIND_WINDOW: TimeDelta = TimeDelta::minutes(10);

/// The start of the oldest transaction of this database that has an xid; now, if there is none. Only members
/// of `pg_read_all_stats` see the sessions of other roles, and a standby has none of those that write.
const OLDEST_TRANSACTION: &str = "
    SELECT LEAST(pg_catalog.clock_timestamp(), pg_catalog.min(xact_start)) AS started_at,
        pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
            AND NOT pg_catalog.pg_is_in_recovery() AS sees_all
    FROM pg_catalog.pg_stat_activity
    WHERE backend_xid IS NOT NULL AND datname = pg_catalog.current_database()
        AND pid <> pg_catalog.pg_backend_pid()";

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct OldestTransaction {
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Bool)]
    sees_all: bool,
}

impl OldestTransaction {
    async fn load<C>(conn: &mut C) -> Result<Self, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        Ok(diesel::sql_query(OLDEST_TRANSACTION)
            .get_result(conn)
            .await?)
    }

    /// The instant from which the next read begins.
    fn next_start(&self) -> DateTime<Utc> {
        if self.sees_all {
            self.started_at
        } else {
            self.started_at - BLIND_WINDOW
        }
    }
}

/// The changes of a timeline since an instant, and the instant of the next step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FollowStep {
    /// The changes captured at or after the instant, the first captured first. Changes that the previous
    /// step returned can be among them.
    pub entries: Vec<TimelineEntry>,
    /// The instant from which the next step reads.
    pub next_from: DateTime<Utc>,
    /// Whether the role sees when other transactions started (`pg_read_all_stats`). Otherwise changes of
    /// transactions that run longer than [`BLIND_WINDOW`] can be missed.
    pub sees_all: bool,
}

/// Reads the instant from which changes that are not visible yet will be captured: the `from` of the first
/// [`changes_since`]. Without `pg_read_all_stats` it is [`BLIND_WINDOW`] earlier.
///
/// # Errors
/// [`ReadError`] when the database reports an error.
pub async fn follow_start<C>(conn: &mut C) -> Result<DateTime<Utc>, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    Ok(OldestTransaction::load(conn).await?.next_start())
}

/// Reads the changes of a timeline since an instant, for callers that keep no state in this process, such as
/// a browser that polls.
///
/// `from` is [`follow_start`], taken before the caller reads its first page, and then
/// [`FollowStep::next_from`] of the previous step. A caller that drops the ids that it has receives each
/// change once, also of transactions that commit late.
///
/// All changes since the instant are in memory: if a client sends the instant, check it first with
/// [`count_changes`](crate::count_changes()). Replaces the order, `from` and page of the timeline.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::follow::{changes_since, follow_start};
/// use threadline_diesel::{Timeline, timeline};
///
/// let from = follow_start(conn).await?;
/// let page = timeline(conn, &Timeline::new()).await?;
/// let mut step = changes_since(conn, &Timeline::new(), from).await?;
/// let has = |id: i64| page.entries.iter().any(|entry| entry.change.id == id);
/// step.entries.retain(|entry| !has(entry.change.id));
/// let next = changes_since(conn, &Timeline::new(), step.next_from).await?;
/// # let _ = next;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ReadError`] when the timeline is not valid or the database reports an error.
pub async fn changes_since<C>(
    conn: &mut C,
    query: &Timeline,
    from: DateTime<Utc>,
) -> Result<FollowStep, ReadError>
where
    C: AsyncConnection<Backend = Pg>,
{
    // Read first: changes that this step does not see belong to transactions that are running now.
    let oldest = OldestTransaction::load(conn).await?;
    let query = query.clone().order(Order::OldestFirst);
    let mut query = query.page_size(PageSize::MAX).from(from).first_page();
    let mut entries = Vec::new();
    loop {
        let page = timeline(conn, &query).await?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    Ok(FollowStep {
        entries,
        // A transaction can take its xid long after its start. Its changes are captured after the previous
        // step, which did not see it.
        next_from: oldest.next_start().max(from),
        sees_all: oldest.sees_all,
    })
}

/// A reader of a timeline that returns each change once, soon after its commit. Its memory is bounded by the
/// changes since the start of the oldest running transaction.
///
/// ```no_run
/// # async fn example(conn: &mut diesel_async::AsyncPgConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use threadline_diesel::follow::Follow;
/// use threadline_diesel::query::Timeline;
///
/// let mut follow = Follow::start(conn, Timeline::new()).await?;
/// loop {
///     for entry in follow.read_new(conn).await? {
///         println!("{} {}", entry.change.op, entry.change.table_name);
///     }
///     tokio::time::sleep(std::time::Duration::from_secs(1)).await;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Follow {
    timeline: Timeline,
    from: DateTime<Utc>,
    /// The changes since `from` that were returned: id and time of capture.
    returned: BTreeMap<i64, DateTime<Utc>>,
    sees_all: bool,
}

impl Follow {
    /// Starts after the changes that are visible now. Replaces the order, `from` and page
    /// of the timeline.
    ///
    /// # Errors
    /// [`ReadError`] when the timeline is not valid or the database reports an error.
    pub async fn start<C>(conn: &mut C, query: Timeline) -> Result<Self, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let mut follow = Self {
            timeline: query,
            from: follow_start(conn).await?,
            returned: BTreeMap::new(),
            sees_all: false,
        };
        follow.read_new(conn).await?;
        Ok(follow)
    }

    /// Whether the role sees when other transactions started (`pg_read_all_stats`). Otherwise changes of
    /// transactions that run longer than [`BLIND_WINDOW`] can be missed.
    #[must_use]
    pub fn sees_all_transactions(&self) -> bool {
        self.sees_all
    }

    /// The changes that became visible since the previous call, the first captured first.
    ///
    /// # Errors
    /// [`ReadError`] when the database reports an error. The next call returns the changes that this one
    /// would have.
    pub async fn read_new<C>(&mut self, conn: &mut C) -> Result<Vec<TimelineEntry>, ReadError>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let step = changes_since(conn, &self.timeline, self.from).await?;
        let mut entries = step.entries;
        entries.retain(|entry| !self.returned.contains_key(&entry.change.id));
        self.returned.extend(
            entries
                .iter()
                .map(|entry| (entry.change.id, entry.change.captured_at)),
        );
        self.from = step.next_from;
        self.sees_all = step.sees_all;
        self.returned
            .retain(|_, captured_at| *captured_at >= self.from);
        Ok(entries)
    }
}
