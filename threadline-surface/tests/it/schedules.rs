//! Schedules of background exports.

use axum::http::StatusCode;

use crate::harness::{Lane, Site, Trail, block_on};

const SCHEDULES: &str = "/audit/exports/schedules";

const WEEKLY: &str =
    "name=weekly&cron=0+6+*+*+MON&zone=Europe/Berlin&file=csv&span=since_last&op=insert";

fn site() -> (Trail, Site) {
    let trail = Trail::new();
    let (builder, _) = trail.background_builder();
    let site = Site::new(builder.build().unwrap());
    (trail, site)
}

#[test]
fn a_schedule_is_added_run_paused_resumed_and_removed() {
    let (trail, site) = site();
    block_on(async {
        let form = site
            .get(
                &format!("{SCHEDULES}/new?table=invoices&op=insert"),
                Lane::Admin,
            )
            .await;
        assert_eq!(form.status, StatusCode::OK, "{}", form.text);
        let names = form.attributes("form.stack input[type=hidden]", "name");
        assert_eq!(names, ["table", "op"]);
        let added = site.post(SCHEDULES, Lane::Admin, WEEKLY).await;
        assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text);
        let entry = async || {
            let list = site.get(SCHEDULES, Lane::Admin).await;
            list.texts("[aria-label=Schedules] li").join(" ")
        };
        let shown = entry().await;
        assert!(
            shown.starts_with("weekly 0 6 * * MON Europe/Berlin next 2"),
            "{shown}"
        );
        assert!(shown.contains("CSV · op insert"), "{shown}");
        assert!(shown.contains("No job yet."), "{shown}");
        let act = async |path: &str, lane: Lane| {
            site.post(&format!("{SCHEDULES}/{path}"), lane, "name=weekly")
                .await
                .status
        };
        for path in ["run", "pause", "resume", "remove"] {
            assert_eq!(
                act(path, Lane::NoLog).await,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        assert_eq!(act("run", Lane::Admin).await, StatusCode::SEE_OTHER);
        let job = "SELECT actor || ' ' || schedule FROM threadline.audit_jobs";
        assert_eq!(trail.query(job), "admin:admin weekly");
        assert!(entry().await.contains("Last job queued"));
        assert_eq!(act("pause", Lane::Admin).await, StatusCode::SEE_OTHER);
        assert!(entry().await.contains("paused since"));
        assert_eq!(act("resume", Lane::Admin).await, StatusCode::SEE_OTHER);
        assert!(!entry().await.contains("paused"));
        assert_eq!(act("remove", Lane::Admin).await, StatusCode::SEE_OTHER);
        assert_eq!(entry().await, "");
        // The schedule, and its run.
        assert_eq!(trail.recorded(2).await, ["console.export ok"; 2]);
    });
}

#[test]
fn an_invalid_schedule_is_shown_again_with_the_error_at_its_field() {
    let (trail, site) = site();
    block_on(async {
        for (form, field, part) in [
            ("name=a&cron=0+25+*+*+*", "cron", "hour"),
            ("name=a&cron=0+0+30+2+*", "cron", "never due"),
            ("name=a", "cron", "write one"),
            ("name=Big+Name&cron=0+0+*+*+*", "name", "lower-case"),
            ("name=a&cron=0+0+*+*+*&zone=Mars", "zone", "Mars"),
        ] {
            let answer = site.post(SCHEDULES, Lane::Admin, form).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
            let error = answer.texts(&format!("#field-{field}-error")).join(" ");
            assert!(error.contains(part), "{form}: {error}");
        }
        site.post(SCHEDULES, Lane::Admin, WEEKLY).await;
        let taken = site.post(SCHEDULES, Lane::Admin, WEEKLY).await;
        assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(taken.texts("#field-name-error")[0].contains("exists"));
        let window = site
            .post(SCHEDULES, Lane::Admin, "name=b&cron=0+0+*+*+*&from=-1d")
            .await;
        assert_eq!(window.status, StatusCode::UNPROCESSABLE_ENTITY);
        let count = "SELECT count(*)::text FROM threadline.audit_schedules";
        assert_eq!(trail.query(count), "1");
    });
}

#[test]
fn a_scoped_schedule_has_the_key_of_the_scope() {
    let (trail, site) = site();
    block_on(async {
        let added = site.post(SCHEDULES, Lane::Auditor, WEEKLY).await;
        assert_eq!(added.status, StatusCode::SEE_OTHER, "{}", added.text);
        let schedule = "SELECT actor || ' ' || scope_key FROM threadline.audit_schedules";
        assert_eq!(trail.query(schedule), "admin:auditor tenant:7");
        let refused = site.post(SCHEDULES, Lane::NoKey, WEEKLY).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        // A job that the schedule queues when the actor has another scope is refused.
        trail.run("UPDATE threadline.audit_schedules SET scope_key = 'tenant:8'");
        let hidden = site.get(SCHEDULES, Lane::Auditor).await;
        assert!(hidden.attributes("li[data-id]", "data-id").is_empty());
    });
}
