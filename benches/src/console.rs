//! The time of pages of the operator console over a large trail, mounted in this process.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use comfy_table::Table;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use http::Request;
use http_body_util::BodyExt;
use threadline_surface::{Console, Grant, Visit};
use tower::util::ServiceExt;

use crate::reading::trail::Trail;
use crate::server::Server;

/// Measured requests of a page, after the warm-up requests.
const TIMES: usize = 200;
const WARM_UP: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct ConsoleArguments {
    /// The number of changes in the trail. 10 million take 14 GB.
    #[arg(long, value_name = "N", default_value_t = 10_000_000,
          value_parser = clap::value_parser!(i64).range(100_000..))]
    changes: i64,
    /// The number of runs; the minimum of their percentiles is printed.
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: u32,
    /// A server to measure on, where the role may create databases; a temporary server unless given.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

/// A page, with its goal for the 95th percentile in milliseconds.
struct Page {
    name: &'static str,
    goal: f64,
    address: String,
}

/// Percentiles of the time to the first byte, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    p50: f64,
    p95: f64,
}

/// Fills a trail, measures the pages and prints the results.
pub(crate) async fn measure(arguments: ConsoleArguments) -> Result<()> {
    let server = Server::start(arguments.database_url.as_deref())?;
    println!("{}\n", server.facts().await?);
    let trail = Trail::build_captured(&server, arguments.changes).await?;
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(trail.url());
    let pool = Pool::builder(manager).max_size(4).build()?;
    let console = Console::builder(pool)
        .authorize(|_: Visit| async { Grant::everything() })
        .build()?;
    let mut table = Table::new();
    table.set_header(["page", "bytes", "p50 ms", "p95 ms", "goal"]);
    for page in pages(&trail).await? {
        let mut best = Times {
            p50: f64::INFINITY,
            p95: f64::INFINITY,
        };
        let mut bytes = 0;
        for _ in 0..arguments.runs {
            let (times, length) = measure_page(&console, &page).await?;
            best = Times {
                p50: best.p50.min(times.p50),
                p95: best.p95.min(times.p95),
            };
            bytes = length;
        }
        table.add_row([
            page.name.to_owned(),
            bytes.to_string(),
            format!("{:.1}", best.p50),
            format!("{:.1}", best.p95),
            format!("{}", page.goal),
        ]);
    }
    println!(
        "{} changes, minimum of {} runs\n{table}",
        trail.changes(),
        arguments.runs
    );
    Ok(())
}

async fn pages(trail: &Trail) -> Result<Vec<Page>> {
    let transaction = trail
        .text(
            "SELECT transaction_id::text FROM threadline.audit_changes
             WHERE captured_at >= '2026-06-01' AND captured_at < '2026-07-01'
             GROUP BY transaction_id HAVING count(*) BETWEEN 48 AND 52 LIMIT 1",
        )
        .await?;
    let page = |name, goal, address: &str| Page {
        name,
        goal,
        address: address.to_owned(),
    };
    let row = "/rows?table=table_1&key=hot-1";
    Ok(vec![
        page("timeline", 40.0, "/timeline"),
        page("timeline of a busy table", 40.0, "/timeline?table=table_1"),
        page("row with 10,000 changes", 40.0, row),
        page(
            "transaction of 50",
            40.0,
            &format!("/transactions?id={transaction}"),
        ),
        page(
            "row as of an instant",
            40.0,
            &format!("{row}&at=2026-07-01T00:00:00Z"),
        ),
        page("start, without its parts", 60.0, "/"),
        page("part: volume by time", 80.0, "/parts/volume"),
        page(
            "part: volume of a busy table by actor",
            80.0,
            "/parts/volume?table=table_1&by=actor",
        ),
    ])
}

/// Requests a page again and again, one request at a time. Returns the times and the length of the page.
async fn measure_page(console: &Console, page: &Page) -> Result<(Times, usize)> {
    let mut times = Vec::new();
    let mut length = 0;
    for number in 0..WARM_UP + TIMES {
        let request = Request::get(&page.address).body(axum::body::Body::empty())?;
        let start = Instant::now();
        let mut response = console.clone().oneshot(request).await?;
        let status = response.status();
        let first = response.body_mut().frame().await.context("a body")??;
        let elapsed = start.elapsed();
        let first = first.into_data().map_or(0, |bytes| bytes.len());
        let rest = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{}: {status}", page.address);
        length = first + rest.len();
        if number >= WARM_UP {
            times.push(elapsed.as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let percentile =
        |hundredths: usize| times[(times.len() * hundredths / 100).min(times.len() - 1)];
    let times = Times {
        p50: percentile(50),
        p95: percentile(95),
    };
    Ok((times, length))
}
