//! The measured queries, by name.
//!
//! [`list`] has all of them. Queries of the library run through the library, so their time includes the
//! round trips and the construction of the Rust values; [`Ours::Sql`] is for queries in plain SQL. On
//! the common layout the rows of an SQL query are fetched and discarded.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use threadline_core::actor::ActorRef;
use threadline_core::row_key::RowKeyText;
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::{Correlation, DocumentAsOf, PageSize, Timeline};
use tokio_postgres::{Client, Statement};

use super::trail::Trail;

/// Measured runs of a query at most, after the warm-up runs.
const TIMES: usize = 200;
const WARM_UP: usize = 5;
/// The time limit of a query, for both layouts together.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Goals for the 95th percentile, in milliseconds.
const PAGE: Option<f64> = Some(5.0);
const HISTORY: Option<f64> = Some(2.0);
const BUNDLE: Option<f64> = Some(1.0);
const INCIDENT: Option<f64> = Some(2.0);
const AS_OF: Option<f64> = Some(1.0);

/// A query on both layouts.
struct Query {
    name: &'static str,
    goal: Option<f64>,
    ours: Ours,
    common: Option<String>,
}

/// A query on the layout of Threadline.
enum Ours {
    /// A page of a timeline, through the library.
    Timeline(Box<Timeline>),
    /// The incident of a transaction, through the library.
    Incident(AuditTransactionId),
    /// The bundle of a correlation, through the library.
    Correlation(Correlation),
    /// A row as of an instant, through the library.
    AsOf(DocumentAsOf),
    /// A query in plain SQL.
    Sql(String),
}

/// Percentiles of the times, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
}

/// The result of a query.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) goal: Option<f64>,
    /// Rows of the answer of Threadline.
    pub(crate) rows: usize,
    pub(crate) ours: Times,
    pub(crate) common: Option<Times>,
}

const COMMON_PAGE: &str =
    "SELECT c.*, t.actor_ref, t.meta, a.name, a.reason, a.comment, a.correlation_id
     FROM common.changes AS c
     JOIN common.transactions AS t ON t.id = c.transaction_id
     LEFT JOIN common.actions AS a ON a.id = t.action_id";
const COMMON_ORDER: &str = "ORDER BY c.captured_at DESC, c.id DESC LIMIT 51";
/// Entries before page 1,000.
const BEFORE_PAGE_1000: u32 = 999 * 50;

fn common_page(filter: &str) -> String {
    format!("{COMMON_PAGE} WHERE {filter} {COMMON_ORDER}")
}

fn page(name: &'static str, ours: Timeline, common: String) -> Query {
    Query {
        name,
        goal: PAGE,
        ours: Ours::Timeline(Box::new(ours)),
        common: Some(common),
    }
}

/// All queries.
async fn list(trail: &Trail) -> Result<Vec<Query>> {
    let rare = trail
        .text(
            "SELECT split_part(actor, ':', 2) FROM threadline.audit_transactions
             WHERE actor LIKE 'user:%' GROUP BY 1 ORDER BY count(*), 1 LIMIT 1",
        )
        .await?;
    let mut list = vec![
        page("first page", Timeline::new(), common_page("true")),
        page(
            "first page of a busy table",
            Timeline::new().table("table_1".parse()?),
            common_page("c.table_schema = 'public' AND c.table_name = 'table_1'"),
        ),
        page(
            "first page of a rare table",
            Timeline::new().table("table_40".parse()?),
            common_page("c.table_schema = 'public' AND c.table_name = 'table_40'"),
        ),
        page_1000(trail, "page 1,000", Timeline::new(), "true").await?,
        page_1000(
            trail,
            "page 1,000 of a busy table",
            Timeline::new().table("table_1".parse()?),
            "c.table_schema = 'public' AND c.table_name = 'table_1'",
        )
        .await?,
        page(
            "first page of a busy actor",
            Timeline::new().actor("user:1".parse()?),
            common_page(r#"t.actor_ref = '{"type": "user", "id": "1"}'"#),
        ),
        page(
            "first page of a rare actor",
            Timeline::new().actor(ActorRef::user(rare.clone())?),
            common_page(&format!(
                r#"t.actor_ref = '{{"type": "user", "id": "{rare}"}}'"#
            )),
        ),
        page(
            "first page of the tenth busiest actor",
            Timeline::new().actor("user:10".parse()?),
            common_page(r#"t.actor_ref = '{"type": "user", "id": "10"}'"#),
        ),
        Query {
            goal: BUNDLE,
            ..page(
                "changes of a correlation",
                Timeline::new().correlation_id("correlation-77".parse()?),
                common_page("a.correlation_id = 'correlation-77'"),
            )
        },
        Query {
            name: "correlation bundle: transactions, actions, changes",
            goal: BUNDLE,
            ours: Ours::Correlation(Correlation::new("correlation-77".parse()?)),
            common: None,
        },
    ];
    list.extend(of_rows()?);
    list.push(incident(trail, "incident of 1 change", 1).await?);
    list.push(incident(trail, "incident of 5,000 changes", 5000).await?);
    list.push(Query {
        name: "count, up to 10,000",
        goal: PAGE,
        ours: Ours::Sql(
            "SELECT count(*) FROM (SELECT FROM threadline.audit_changes \
             WHERE table_name = 'table_1' AND table_schema = 'public' LIMIT 10001) AS counted"
                .to_owned(),
        ),
        common: Some(
            "SELECT count(*) FROM (SELECT FROM common.changes \
             WHERE table_name = 'table_1' AND table_schema = 'public' LIMIT 10001) AS counted"
                .to_owned(),
        ),
    });
    Ok(list)
}

/// The queries about one row.
fn of_rows() -> Result<Vec<Query>> {
    let mut list = Vec::new();
    for (name, key) in [
        ("history of a row with 3 changes", "cold"),
        ("history of a row with 10,000 changes, first page", "hot-1"),
    ] {
        let common = format!(
            "c.table_schema = 'public' AND c.table_name = 'table_1' \
             AND c.table_pk = '{{\"id\": \"{key}\"}}'"
        );
        list.push(Query {
            goal: HISTORY,
            ..page(
                name,
                Timeline::new().row(
                    "table_1".parse()?,
                    &RowKeyText::from_values(vec![key.to_owned()]),
                ),
                common_page(&common),
            )
        });
    }
    for (name, key) in [
        ("as of, a row with 3 changes", "cold"),
        ("as of, a row with 10,000 changes", "hot-1"),
    ] {
        let instant = "2026-07-01T00:00:00Z";
        list.push(Query {
            name,
            goal: AS_OF,
            ours: Ours::AsOf(DocumentAsOf::new(
                "table_1".parse()?,
                &RowKeyText::from_values(vec![key.to_owned()]),
                instant.parse()?,
            )),
            common: Some(format!(
                "SELECT c.data_after FROM common.changes AS c \
                 WHERE c.table_schema = 'public' AND c.table_name = 'table_1' \
                 AND c.table_pk = '{{\"id\": \"{key}\"}}' AND c.captured_at <= '{instant}' \
                 ORDER BY c.captured_at DESC, c.id DESC LIMIT 1"
            )),
        });
    }
    Ok(list)
}

/// The query of the page after a number of entries.
async fn far_page(trail: &Trail, list: &Timeline, entries: u32) -> Result<Timeline> {
    let mut conn = trail.connect().await?;
    let mut query = list.clone();
    let mut left = entries;
    while left > 0 {
        let step = left.min(threadline_diesel::query::MAX_PAGE_SIZE);
        let sized = query.clone().page_size(PageSize::new(step)?);
        let next = threadline_diesel::timeline(&mut conn, &sized).await?.next;
        query = list.clone().after(next.context("more pages")?);
        left -= step;
    }
    Ok(query)
}

async fn page_1000(
    trail: &Trail,
    name: &'static str,
    list: Timeline,
    filter: &str,
) -> Result<Query> {
    let query = far_page(trail, &list, BEFORE_PAGE_1000).await?;
    let place = trail
        .text(&format!(
            "SELECT format('(%L::timestamptz, %L::uuid)', captured_at, id) FROM common.changes AS c \
             WHERE {filter} ORDER BY captured_at DESC, id DESC OFFSET {} LIMIT 1",
            BEFORE_PAGE_1000 - 1
        ))
        .await?;
    let common = common_page(&format!("{filter} AND (c.captured_at, c.id) < {place}"));
    Ok(page(name, query, common))
}

/// The incident of a transaction with exactly this number of changes.
async fn incident(trail: &Trail, name: &'static str, changes: i32) -> Result<Query> {
    let of = |schema: &str, changes_table: &str| {
        format!(
            "SELECT transaction_id::text FROM {schema}.{changes_table} GROUP BY transaction_id \
             HAVING count(*) = {changes} ORDER BY min(captured_at) LIMIT 1"
        )
    };
    let ours = trail.text(&of("threadline", "audit_changes")).await?;
    let common = trail.text(&of("common", "changes")).await?;
    Ok(Query {
        name,
        goal: INCIDENT.filter(|_| changes == 1),
        ours: Ours::Incident(ours.parse()?),
        common: Some(format!(
            "{COMMON_PAGE} WHERE c.transaction_id = '{common}' ORDER BY c.captured_at, c.id"
        )),
    })
}

/// Runs every query on both layouts, interleaved.
pub(crate) async fn measure(trail: &Trail) -> Result<Vec<Measured>> {
    let mut conn = trail.connect().await?;
    let mut answered = Vec::new();
    for query in list(trail).await? {
        let one = measure_one(trail.client(), &mut conn, &query).await?;
        eprint!(
            "{}: p50 {:.2} ms, p95 {:.2} ms",
            one.name, one.ours.p50, one.ours.p95
        );
        match one.common {
            Some(common) => eprintln!("; common {:.2}, {:.2}", common.p50, common.p95),
            None => eprintln!(),
        }
        answered.push(one);
    }
    Ok(answered)
}

async fn measure_one(
    client: &Client,
    conn: &mut AsyncPgConnection,
    query: &Query,
) -> Result<Measured> {
    let prepare = async |sql: &str| client.prepare(sql).await;
    let ours = match &query.ours {
        Ours::Sql(sql) => Some(prepare(sql).await?),
        _ => None,
    };
    let common = match &query.common {
        Some(sql) => Some(prepare(sql).await?),
        None => None,
    };
    let (mut our_times, mut common_times) = (Vec::new(), Vec::new());
    let mut rows = 0;
    let started = Instant::now();
    while our_times.len() < WARM_UP + TIMES && (rows == 0 || started.elapsed() < TIME_LIMIT) {
        let start = Instant::now();
        rows = match (&query.ours, &ours) {
            (Ours::Timeline(query), _) => threadline_diesel::timeline(conn, query)
                .await?
                .entries
                .len(),
            (Ours::Incident(id), _) => {
                let bundle = threadline_diesel::incident(conn, *id).await?;
                bundle.map_or(0, |bundle| bundle.changes.len())
            }
            (Ours::Correlation(query), _) => {
                let bundle = threadline_diesel::correlation(conn, query).await?;
                bundle.changes.entries.len()
            }
            (Ours::AsOf(query), _) => {
                let known = threadline_diesel::document_as_of(conn, query).await?;
                usize::from(known.row().is_some())
            }
            (Ours::Sql(_), Some(statement)) => rows_of(client, statement).await?,
            (Ours::Sql(_), None) => 0,
        };
        our_times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(rows > 0, "`{}` returns no rows", query.name);
        if let Some(statement) = &common {
            let start = Instant::now();
            rows_of(client, statement).await?;
            common_times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Measured {
        name: query.name,
        goal: query.goal,
        rows,
        ours: times(our_times),
        common: common.map(|_| times(common_times)),
    })
}

async fn rows_of(client: &Client, statement: &Statement) -> Result<usize> {
    Ok(client.query(statement, &[]).await?.len())
}

/// The percentiles, without the warm-up runs if there are enough samples.
fn times(mut samples: Vec<f64>) -> Times {
    if samples.len() > 2 * WARM_UP {
        samples.drain(..WARM_UP);
    }
    samples.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (samples.len() * percent).div_ceil(100).max(1) - 1;
        samples.get(place).copied().unwrap_or_default()
    };
    Times {
        p50: at(50),
        p95: at(95),
    }
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn percentiles_are_samples() {
        let found = times((1..=105).map(f64::from).collect());
        assert!((found.p50 - 55.0).abs() < f64::EPSILON);
        assert!((found.p95 - 100.0).abs() < f64::EPSILON);
        assert!((times(vec![7.0]).p95 - 7.0).abs() < f64::EPSILON);
    }
}
