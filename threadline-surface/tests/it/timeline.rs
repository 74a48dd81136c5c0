//! The timeline and its parts.

mod following;
mod heat_strip;
mod visibility;

use std::time::Duration;

use axum::http::StatusCode;
use diesel_async::SimpleAsyncConnection;
use threadline_surface::Limits;

use crate::harness::{Answer, Lane, Site, Trail, block_on};

/// The captured table with a hostile name.
const ODD: &str = r#""odd <schema>"."t ""<b>'1""#;

/// A trail with invoices 1 to `count`, written by Alice for tenant 7, one transaction each.
fn invoices(count: u32) -> Trail {
    let trail = Trail::new();
    for id in 1..=count {
        trail.write(
            "user:alice",
            7,
            &format!("INSERT INTO invoices VALUES ({id}, {id}00)"),
        );
    }
    trail
}

/// The page of an address below the base path, which must be fine.
fn page(site: &Site, address: &str, lane: Lane) -> Answer {
    let answer = block_on(site.get(&format!("/audit{address}"), lane));
    assert_eq!(answer.status, StatusCode::OK, "{address}: {}", answer.text);
    answer
}

fn follow_link(site: &Site, answer: &Answer, selector: &str) -> Answer {
    let address = answer.attributes(selector, "href").pop().unwrap();
    let answer = block_on(site.get(&address, Lane::Admin));
    assert_eq!(answer.status, StatusCode::OK, "{address}: {}", answer.text);
    answer
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.attributes(".entries li[data-id]", "data-id")
}

#[test]
fn a_timeline_shows_changes_with_their_rows_values_and_actors() {
    let trail = invoices(1);
    trail.run("UPDATE invoices SET total_cents = 8910");
    let answer = page(&trail.site(), "/timeline", Lane::Admin);
    let entries = answer.texts(".entries > li");
    assert_eq!(entries.len(), 2);
    for part in [
        "update",
        "invoices",
        "unattributed",
        "db user",
        "was 100",
        "now 8910",
    ] {
        assert!(entries[0].contains(part), "{part}: {}", entries[0]);
    }
    assert!(entries[1].contains("user:alice"), "{}", entries[1]);
    assert_eq!(
        answer.attributes("nav.screens a[aria-current]", "href"),
        ["/audit/timeline"]
    );
    assert!(answer.texts(".terminal code")[0].starts_with("threadline timeline"));
}

#[test]
fn a_filter_is_a_chip_that_removes_it() {
    let trail = invoices(2);
    let site = trail.site();
    let answer = page(
        &site,
        "/timeline?table=invoices&key=2&actor=user:alice",
        Lane::Admin,
    );
    assert_eq!(answer.texts(".entries > li").len(), 1);
    assert_eq!(answer.texts(".chips li").len(), 3);
    let links = answer.attributes(".chips a", "href");
    assert!(
        !links[0].contains("key="),
        "a key needs its table: {}",
        links[0]
    );
    let without = block_on(site.get(&links[1], Lane::Admin));
    assert_eq!(without.texts(".entries > li").len(), 2);
    assert_eq!(answer.attributes("details[open] summary", "open").len(), 0);
}

#[test]
fn the_fold_of_more_filters_is_open_when_one_is_used() {
    let trail = invoices(1);
    let site = trail.site();
    let closed = page(&site, "/timeline?table=invoices", Lane::Admin);
    assert!(closed.texts("form details[open]").is_empty());
    let open = page(&site, "/timeline?table=invoices&request=req-7", Lane::Admin);
    assert_eq!(
        open.texts("form details[open] summary"),
        ["More filters (1 used)"]
    );
    assert_eq!(open.texts(".entries > li").len(), 1);
}

#[test]
fn filters_without_an_index_read_the_last_day_and_say_so() {
    let trail = invoices(1);
    let site = trail.site();
    trail.run(
        "SET session_replication_role = replica;
         UPDATE threadline.audit_changes SET captured_at = captured_at - interval '3 days'",
    );
    let answer = page(&site, "/timeline?op=insert", Lane::Admin);
    assert!(ids(&answer).is_empty());
    let text = answer.texts("main").join(" ");
    assert!(text.contains("last 24 hours only"), "{text}");
    assert!(text.contains("the last one before it"), "{text}");
    let all = follow_link(&site, &answer, ".chips .added a:last-child");
    assert_eq!(ids(&all).len(), 1);
    assert!(all.texts(".chips .added").is_empty());
    let json = page(&site, "/timeline?op=insert&format=json", Lane::Admin);
    assert!(
        json.text.contains(r#""op":"insert""#),
        "a document has no window added"
    );
}

#[test]
fn a_relative_window_pages_to_its_end_and_back_and_can_be_live_again() {
    let trail = invoices(5);
    let site = trail.site();
    let first = page(
        &site,
        "/timeline?table=invoices&from=-24h&limit=2",
        Lane::Admin,
    );
    let mut seen = ids(&first);
    let second = follow_link(&site, &first, "a[rel=next]");
    trail.write("user:bob", 7, "INSERT INTO invoices VALUES (99, 1)");
    assert!(second.texts(".chips").join(" ").contains("live again"));
    let address = &first.attributes("a[rel=next]", "href")[0];
    assert!(!address.contains("&from=-24h"), "{address}");
    seen.extend(ids(&second));
    let third = follow_link(&site, &second, "a[rel=next]");
    seen.extend(ids(&third));
    let mut expected: Vec<_> = seen.clone();
    expected.sort_by_key(|id| std::cmp::Reverse(id.parse::<i64>().unwrap()));
    expected.dedup();
    assert_eq!((seen.len(), &seen), (5, &expected));
    assert!(third.attributes("a[rel=next]", "href").is_empty());
    let back = follow_link(&site, &third, "a[rel=prev]");
    assert_eq!(ids(&back), ids(&second));
    let fixed = third.attributes(".chips a", "href").pop().unwrap();
    let live = block_on(site.get(&fixed, Lane::Admin));
    assert_eq!(ids(&live).len(), 2);
    assert!(live.texts("main").join(" ").contains("user:bob"));
}

#[test]
fn a_cursor_of_another_list_is_400_with_a_link_to_its_start() {
    let trail = invoices(3);
    let site = trail.site();
    let first = page(&site, "/timeline?table=invoices&limit=1", Lane::Admin);
    let next = first.attributes("a[rel=next]", "href").remove(0);
    let foreign = next.replace("table=public.invoices", "actor=user%3Aalice");
    let answer = block_on(site.get(&foreign, Lane::Admin));
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let start = follow_link(&site, &answer, "main .empty a");
    assert_eq!(ids(&start).len(), 1);
    assert!(start.text.contains("user:alice"));
}

#[test]
fn windows_are_shifted_and_widened_by_links() {
    let trail = invoices(1);
    let site = trail.site();
    let live = page(&site, "/timeline?from=-24h", Lane::Admin);
    assert_eq!(live.texts("nav.window [aria-current]"), ["24h"]);
    let links = live.attributes("nav.window a.button", "href");
    assert!(
        links[2].contains("from=-2d"),
        "a wider window stays live: {}",
        links[2]
    );
    assert!(links[1].contains("&to="), "{}", links[1]);
    let future = page(
        &site,
        "/timeline?from=2100-01-01&to=2100-01-02",
        Lane::Admin,
    );
    let text = future.texts(".empty").join(" ");
    assert!(text.contains("the last one before it"), "{text}");
    let earlier = block_on(site.get(&links[0], Lane::Admin));
    let text = earlier.texts(".empty").join(" ");
    assert!(text.contains("the first one after it"), "{text}");
    let found = follow_link(&site, &earlier, ".empty li a");
    assert_eq!(ids(&found).len(), 1);
}

#[test]
fn the_count_is_a_part_and_a_link_without_the_script() {
    let trail = invoices(2);
    let site = trail.site();
    let answer = page(&site, "/timeline?table=invoices", Lane::Admin);
    let part = answer
        .attributes("#count [data-fragment]", "data-fragment")
        .remove(0);
    let count = block_on(site.get(&part, Lane::Admin));
    assert_eq!(count.text, "2 changes");
    let inline = follow_link(&site, &answer, "#count a");
    assert_eq!(inline.texts("#count"), ["2 changes"]);
    trail.run("INSERT INTO invoices SELECT n, n FROM generate_series(10, 10100) AS n");
    let many = block_on(site.get(&part, Lane::Admin));
    assert_eq!(many.text, "10,000+ changes");
}

#[test]
fn the_volume_is_a_chart_whose_bars_are_links_with_a_table_beside() {
    let trail = invoices(3);
    let site = trail.site();
    let answer = page(&site, "/timeline?table=invoices&from=-1h", Lane::Admin);
    let part = answer.attributes(".volume", "data-fragment").remove(0);
    let part = block_on(site.get(&part, Lane::Admin));
    assert!(
        part.texts("figcaption")[0].starts_with("3 changes from"),
        "{}",
        part.text
    );
    assert_eq!(part.texts("svg a").len(), 60);
    let inline = follow_link(&site, &answer, ".volume a");
    let bar = inline.attributes("figure tbody a", "href").remove(0);
    let bar = block_on(site.get(&bar, Lane::Admin));
    assert!(!ids(&bar).is_empty());
    assert_eq!(part.attributes("svg a:last-child", "aria-label").len(), 1);
}

#[test]
fn a_chart_by_table_actor_and_op_counts_exactly_and_links_to_the_changes() {
    let trail = Trail::new();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices VALUES (1, 1), (2, 2)",
    );
    trail.write("user:bob", 8, "DELETE FROM invoices WHERE id = 2");
    trail.run(&format!("INSERT INTO {ODD} VALUES ('x', 8, 'n')"));
    let site = trail.site();
    let rows = |address: &str, lane| page(&site, address, lane).texts("figure tbody tr");
    for (by, expected) in [
        (
            "table",
            vec!["public.invoices3".to_owned(), format!("{ODD}1")],
        ),
        (
            "actor",
            ["user:alice2", "user:bob1", "unattributed1"]
                .map(ToOwned::to_owned)
                .to_vec(),
        ),
        (
            "op",
            ["+ insert3", "− delete1"].map(ToOwned::to_owned).to_vec(),
        ),
    ] {
        let part = format!("/parts/volume?by={by}");
        assert_eq!(rows(&part, Lane::Admin), expected, "{by}");
        let answer = page(&site, &part, Lane::Admin);
        assert_eq!(answer.texts("figcaption"), ["4 changes."]);
        for (row, link) in expected
            .iter()
            .zip(answer.attributes("figure tbody a", "href"))
        {
            let listed = block_on(site.get(&link, Lane::Admin));
            let count = row.chars().last().and_then(|last| last.to_digit(10));
            assert_eq!(
                Some(ids(&listed).len()),
                count.map(|count| count as usize),
                "{link}"
            );
        }
    }
    assert_eq!(
        rows("/parts/volume?by=actor", Lane::Support),
        ["user:alice2"]
    );
    assert_eq!(
        rows("/timeline?volume=true&by=op&actor=user:bob", Lane::Admin),
        ["− delete1"]
    );
    let listed = page(&site, "/timeline?by=op&limit=2", Lane::Admin);
    let older = follow_link(&site, &listed, ".pager a[rel=next]");
    let part = older.attributes(".volume", "data-fragment").remove(0);
    assert!(part.contains("by=op"), "paging keeps the chart: {part}");
    let unknown = block_on(site.get("/audit/timeline?by=weekday", Lane::Admin));
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn an_unfiltered_volume_of_many_changes_is_an_estimate_of_records() {
    let trail = Trail::new();
    trail.run("INSERT INTO invoices SELECT n, n FROM generate_series(1, 6000) AS n");
    let site = trail.site();
    let all = page(&site, "/parts/volume?from=-1h", Lane::Admin);
    assert!(
        all.texts("figcaption")[0].starts_with("about 6,000 records"),
        "{}",
        all.text
    );
    let scoped = page(&site, "/parts/volume?from=-1h", Lane::Support);
    assert!(!scoped.text.contains("6,000"), "{}", scoped.text);
}

#[test]
fn changes_are_grouped_by_transaction_with_a_summary_of_tables() {
    let trail = Trail::new();
    trail.write(
        "user:alice",
        7,
        "INSERT INTO invoices VALUES (1, 1), (2, 2); UPDATE invoices SET total_cents = 3 WHERE id = 1",
    );
    let site = trail.site();
    let answer = page(&site, "/timeline", Lane::Admin);
    assert_eq!(ids(&answer).len(), 3);
    let answer = page(&site, "/timeline?group=transaction", Lane::Admin);
    let groups = answer.texts("ul[aria-label=Transactions] > li");
    assert_eq!(groups.len(), 1);
    assert!(
        groups[0].contains("invoices 2 insert, 1 update"),
        "{}",
        groups[0]
    );
    let some = page(
        &site,
        "/timeline?group=transaction&op=update&window=all",
        Lane::Admin,
    );
    let text = some.texts("ul[aria-label=Transactions] summary").join("");
    assert_eq!(text, "1 change of 3 match on this page");
}

#[test]
fn an_empty_answer_says_why() {
    let trail = invoices(1);
    let site = trail.site();
    for (query, reason) in [
        ("table=invoicse", "Similar tables"),
        ("table=invoices&key=77", "keys look like"),
        ("actor=user:alcie", "Similar actors:user:alice"),
        ("table=invoices&changed=notte", "without notte"),
        ("from=2020-01-01&to=2020-01-02", "the first one after it"),
    ] {
        let answer = page(&site, &format!("/timeline?{query}"), Lane::Admin);
        let text = answer.texts(".empty").join(" ");
        assert!(text.contains(reason), "{query}: {text}");
    }
    let nothing = page(&Trail::new().site(), "/timeline", Lane::Admin);
    assert!(nothing.texts(".empty")[0].contains("No changes yet"));
}

#[test]
fn invalid_filters_are_422_in_the_form_as_typed() {
    let trail = invoices(1);
    let site = trail.site();
    for (query, field, message) in [
        ("actor=nobody", "actor", "actor"),
        ("from=soon", "from", "not an instant"),
        ("key=1", "key", "a key needs its table"),
        ("from=-1h&to=-2h", "from", "ends before it begins"),
        ("limit=9999", "limit", "1 to"),
        ("table=invoices&key=abc", "key", "abc"),
        ("follow=true&group=transaction", "", "not grouped"),
        ("nmae=1", "", "no such parameter"),
    ] {
        let answer = block_on(site.get(&format!("/audit/timeline?{query}"), Lane::Admin));
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let text = answer.texts("[role=alert]").join(" ");
        assert!(text.contains(message), "{query}: {text}");
        if !field.is_empty() {
            let invalid = answer.attributes("[aria-invalid]", "name");
            assert!(invalid.contains(&field.to_owned()), "{query}: {invalid:?}");
            let link = format!("#field-{field}");
            assert!(
                answer.attributes("[role=alert] a", "href").contains(&link),
                "{query}"
            );
        }
    }
}

#[test]
fn the_json_document_is_that_of_the_command() {
    let trail = invoices(3);
    let answer = page(
        &trail.site(),
        "/timeline?table=invoices&limit=2&format=json",
        Lane::Admin,
    );
    let document: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(document["entries"].as_array().unwrap().len(), 2);
    assert_eq!(document["has_more"], true);
    assert_eq!(document["entries"][0]["actor_ref"]["id"], "alice");
}

#[test]
fn a_timeline_over_the_time_limit_names_the_filter_that_would_help() {
    let trail = invoices(1);
    let limits = Limits::default().statement_timeout(Duration::from_millis(200));
    let site = Site::new(trail.builder().limits(limits).build().unwrap());
    let answer = block_on(async {
        let mut conn = trail.connect().await;
        conn.batch_execute("BEGIN; LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        site.get("/audit/timeline?op=update&from=-7d", Lane::Admin)
            .await
    });
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = answer.texts(".empty").join(" ");
    assert!(text.contains("No index serves the filter op"), "{text}");
    assert!(
        text.contains("Add a table, an actor or a correlation"),
        "{text}"
    );
    assert_eq!(answer.texts(".empty a").len(), 3, "shorter windows");
}

#[test]
fn the_density_is_a_button_that_returns_to_the_list() {
    let trail = invoices(1);
    let site = trail.site();
    let answer = page(&site, "/timeline?table=invoices", Lane::Admin);
    let back = answer.attributes("input[name=back]", "value").remove(0);
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("back", &back)
        .append_pair("density", "compact")
        .finish();
    let stored = block_on(site.post("/audit/preferences", Lane::Admin, &form));
    assert_eq!(stored.status, StatusCode::SEE_OTHER);
    assert_eq!(stored.header("location"), "/audit/timeline?table=invoices");
}

#[test]
fn searches_in_stored_values_are_limited_in_number() {
    let trail = invoices(1);
    let limits = Limits::default().scans(0);
    let site = Site::new(trail.builder().limits(limits).build().expect("a console"));
    for address in ["/timeline?scan_values=x", "/parts/count?scan-values=x"] {
        let answer = block_on(site.get(&format!("/audit{address}"), Lane::Admin));
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{address}");
    }
    page(&site, "/timeline", Lane::Admin);
}
