//! Background exports: queued, written by a worker, downloaded by their owner only.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use sha2::{Digest, Sha256};
use threadline_export::storage::Storages;
use threadline_surface::{BuildError, Exports};

use crate::harness::{Answer, Lane, Site, TENANT_KEY, Trail, block_on, request, run_worker};

const EXPORTS: &str = "/audit/exports";

/// A console with background exports over two changes of two tenants.
fn background() -> (Trail, Site, Storages) {
    let trail = Trail::new();
    trail.write("user:a", 7, "INSERT INTO invoices VALUES (1, 100, '=1+1')");
    trail.write(
        "user:b",
        8,
        "INSERT INTO invoices VALUES (2, 200, 'other tenant')",
    );
    let (builder, storages) = trail.background_builder();
    let site = Site::new(builder.build().unwrap());
    (trail, site, storages)
}

/// Opens the form with filters, and sends it.
async fn queue(site: &Site, lane: Lane, filters: &str, options: &str) -> Answer {
    let form = site.get(&format!("{EXPORTS}/new?{filters}"), lane).await;
    assert_eq!(form.status, StatusCode::OK, "{}", form.text);
    let names = form.attributes("form.stack input[type=hidden]", "name");
    let values = form.attributes("form.stack input[type=hidden]", "value");
    let hidden = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(names.iter().zip(&values))
        .finish();
    site.post(EXPORTS, lane, &format!("{hidden}&{options}"))
        .await
}

/// The id of the newest job.
fn newest_job(trail: &Trail) -> String {
    trail.query("SELECT id::text FROM threadline.audit_jobs ORDER BY id DESC LIMIT 1")
}

fn of_newest_job(trail: &Trail, column: &str) -> String {
    trail.query(&format!(
        "SELECT coalesce({column}::text, '') FROM threadline.audit_jobs ORDER BY id DESC LIMIT 1"
    ))
}

#[test]
fn an_export_is_queued_with_the_filters_and_its_file_is_for_its_owner_only() {
    let (trail, site, storages) = background();
    block_on(async {
        let page = site
            .get("/audit/timeline?table=invoices&from=-1h", Lane::Admin)
            .await;
        let links = page.attributes(".downloads a", "href");
        let form = links.iter().find(|link| link.contains("/exports/new?"));
        let (_, filters) = form.expect("a link to the form").split_once('?').unwrap();
        let queued = queue(&site, Lane::Admin, filters, "file=csv&actions=true&keep=3").await;
        assert_eq!(queued.status, StatusCode::SEE_OTHER, "{}", queued.text);
        assert_eq!(queued.header("location"), EXPORTS);
        let list = site.get(EXPORTS, Lane::Admin).await;
        let entry = list.texts("[aria-label=Exports] li").join(" ");
        assert!(entry.starts_with("queued"), "{entry}");
        assert!(entry.contains("CSV · table public.invoices"), "{entry}");
        let id = newest_job(&trail);
        let file = format!("{EXPORTS}/file?id={id}");
        let early = site.get(&file, Lane::Admin).await;
        assert_eq!(early.status, StatusCode::CONFLICT);

        run_worker(&trail, &storages).await;
        let list = site.get("/audit/parts/exports", Lane::Admin).await;
        let entry = list.texts("li").join(" ");
        assert!(entry.starts_with("completed"), "{entry}");
        assert!(entry.contains("2 changes"), "{entry}");
        // HEAD has the headers of the file, and is not recorded below.
        let head = request(Method::HEAD, &file, Lane::Admin, "");
        let head = site.send(head).await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.bytes.is_empty());
        let done = site.get(&file, Lane::Admin).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
        assert_eq!(
            head.header("content-disposition"),
            done.header("content-disposition")
        );
        assert_eq!(done.header("cache-control"), "no-store");
        assert!(
            done.header("content-security-policy")
                .starts_with("sandbox")
        );
        let name = done.header("content-disposition");
        assert!(
            name.contains("invoices-from-2") && name.ends_with(".csv\""),
            "{name}"
        );
        assert_eq!(done.text.lines().count(), 3, "{}", done.text);
        assert!(
            entry.contains(&hex::encode(Sha256::digest(&done.bytes))),
            "{entry}"
        );
        for lane in [Lane::NoLog, Lane::Auditor] {
            let other = site.get(&file, lane).await;
            let unknown = site
                .get(
                    &format!("{EXPORTS}/file?id=00000000-0000-7000-8000-000000000000"),
                    lane,
                )
                .await;
            assert_eq!(other.status, StatusCode::NOT_FOUND, "{lane:?}");
            assert_eq!(unknown.status, StatusCode::NOT_FOUND);
            let list = site.get(EXPORTS, lane).await;
            assert!(!list.text.contains(&id), "{lane:?}");
        }
        let moved = site
            .get(&format!("{EXPORTS}/download/{id}"), Lane::Admin)
            .await;
        assert_eq!(moved.header("location"), file);
        assert_eq!(
            trail.recorded(2).await,
            ["console.export ok", "console.export ok"]
        );
    });
}

#[test]
fn a_file_that_is_no_longer_kept_is_gone() {
    let (trail, site, storages) = background();
    block_on(async {
        queue(&site, Lane::Admin, "", "file=ndjson").await;
        run_worker(&trail, &storages).await;
        trail.run("UPDATE threadline.audit_jobs SET expires_at = now() - interval '1 second'");
        let file = format!("{EXPORTS}/file?id={}", newest_job(&trail));
        assert_eq!(site.get(&file, Lane::Admin).await.status, StatusCode::GONE);
        trail.run("UPDATE threadline.audit_jobs SET state = 'expired'");
        assert_eq!(site.get(&file, Lane::Admin).await.status, StatusCode::GONE);
        let list = site.get(EXPORTS, Lane::Admin).await;
        assert!(
            list.texts("li[data-id]")
                .join(" ")
                .contains("was kept until")
        );
        assert!(list.attributes("li[data-id] a.primary", "href").is_empty());
    });
}

#[test]
fn jobs_are_cancelled_and_retried_by_their_owner() {
    let (trail, site, _) = background();
    block_on(async {
        queue(&site, Lane::Admin, "op=insert", "file=json").await;
        let form = format!("id={}", newest_job(&trail));
        for path in ["cancel", "retry"] {
            let other = site
                .post(&format!("{EXPORTS}/{path}"), Lane::NoLog, &form)
                .await;
            assert_eq!(other.status, StatusCode::NOT_FOUND, "{path}");
        }
        let early = site
            .post(&format!("{EXPORTS}/retry"), Lane::Admin, &form)
            .await;
        assert_eq!(early.status, StatusCode::CONFLICT, "{}", early.text);
        let cancelled = site
            .post(&format!("{EXPORTS}/cancel"), Lane::Admin, &form)
            .await;
        assert_eq!(cancelled.status, StatusCode::SEE_OTHER);
        assert_eq!(of_newest_job(&trail, "state"), "cancelled");
        let late = site
            .post(&format!("{EXPORTS}/cancel"), Lane::Admin, &form)
            .await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        let retried = site
            .post(&format!("{EXPORTS}/retry"), Lane::Admin, &form)
            .await;
        assert_eq!(retried.status, StatusCode::SEE_OTHER);
        assert_eq!(of_newest_job(&trail, "state"), "queued");
    });
}

#[test]
fn a_failed_job_shows_its_error_in_words() {
    let (trail, site, _) = background();
    block_on(async {
        queue(&site, Lane::Admin, "", "file=csv").await;
        trail.run(
            "UPDATE threadline.audit_jobs SET state = 'failed', attempt = 5, error_code = 'storage_full',
                error_place = 'upload', ended_at = now()",
        );
        let list = site.get(EXPORTS, Lane::Admin).await;
        let entry = list.texts("li[data-id]").join(" ");
        assert!(
            entry.contains("failed") && entry.contains("The storage is full. Step: upload."),
            "{entry}"
        );
        assert!(
            list.attributes("form", "action")
                .contains(&format!("{EXPORTS}/retry"))
        );
    });
}

#[test]
fn a_scoped_export_has_the_key_of_the_scope_and_the_file_its_changes_only() {
    let (trail, site, storages) = background();
    block_on(async {
        let queued = queue(&site, Lane::Auditor, "table=invoices", "file=ndjson").await;
        assert_eq!(queued.status, StatusCode::SEE_OTHER, "{}", queued.text);
        assert_eq!(of_newest_job(&trail, "scope_key"), TENANT_KEY);
        assert_eq!(of_newest_job(&trail, "actor"), "admin:auditor");
        run_worker(&trail, &storages).await;
        let file = format!("{EXPORTS}/file?id={}", newest_job(&trail));
        let own = site.get(&file, Lane::Auditor).await;
        assert_eq!(own.text.lines().count(), 1, "{}", own.text);
        assert!(!own.text.contains("other tenant"));
        // A job of the same actor with another scope, or with none, is not part of this grant.
        for key in ["'tenant:8'", "NULL"] {
            trail.run(&format!(
                "UPDATE threadline.audit_jobs SET scope_key = {key}"
            ));
            let hidden = site.get(&file, Lane::Auditor).await;
            assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{key}");
            let list = site.get(EXPORTS, Lane::Auditor).await;
            assert!(
                list.attributes("li[data-id]", "data-id").is_empty(),
                "{key}"
            );
        }
        for address in ["/audit/exports/new", "/audit/exports/schedules/new"] {
            let refused = site.get(address, Lane::NoKey).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{address}");
            assert!(refused.text.contains("scope_key"), "{}", refused.text);
        }
        let refused = site.post(EXPORTS, Lane::NoKey, "file=csv").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    });
}

#[test]
fn queueing_needs_an_actor_values_and_a_pool_of_writers() {
    let trail = Trail::new();
    let (builder, storages) = trail.background_builder();
    let anonymous = Site::new(builder.actor(|_| None).build().unwrap());
    let (builder, _) = trail.background_builder();
    let site = Site::new(builder.build().unwrap());
    let without_writers = trail.builder().background(storages).build();
    assert!(matches!(without_writers, Err(BuildError::NoWriter)));
    block_on(async {
        for path in ["", "/new", "/schedules"] {
            let address = format!("{EXPORTS}{path}");
            let refused = anonymous.get(&address, Lane::Admin).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
            assert_eq!(refused.texts("h1"), ["No actor"], "{path}");
            let no_background = trail.site().get(&address, Lane::Admin).await;
            assert_eq!(no_background.status, StatusCode::FORBIDDEN, "{path}");
        }
        for path in ["/new", "/file?id=00000000-0000-7000-8000-000000000000"] {
            let refused = site.get(&format!("{EXPORTS}{path}"), Lane::NoValues).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
            assert!(refused.text.contains("values"), "{path}");
        }
        let page = trail.site().get("/audit/help", Lane::Admin).await;
        let links = page.attributes("nav.screens a", "href");
        assert!(!links.iter().any(|link| link == EXPORTS), "{links:?}");
    });
}

#[test]
fn a_download_that_is_too_large_leads_to_the_form_with_its_filters() {
    let trail = Trail::new();
    trail.write(
        "user:a",
        7,
        "INSERT INTO invoices SELECT n, n FROM generate_series(1, 4) AS n",
    );
    let (builder, _) = trail.background_builder();
    let site = Site::new(builder.exports(Exports::max_rows(3)).build().unwrap());
    block_on(async {
        let address = "/audit/download/changes.ndjson?op=insert&gzip=true";
        let refused = site.get(address, Lane::Admin).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let link = &refused.attributes("main a.button", "href")[0];
        let form = site.get(link, Lane::Admin).await;
        assert_eq!(form.status, StatusCode::OK, "{link}: {}", form.text);
        assert_eq!(form.attributes("option[selected]", "value"), ["ndjson"]);
        assert_eq!(form.attributes("input[checked]", "name"), ["gzip"]);
        assert!(
            form.attributes("input[type=hidden]", "value")
                .contains(&"insert".to_owned())
        );
    });
}

#[test]
fn an_invalid_form_is_shown_again_and_a_form_that_is_sent_twice_queues_one_job() {
    let (trail, site, _) = background();
    block_on(async {
        for (options, field) in [
            ("file=csv&keep=0", "keep"),
            ("file=parquet&gzip=true", "gzip"),
        ] {
            let answer = queue(&site, Lane::Admin, "op=insert", options).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
            assert_eq!(answer.texts("form [role=alert]").len(), 1, "{field}");
        }
        let misspelt = site
            .get(&format!("{EXPORTS}/new?table=invoces"), Lane::Admin)
            .await;
        assert_eq!(misspelt.status, StatusCode::UNPROCESSABLE_ENTITY);
        let count = || trail.query("SELECT count(*)::text FROM threadline.audit_jobs");
        assert_eq!(count(), "0");
        // The second request is a second later.
        for pause in [0, 1_100] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let twice = site
                .post(EXPORTS, Lane::Admin, "file=csv&once=same-form")
                .await;
            assert_eq!(twice.status, StatusCode::SEE_OTHER, "{}", twice.text);
        }
        assert_eq!(count(), "1");
        for _ in 1..5 {
            queue(&site, Lane::Admin, "", "file=csv").await;
        }
        let sixth = queue(&site, Lane::Admin, "", "file=csv").await;
        assert_eq!(sixth.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(count(), "5");
    });
}
