//! Purges of archived days, and restores of them, also if they are killed.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::{CHANGES, Site, wait_until};

/// Partitions of the last days, instead of the current month.
const DAYS: &str = "
    DO $$
    DECLARE
        part record;
    BEGIN
        FOR part IN SELECT partition FROM threadline.trail_partitions() WHERE from_instant IS NOT NULL LOOP
            EXECUTE format('DROP TABLE %s', part.partition);
        END LOOP;
        UPDATE threadline.audit_settings SET partition_width = 'day';
        PERFORM threadline.create_partition(parent, day, 0)
        FROM unnest('{audit_changes,audit_transactions,audit_actions}'::text[]) AS parent,
            generate_series(now() - interval '5 days', now() + interval '3 days', '1 day') AS day;
    END
    $$";

/// A trail with a partition for each day, and the day that is three days ago.
fn site(count: u32) -> (Site, String) {
    let site = Site::with_changes(0);
    site.run(DAYS);
    site.run(&CHANGES.replace("@count@", &count.to_string()));
    site.answers(&["seal", "begin", "example.com/trail"]);
    site.seal();
    let day = site.query("SELECT ((now() AT TIME ZONE 'UTC')::date - 3)::text");
    (site, day)
}

/// What the command line answers about a day.
fn answers(site: &Site, day: &str) -> [String; 2] {
    let (from, to) = (format!("{day}T00:00:00Z"), format!("{day}T23:59:59Z"));
    let window = ["--from", from.as_str(), "--to", to.as_str()];
    let timeline = [&["timeline", "--json", "--limit", "100"], &window[..]].concat();
    let export = [&["export", "--format", "ndjson"], &window[..]].concat();
    [site.answers(&timeline), site.answers(&export)]
}

#[test]
fn only_archived_days_are_purged_and_a_restored_day_answers_as_before() {
    let (site, day) = site(300);
    let purge = [
        "retention",
        "purge",
        "--keep-days",
        "1",
        "--archived-only",
        "local",
        "--execute",
    ];
    let (code, refusal) = site.ends(&purge);
    assert_eq!(code, 2);
    assert!(refusal.contains("nothing is archived"), "{refusal}");
    assert_eq!(
        site.query("SELECT count(*) FROM threadline.audit_changes"),
        "300"
    );

    // Only the first day is archived: the others are kept.
    let second = site.query("SELECT ((now() AT TIME ZONE 'UTC')::date - 2)::text");
    site.seal();
    site.answers(&["archive", "run", "--before", &second]);
    let before = answers(&site, &day);
    assert!(before[1].lines().count() >= 90);
    site.answers(&purge);
    assert_eq!(
        site.query(&format!(
            "SELECT min(captured_at) >= '{second}T00:00Z' FROM threadline.audit_changes"
        )),
        "t"
    );
    assert_ne!(answers(&site, &day), before);

    let restore = [
        "archive", "restore", &day, "--reason", "ticket 1", "--for", "2d", "--json",
    ];
    let restored = site.json(&restore);
    assert_eq!(restored["from"], format!("{day}T00:00:00Z"));
    assert_eq!(restored["unerased"], 0);
    assert_eq!(answers(&site, &day), before);
    assert_eq!(
        site.query(
            "SELECT reason || ' ' || (keep_until - now() BETWEEN '47 hours' AND '48 hours') FROM threadline.audit_restored_spans"
        ),
        "ticket 1 true"
    );
    let (code, refusal) = site.ends(&restore);
    assert_eq!(code, 2);
    assert!(refusal.contains("`archive fetch`"), "{refusal}");
    for wrong in [&["2026-13"][..], &["2026-01", "--for", "31d"]] {
        let args = [&["archive", "restore", "--reason", "ticket 1"], wrong].concat();
        assert_eq!(site.ends(&args).0, 2, "{wrong:?}");
    }
    assert_eq!(site.answers(&["archive", "verify"]).lines().count(), 1);
}

fn start(site: &Site, day: &str) -> Child {
    let mut restore = site.command(&["archive", "restore", day, "--reason", "ticket 1"]);
    restore.stdout(Stdio::null()).stderr(Stdio::null());
    restore.spawn().expect("it starts")
}

#[test]
fn a_killed_restore_leaves_the_trail_as_it_was() {
    let (site, day) = site(6_000);
    site.answers(&["archive", "run"]);
    let before = answers(&site, &day);
    site.answers(&["retention", "purge", "--keep-days", "1", "--execute"]);
    let state = || {
        site.query(&format!(
            "SELECT count(*) || ' ' || (SELECT count(*) FROM pg_class WHERE relname LIKE 'audit%' || to_char('{day}'::date, '_YYYY_MM_DD'))
                || ' ' || (SELECT count(*) FROM threadline.audit_restored_spans)
             FROM threadline.audit_changes WHERE captured_at < '{day}'::timestamptz + interval '1 day'"
        ))
    };
    let purged = state();
    assert_eq!(purged, "0 0 0");
    let mut kills = 0;
    for milliseconds in (20..).step_by(60) {
        let mut restore = start(&site, &day);
        sleep(Duration::from_millis(milliseconds));
        if restore.try_wait().unwrap().is_some() {
            break;
        }
        restore.kill().unwrap();
        restore.wait().unwrap();
        wait_until("the server", || {
            site.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
        });
        if state() != purged {
            // It was killed after its commit.
            break;
        }
        kills += 1;
    }
    assert!(kills > 1, "{kills}");
    assert_eq!(answers(&site, &day), before);
}
