//! Downloads: complete or refused, authorized, recorded.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use threadline_surface::{Exports, Limits};

use crate::harness::{HOSTILE, Lane, Site, Trail, block_on, request};

const CSV: &str = "/audit/download/changes.csv";

/// A trail whose download is longer than the blocks that are sent ahead.
fn long_trail() -> Trail {
    let trail = Trail::new();
    trail.write(
        "user:a",
        7,
        "INSERT INTO invoices SELECT n, n, repeat('x', 500) FROM generate_series(1, 8000) AS n",
    );
    trail
}

async fn open(site: &Site, address: &str) -> Response<Body> {
    let response = site
        .open(request(Method::GET, address, Lane::Admin, ""))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    response
}

#[test]
fn a_download_has_the_filtered_changes_and_is_recorded_with_rows_and_digest() {
    let trail = Trail::new();
    let site = Site::new(trail.recording_builder().build().unwrap());
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100, '=1+1')");
    trail.write("user:b", 8, "INSERT INTO invoices VALUES (2, 200)");
    block_on(async {
        let address = format!("{CSV}?table=invoices&key=1&from=-1h&actions=true");
        let file = site.get(&address, Lane::Admin).await;
        assert_eq!(file.status, StatusCode::OK, "{}", file.text);
        assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(file.header("cache-control"), "no-store");
        assert!(
            file.header("content-security-policy")
                .starts_with("sandbox")
        );
        let name = file.header("content-disposition");
        assert!(
            name.starts_with("attachment; filename=\"invoices-from-2"),
            "{name}"
        );
        assert_eq!(file.text.lines().count(), 2, "{}", file.text);
        assert!(file.text.lines().next().unwrap().ends_with("comment"));
        assert!(file.text.contains("=1+1"));
        assert_eq!(trail.recorded(1).await, ["console.export ok"]);
    });
    let field = |name: &str| {
        trail.query(&format!(
            "SELECT meta ->> '{name}' FROM threadline.audit_actions WHERE category = 'console'"
        ))
    };
    assert_eq!(field("rows"), "1");
    assert_eq!(field("format"), "csv");
    let filters = field("filters");
    assert!(
        filters.contains("invoices") && filters.contains("sha256:"),
        "{filters}"
    );
    let actor = "SELECT actor::text FROM threadline.audit_actions WHERE category = 'console'";
    assert!(trail.query(actor).contains("admin"));
    let file = block_on(site.get(&format!("{CSV}?table=invoices&key=1"), Lane::Admin));
    let digest = hex::encode(Sha256::digest(&file.bytes));
    block_on(trail.recorded(2));
    let last = trail.query(
        "SELECT meta ->> 'sha256' FROM threadline.audit_actions WHERE category = 'console'
         ORDER BY order_id DESC LIMIT 1",
    );
    assert_eq!(last, digest);
}

#[test]
fn without_writers_a_download_writes_nothing() {
    let trail = Trail::new();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    let file = block_on(trail.site().get(CSV, Lane::Admin));
    assert_eq!(file.status, StatusCode::OK);
    let actions = trail.query("SELECT count(*)::text FROM threadline.audit_actions");
    assert_eq!(actions, "0");
}

#[test]
fn every_format_is_complete_and_compressed_files_are_sent_as_they_are() {
    let trail = Trail::new();
    let value = HOSTILE.replace('\'', "''");
    trail.write(
        "user:a",
        7,
        &format!("INSERT INTO invoices VALUES (1, 1, '{value}'), (2, 2, '=1+1')"),
    );
    let site = trail.site();
    block_on(async {
        for (file, start) in [
            ("csv", b"id,".as_slice()),
            ("json", b"{"),
            ("ndjson", b"{"),
            ("parquet", b"PAR1"),
            ("csv?gzip=true", &[0x1f, 0x8b]),
            ("ndjson?newest_first=true&gzip=true", &[0x1f, 0x8b]),
        ] {
            let address = format!("/audit/download/changes.{file}");
            let mut request = request(Method::GET, &address, Lane::Admin, "");
            let accepted = "gzip".parse().unwrap();
            request.headers_mut().insert("accept-encoding", accepted);
            let is_compressed = file == "parquet" || file.contains("gzip");
            if is_compressed {
                let answer = site.send(request).await;
                assert!(answer.headers.get("content-encoding").is_none(), "{file}");
                assert!(answer.bytes.starts_with(start), "{file}");
            }
            let plain = site.get(&address, Lane::Admin).await;
            assert!(plain.bytes.starts_with(start), "{file}");
        }
        let lines = site
            .get("/audit/download/changes.ndjson", Lane::Admin)
            .await;
        assert_eq!(lines.text.lines().count(), 2);
        assert!(lines.text.contains("<script>"));
    });
}

#[test]
fn a_download_over_the_limit_is_refused_with_the_command_and_never_cut() {
    let trail = Trail::new();
    trail.write(
        "user:a",
        7,
        "INSERT INTO invoices SELECT n, n FROM generate_series(1, 4) AS n",
    );
    let builder = trail.recording_builder().exports(Exports::max_rows(3));
    let site = Site::new(builder.build().unwrap());
    block_on(async {
        let refused = site.get(&format!("{CSV}?op=insert"), Lane::Admin).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let text = refused.texts("main").join(" ");
        assert!(
            text.contains("threadline export --op insert --format csv --output changes.csv"),
            "{text}"
        );
        let fits = site
            .get(&format!("{CSV}?table=invoices&key=2"), Lane::Admin)
            .await;
        assert_eq!(fits.status, StatusCode::OK);
        assert_eq!(trail.recorded(1).await, ["console.export ok"]);
    });
}

#[test]
fn a_download_that_is_denied_is_plain_text() {
    let trail = Trail::new();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 987654)");
    let site = trail.site();
    let off = Site::new(trail.builder().exports(Exports::off()).build().unwrap());
    block_on(async {
        for (site, lane, reason) in [
            (&site, Lane::Support, "export"),
            (&site, Lane::NoValues, "values"),
            (&off, Lane::Admin, "export"),
            (&site, Lane::Forbidden, "denied"),
        ] {
            let denied = site.get(CSV, lane).await;
            assert_eq!(denied.status, StatusCode::FORBIDDEN, "{lane:?}");
            assert_eq!(denied.header("content-type"), "text/plain; charset=utf-8");
            assert!(denied.text.contains(reason), "{lane:?}: {}", denied.text);
            assert!(denied.text.len() < 60, "{}", denied.text);
        }
        for (from, status) in [
            ("cross-site", StatusCode::FORBIDDEN),
            ("same-site", StatusCode::FORBIDDEN),
            ("same-origin", StatusCode::OK),
            ("none", StatusCode::OK),
        ] {
            let mut visit = request(Method::GET, CSV, Lane::Admin, "");
            let headers = visit.headers_mut();
            headers.insert("sec-fetch-site", from.parse().unwrap());
            headers.insert("sec-fetch-mode", "navigate".parse().unwrap());
            headers.insert("sec-fetch-dest", "document".parse().unwrap());
            assert_eq!(site.send(visit).await.status, status, "{from}");
        }
    });
}

#[test]
fn invalid_parameters_and_misspelt_tables_are_422_and_no_empty_file() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        for query in [
            "csv?table=invoces",
            "csv?after=x",
            "csv?op=none",
            "parquet?gzip=true",
        ] {
            let answer = site
                .get(&format!("/audit/download/changes.{query}"), Lane::Admin)
                .await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        }
        let empty = site
            .get("/audit/download/changes.ndjson?table=invoices", Lane::Admin)
            .await;
        assert_eq!((empty.status, empty.bytes.len()), (StatusCode::OK, 0));
    });
}

#[test]
fn a_client_that_goes_away_ends_the_export_which_is_recorded() {
    let trail = long_trail();
    let site = Site::new(trail.recording_builder().build().unwrap());
    block_on(async {
        let mut response = open(&site, CSV).await;
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert!(first.data_ref().unwrap().starts_with(b"id,"));
        drop(response);
        assert_eq!(trail.recorded(1).await, ["console.export error aborted"]);
    });
}

#[test]
fn a_client_that_takes_nothing_does_not_keep_the_snapshot() {
    let trail = long_trail();
    let limits = Limits::default().request_timeout(std::time::Duration::from_millis(900));
    let site = Site::new(trail.recording_builder().limits(limits).build().unwrap());
    block_on(async {
        let response = open(&site, CSV).await;
        assert_eq!(trail.recorded(1).await, ["console.export error aborted"]);
        let body = response.into_body().collect().await;
        assert!(body.is_err(), "the file is not complete");
    });
}

#[test]
fn an_error_after_the_head_aborts_the_body() {
    let trail = long_trail();
    let site = Site::new(trail.recording_builder().build().unwrap());
    block_on(async {
        let mut response = open(&site, CSV).await;
        response.body_mut().frame().await.unwrap().unwrap();
        trail.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND query LIKE '%FETCH%'",
        );
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(trail.recorded(1).await, ["console.export error failed"]);
    });
}

#[test]
fn as_many_downloads_as_allowed_run_at_once() {
    let trail = long_trail();
    let limits = Limits::default().downloads(1);
    let site = Site::new(trail.builder().limits(limits).build().unwrap());
    block_on(async {
        let running = open(&site, CSV).await;
        let second = site.get(CSV, Lane::Admin).await;
        assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(!second.header("retry-after").is_empty());
        running.into_body().collect().await.unwrap();
        let third = open(&site, CSV).await;
        third.into_body().collect().await.unwrap();
    });
}

#[test]
fn a_head_request_has_the_headers_and_exports_nothing() {
    let trail = long_trail();
    let site = Site::new(trail.recording_builder().build().unwrap());
    block_on(async {
        let head = site.send(request(Method::HEAD, CSV, Lane::Admin, "")).await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.header("content-disposition").contains("changes-at-"));
        assert!(head.bytes.is_empty());
        let actions = trail.query("SELECT count(*)::text FROM threadline.audit_actions");
        assert_eq!(actions, "0");
    });
}

#[test]
fn the_timeline_links_to_files_with_its_filters_for_grants_that_include_them() {
    let trail = Trail::new();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    let site = trail.site();
    block_on(async {
        let address = "/audit/timeline?table=invoices&op=insert";
        let page = site.get(address, Lane::Admin).await;
        let links = page.attributes(".downloads a", "href");
        assert_eq!(links.len(), 4, "{links:?}");
        assert!(
            links[0].starts_with("/audit/download/changes.csv?table="),
            "{links:?}"
        );
        for link in links {
            let file = site.get(&link, Lane::Admin).await;
            assert_eq!(file.status, StatusCode::OK, "{link}");
        }
        for lane in [Lane::Support, Lane::NoValues] {
            let page = site.get(address, lane).await;
            assert!(
                page.attributes(".downloads a", "href").is_empty(),
                "{lane:?}"
            );
        }
    });
}

#[test]
fn a_download_from_another_site_tells_a_hidden_visitor_nothing() {
    let trail = Trail::new();
    let site = trail.site();
    block_on(async {
        let mut from_elsewhere =
            request(Method::GET, "/audit/download/changes.csv", Lane::Hidden, "");
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ] {
            let value = HeaderValue::from_static(value);
            from_elsewhere.headers_mut().insert(name, value);
        }
        let answer = site.send(from_elsewhere).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_download_over_its_time_limit_is_not_a_file() {
    let trail = Trail::new();
    trail.write("user:1", 7, "INSERT INTO invoices VALUES (1, 5)");
    let limits = Limits::default().download_timeout(Duration::ZERO);
    let site = Site::new(trail.builder().limits(limits).build().expect("a console"));
    block_on(async {
        let answer = site.get("/audit/download/changes.csv", Lane::Admin).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    });
}
