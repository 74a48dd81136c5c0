//! Nothing of another tenant reaches a scoped reader, by any route or file.

use axum::http::{Method, StatusCode};
use diesel_async::SimpleAsyncConnection;
use threadline_core::action::Action;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_diesel::{AuditError, AuditedWrite, audited, record_action};
use threadline_export::storage::Storages;
use threadline_surface::{Limits, Route, SCREENS};

use crate::harness::{Answer, Lane, Site, Trail, block_on, run_worker};

/// A word in every record of the tenant whom the reader must not see: keys, values, actor, action, reason,
/// request, correlation, job, source, `meta` and the name of a table.
const FOREIGN: &str = "zebra";

/// A word of the reader's own tenant.
const OWN: &str = "horse";

/// A word that nothing has, of the same length as the foreign one.
const MISSING: &str = "okapi";

/// What addresses name.
#[derive(Debug, Clone)]
struct Records {
    change: String,
    transaction: String,
    action: String,
    /// An export of an operator of the tenant.
    job: String,
    word: &'static str,
}

struct Tenants {
    trail: Trail,
    site: Site,
    storages: Storages,
    own: Records,
    foreign: Records,
}

impl Tenants {
    fn new() -> Self {
        let trail = Trail::new();
        trail.run(
            "CREATE TABLE notes (id text PRIMARY KEY, note text);
             CREATE TABLE zebra_plans (id text PRIMARY KEY, note text)",
        );
        trail.capture("notes", &[], &[]);
        trail.capture("zebra_plans", &[], &[]);
        let own = write(&trail, 7, OWN, "notes");
        write(&trail, 8, FOREIGN, "zebra_plans");
        let foreign = write(&trail, 8, FOREIGN, "notes");
        for (tenant, word) in [(7, OWN), (8, FOREIGN)] {
            queue_work(&trail, tenant, word);
        }
        let (builder, storages) = trail.background_builder();
        // One actor opens every address.
        let limits = Limits::default().requests(u32::MAX);
        let site = Site::new(builder.limits(limits).build().unwrap());
        Self {
            trail,
            site,
            storages,
            own,
            foreign,
        }
    }

    fn missing(&self) -> Records {
        Records {
            change: "987654".to_owned(),
            transaction: flipped(&self.foreign.transaction),
            action: flipped(&self.foreign.action),
            job: flipped(&self.foreign.job),
            word: MISSING,
        }
    }
}

/// An id that nothing has.
fn flipped(id: &str) -> String {
    let last = if id.ends_with('7') { "8" } else { "7" };
    format!("{}{last}", &id[..id.len() - 1])
}

/// Writes under an action, and records an action without changes and one that failed.
fn write(trail: &Trail, tenant: u32, word: &'static str, table: &str) -> Records {
    let id = |kind: &str| format!("{word}-{kind}").parse().unwrap();
    let context = AuditContext::new(ActorRef::user(word).unwrap())
        .on_behalf_of(ActorRef::user(format!("{word}-customer")).unwrap())
        .request_id(id("req"))
        .correlation_id(id("cor"))
        .job_id(id("job"))
        .source(format!("{word}-source"))
        .meta("tenant", tenant)
        .meta("plan", word);
    let action = |name: &str| {
        Action::new(format!("{word}.{name}"))
            .unwrap()
            .category(format!("{word}-category"))
            .reason(format!("{word} reason"))
            .comment(format!("{word} comment"))
    };
    let written = AuditedWrite::new(context.clone()).action(action("write"));
    let sql = format!(
        "INSERT INTO {table} VALUES ('{word}-1', '{word} first');
         UPDATE {table} SET note = '{word} second' WHERE id = '{word}-1'"
    );
    block_on(async {
        let mut conn = trail.connect().await;
        audited::<_, AuditError, _>(&mut conn, &written, async |conn| {
            conn.batch_execute(&sql).await.map_err(AuditError::from)
        })
        .await
        .unwrap();
        record_action(&mut conn, &context, &action("look"))
            .await
            .unwrap();
    });
    let change = trail.newest_change().to_string();
    let of = |column: &str| {
        trail.query(&format!(
            "SELECT {column}::text FROM threadline.audit_changes WHERE id = {change}"
        ))
    };
    Records {
        transaction: of("transaction_id"),
        action: of("action_id"),
        job: job_id(tenant),
        change,
        word,
    }
}

/// The id of the export of a tenant.
fn job_id(tenant: u32) -> String {
    format!("0197c2a0-0000-7000-8000-0000000000{tenant}1")
}

/// Queues an export and a schedule whose filters have a word, by an operator of a tenant: of the reader's own
/// tenant, the reader.
fn queue_work(trail: &Trail, tenant: u32, word: &str) {
    let actor = if tenant == 7 { "auditor" } else { word };
    let request = format!(
        r#"{{"filters": {{"action": "{word}.write"}}, "format": {{"name": "ndjson"}}, "storage": "memory"}}"#
    );
    trail.run(&format!(
        "INSERT INTO threadline.audit_jobs (id, kind, request, actor, scope_key)
            VALUES ('{}', 'export', '{request}', 'admin:{actor}', 'tenant:{tenant}');
         INSERT INTO threadline.audit_schedules
            (name, kind, cron, time_zone, request, actor, scope_key, next_due_at)
            VALUES ('{word}', 'export', '0 0 1 1 *', 'UTC', '{request}', 'admin:{actor}', 'tenant:{tenant}',
                now() + interval '1 day')",
        job_id(tenant)
    ));
}

/// Queries that name records or list all, for every route; a route that has no such parameter answers 422.
fn queries(records: &Records) -> Vec<String> {
    let word = records.word;
    let key = format!("{word}-1");
    let mut queries = vec![
        String::new(),
        format!("id={}", records.change),
        format!("id={}", records.transaction),
        format!("transaction={}", records.transaction),
        format!("id={}", records.job),
        format!("action={word}.write&file=csv"),
        format!("table=notes&key={key}"),
        format!("table=notes&key={key}&at=2030-01-01"),
        format!("table=notes&key={key}&a=2020-01-01&b=2030-01-01"),
        format!("table=notes&key={key}&field=note"),
        format!("table=notes&key={key}&field=note&became={word}+second"),
        format!("table={word}_plans"),
        format!("table={word}_plans&key={key}"),
        "table=notes".to_owned(),
        "schema=public".to_owned(),
        format!("actor=user:{word}"),
        format!("on_behalf_of=user:{word}-customer"),
        format!("action={word}.write"),
        format!("name={word}.look"),
        format!("correlation={word}-cor"),
        format!("request={word}-req"),
        format!("job={word}-job"),
        format!("category={word}-category&from=2020-01-01"),
        format!("scan_values={word}&from=2020-01-01"),
        "op=update&from=2020-01-01".to_owned(),
        "follow=2030-01-01T00:00:00Z".to_owned(),
        "table=notes&volume=true&count=true".to_owned(),
        "by=actor&volume=true".to_owned(),
        "by=table-time&volume=true".to_owned(),
        "by=actor-time&volume=true".to_owned(),
        "table=notes&group=transaction".to_owned(),
        "from=2020-01-01&to=2020-01-02".to_owned(),
        "category=console".to_owned(),
        "status=ok".to_owned(),
        format!("q=user:{word}"),
        format!("q=notes+{key}"),
    ];
    for list in ["transactions", "changes", "actions", "behalf"] {
        queries.push(format!("actor=user:{word}&list={list}"));
    }
    let ids = [&records.change, &records.transaction, &records.action];
    for found in [word, &key, "x"].into_iter().chain(ids.map(String::as_str)) {
        queries.push(format!("q={found}"));
    }
    for kind in ["req", "cor", "job"] {
        queries.push(format!("q={word}-{kind}"));
    }
    let documents: Vec<_> = (queries.iter())
        .map(|query| format!("{query}&format=json"))
        .collect();
    queries.extend(documents);
    queries
}

fn address(route: &Route, query: &str) -> String {
    let path = route.path().replace("{name}", "none.css");
    format!("/audit{path}?{query}")
}

fn reads() -> impl Iterator<Item = &'static Route> {
    SCREENS
        .iter()
        .filter(|route| *route.method() == Method::GET)
}

/// An answer without what the reader gave itself, without nonces and without digits.
fn told(answer: &Answer, given: &Records) -> String {
    let mut text = format!("{}\n{}", answer.header("location"), answer.text);
    if answer.header("content-type").starts_with("text/html")
        && let Some(nonce) = answer.attributes("script", "nonce").first()
    {
        text = text.replace(nonce.as_str(), "NONCE");
        // The key of a form differs in each answer.
        for key in answer.attributes("[name=once]", "value") {
            text = text.replace(&key, "ONCE");
        }
    }
    for id in [&given.transaction, &given.action, &given.job] {
        text = text.replace(id.as_str(), "GIVEN");
    }
    let text = text.replace(given.word, "GIVEN");
    let mut told = String::new();
    for one in text.chars() {
        let one = if one.is_ascii_digit() { '0' } else { one };
        if one != '0' || !told.ends_with('0') {
            told.push(one);
        }
    }
    // A snapshot ends with the transactions that run in other databases.
    let parts = told.split("0:0:");
    let parts = parts.map(|part| part.trim_start_matches(['0', ',']));
    parts.collect::<Vec<_>>().join("0:0:")
}

#[test]
fn records_of_another_tenant_look_like_records_that_do_not_exist_by_every_route() {
    let tenants = Tenants::new();
    let missing = tenants.missing();
    block_on(async {
        // Lengths in a Parquet file depend on the time; its changes are those of the other files.
        for route in reads().filter(|route| !route.path().ends_with(".parquet")) {
            for (hidden, none) in queries(&tenants.foreign).iter().zip(queries(&missing)) {
                let (hidden, none) = (address(route, hidden), address(route, &none));
                if hidden == none {
                    continue;
                }
                let seen = tenants.site.get(&hidden, Lane::Auditor).await;
                let none = tenants.site.get(&none, Lane::Auditor).await;
                assert_eq!(seen.status, none.status, "{hidden}");
                assert_eq!(
                    told(&seen, &tenants.foreign),
                    told(&none, &missing),
                    "{hidden}"
                );
            }
        }
    });
}

#[test]
fn no_route_shows_a_byte_of_another_tenant_to_questions_about_the_own_one() {
    let tenants = Tenants::new();
    block_on(async {
        let mut seen = 0;
        for route in reads() {
            for query in queries(&tenants.own) {
                let address = address(route, &query);
                let answer = tenants.site.get(&address, Lane::Auditor).await;
                let text = format!("{:?} {}", answer.headers, answer.text);
                seen += usize::from(answer.text.contains("horse second"));
                for hidden in [
                    FOREIGN,
                    &tenants.foreign.transaction,
                    &tenants.foreign.action,
                ] {
                    assert!(!text.contains(hidden), "{hidden} in {address}: {text}");
                }
            }
        }
        assert!(seen > 20, "the reader sees the own tenant: {seen}");
    });
}

#[test]
fn files_and_forms_of_background_exports_are_of_the_own_tenant() {
    let tenants = Tenants::new();
    block_on(async {
        run_worker(&tenants.trail, &tenants.storages).await;
        let file = |id: &str| format!("/audit/exports/file?id={id}");
        let own = tenants
            .site
            .get(&file(&tenants.own.job), Lane::Auditor)
            .await;
        assert_eq!(own.status, StatusCode::OK, "{}", own.text);
        assert!(own.text.contains("horse second") && !own.text.contains(FOREIGN));
        for (path, form) in [
            ("exports/cancel", format!("id={}", tenants.foreign.job)),
            ("exports/retry", format!("id={}", tenants.foreign.job)),
            ("exports/schedules/run", format!("name={FOREIGN}")),
            ("exports/schedules/pause", format!("name={FOREIGN}")),
            ("exports/schedules/resume", format!("name={FOREIGN}")),
            ("exports/schedules/remove", format!("name={FOREIGN}")),
        ] {
            let address = format!("/audit/{path}");
            let foreign = tenants.site.post(&address, Lane::Auditor, &form).await;
            let missing = form
                .replace(FOREIGN, MISSING)
                .replace(&tenants.foreign.job, &tenants.missing().job);
            let none = tenants.site.post(&address, Lane::Auditor, &missing).await;
            assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(
                told(&foreign, &tenants.foreign),
                told(&none, &tenants.missing()),
                "{path}"
            );
        }
        let jobs = "SELECT count(*)::text FROM threadline.audit_jobs WHERE actor = 'admin:zebra'";
        assert_eq!(tenants.trail.query(jobs), "1");
    });
}

#[test]
fn the_probes_find_the_tenant_where_no_scope_hides_it() {
    let tenants = Tenants::new();
    block_on(async {
        let mut found = 0;
        for route in reads() {
            for query in queries(&tenants.own) {
                let answer = tenants.site.get(&address(route, &query), Lane::Admin).await;
                found += usize::from(answer.text.contains(FOREIGN));
            }
        }
        assert!(found > 20, "{found}");
    });
}

#[test]
fn the_record_of_a_scoped_download_is_not_part_of_the_scope() {
    let tenants = Tenants::new();
    block_on(async {
        let address = "/audit/download/changes.csv?table=notes";
        let file = tenants.site.get(address, Lane::Auditor).await;
        assert_eq!(file.status, StatusCode::OK);
        assert!(file.text.contains("horse second") && !file.text.contains(FOREIGN));
        tenants.trail.recorded(1).await;
        let scoped =
            "SELECT meta ->> 'scoped' FROM threadline.audit_actions WHERE category = 'console'";
        assert_eq!(tenants.trail.query(scoped), "true");
    });
}
