//! What an erasure reaches beside the trail: jobs, schedules, archives, and the report of it.

use threadline::erasure::{ReachState, erasure_report};

use super::{map, plan, run, shop};
use crate::harness::Trail;

#[test]
fn the_report_names_what_is_done_what_expires_and_what_is_out_of_reach() {
    let trail = shop();
    trail.run(
        "INSERT INTO threadline.audit_feed_consumers (name, acknowledged_to) VALUES ('search', 0)",
    );
    let run = run(&trail.url(), &map(), 500);
    let report = trail.run_async(async |conn| {
        let days = chrono::TimeDelta::days(30);
        erasure_report(conn, run.id, Some(days)).await.unwrap()
    });
    let state = |place: &str| {
        let found = report
            .reach
            .iter()
            .find(|reach| reach.place.starts_with(place));
        found.unwrap().state
    };
    assert_eq!(state("trail"), ReachState::Done);
    assert_eq!(state("feed consumer search"), ReachState::OutOfReach);
    let at = run.finished_at.unwrap() + chrono::TimeDelta::days(30);
    assert_eq!(state("backups"), ReachState::By { at });
}

#[test]
fn jobs_and_schedules_of_a_person_get_the_pseudonym_and_the_schedules_pause() {
    let trail = shop();
    trail.run(
        "INSERT INTO threadline.audit_jobs (id, kind, request, actor)
         SELECT gen_random_uuid(), 'export', '{}', actor FROM unnest('{user:4242,user:4242,user:7}'::text[]) AS actor;
         INSERT INTO threadline.audit_schedules (name, kind, cron, time_zone, request, actor, next_due_at)
         VALUES ('hers', 'export', '@daily', 'UTC', '{}', 'user:4242', now()), ('other', 'export', '@daily', 'UTC', '{}', 'user:7', now())",
    );
    let planned = plan(&trail.url(), &map()).unwrap();
    assert_eq!((planned.jobs, planned.schedules), (2, 1));
    let run = run(&trail.url(), &map(), 500);
    let counted = |records| run.progress.field(records).unwrap().to_text();
    assert_eq!(
        (counted("jobs").as_str(), counted("schedules").as_str()),
        ("2", "1")
    );
    let actors =
        "SELECT string_agg(coalesce(actor, '-'), ' ' ORDER BY actor) FROM threadline.audit_jobs";
    let pseudonym = format!("user:{}", run.pseudonym);
    assert_eq!(
        trail.query_text(actors),
        format!("user:7 {pseudonym} {pseudonym}")
    );
    assert_eq!(
        trail.query_text(
            "SELECT string_agg(concat(name, ' ', actor, ' ', paused_at IS NOT NULL), ', ' ORDER BY name)
             FROM threadline.audit_schedules"
        ),
        format!("hers {pseudonym} t, other user:7 f")
    );
    let again = plan(&trail.url(), &map()).unwrap();
    assert!(again.is_empty(), "{again:?}");
}

/// Records that the archive on the storage `cold` was verified.
fn verify_archive(trail: &Trail, detail: &str) {
    trail.run(&format!(
        r#"SELECT threadline.record_check(jsonb_build_object('subject', 'archive_verification',
            'subject_ref', '{{"storage": "cold"}}'::jsonb, 'outcome', 'pass', 'summary_status', 'pass',
            'observed_from', now() - interval '300 days', 'observed_to', now(), 'detail', '{detail}'::jsonb))"#
    ));
}

#[test]
fn an_archive_is_unfinished_until_its_next_run_and_its_days_without_rows_are_out_of_reach() {
    let trail = shop();
    let planned = || plan(&trail.url(), &map()).unwrap().archives;
    assert_eq!(planned(), [""; 0]);
    verify_archive(&trail, "{}");
    assert_eq!(planned(), ["cold"]);
    let run = run(&trail.url(), &map(), 500);
    let reported = || {
        let report =
            trail.run_async(async |conn| erasure_report(conn, run.id, None).await.unwrap());
        let archives = report
            .reach
            .into_iter()
            .filter(|one| one.place.starts_with("archive cold"));
        archives
            .map(|one| (one.state, one.note))
            .collect::<Vec<_>>()
    };
    let states = || reported().into_iter().map(|one| one.0).collect::<Vec<_>>();
    assert_eq!(states(), [ReachState::Unfinished]);
    assert!(reported()[0].1.contains("`archive run`"));
    verify_archive(&trail, "{}");
    assert_eq!(states(), [ReachState::Done]);
    verify_archive(&trail, r#"{"pending": 2}"#);
    assert_eq!(states(), [ReachState::Unfinished]);
    assert!(reported()[0].1.contains("restore"));
    // Retention removed days that are archived.
    verify_archive(&trail, r#"{"pending": []}"#);
    trail.run("INSERT INTO threadline.audit_horizons VALUES ('public', 'members', now() - interval '90 days')");
    assert_eq!(states(), [ReachState::Done, ReachState::OutOfReach]);
}
