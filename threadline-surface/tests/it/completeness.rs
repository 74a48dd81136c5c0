//! The completeness note on answers about tables.

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use threadline_diesel::Scope;
use threadline_surface::{Capability, Console, Grant, Visit};

use crate::harness::{Lane, Site, Trail, block_on};

async fn note(site: &Site, id: i64, lane: Lane) -> String {
    let answer = site.get(&format!("/audit/changes?id={id}"), lane).await;
    answer.texts(".completeness").join(" ")
}

#[test]
fn a_complete_trail_says_so_and_a_suspension_is_a_gap() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    let id = trail.newest_change();
    block_on(async {
        let complete = note(&site, id, Lane::Admin).await;
        assert!(
            complete.starts_with("Changes are known since"),
            "{complete}"
        );
        assert!(complete.ends_with("without a recorded gap."), "{complete}");
    });
    trail.write(
        "user:ops",
        7,
        "SELECT threadline.suspend_capture('{invoices}', 'backfill')",
    );
    block_on(async {
        let note = note(&site, id, Lane::Admin).await;
        assert!(note.contains("1 recorded gap"), "{note}");
        assert!(note.contains("capture was suspended"), "{note}");
        assert!(note.contains("backfill"), "{note}");
    });
}

#[test]
fn an_answer_about_several_tables_names_those_that_are_not_known_in_the_window() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    block_on(async {
        let note = async |address: &str| {
            let answer = site.get(address, Lane::Admin).await;
            answer.texts(".completeness").join(" ")
        };
        let all = note("/audit/timeline").await;
        assert!(
            all.starts_with("Changes of all 2 tables are known since"),
            "{all}"
        );
        let day = note("/audit/timeline?from=-24h").await;
        assert!(
            day.starts_with("2 of 2 tables are not known from the start of the window"),
            "{day}"
        );
        let instant = trail.query("SELECT (now() + interval '1 second')::text");
        let from = instant.replace(' ', "T").replace('+', "%2B");
        let now = note(&format!("/audit/timeline?from={from}:00")).await;
        assert!(
            now.starts_with("Complete in this window: all 2 tables"),
            "{now}"
        );
        let table = note("/audit/timeline?table=invoices&from=-24h").await;
        assert!(table.contains("after the start of the window"), "{table}");
    });
}

#[test]
fn errors_of_the_last_coverage_check_are_part_of_the_note() {
    let trail = Trail::new();
    let site = trail.site();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    let id = trail.newest_change();
    trail.run("ALTER TABLE invoices DISABLE TRIGGER USER");
    block_on(async {
        site.get("/audit/coverage", Lane::Admin).await;
        let note = note(&site, id, Lane::Admin).await;
        assert!(note.contains("coverage error"), "{note}");
    });
}

#[test]
fn a_scope_sees_the_facts_of_whole_tables_only_if_the_grant_says_so() {
    let trail = Trail::new();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100)");
    let id = trail.newest_change();
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(trail.url());
    let pool = Pool::builder(manager).max_size(2).build().unwrap();
    let console = Console::builder(pool)
        .authorize(|_: Visit| async {
            let scope = Scope::new().tables(["invoices".parse().unwrap()]);
            Grant::support(scope).with(Capability::Coverage)
        })
        .build()
        .unwrap();
    let granted = Site::new(console);
    block_on(async {
        let hidden = note(&trail.site(), id, Lane::Support).await;
        assert!(
            hidden.starts_with("You see the records in your scope."),
            "{hidden}"
        );
        let shown = note(&granted, id, Lane::Support).await;
        assert!(shown.contains("Changes are known since"), "{shown}");
    });
}
