//! Erasure of a person: values, actors and context, in batches, recorded, resumable and repeatable after a restore.

mod copies;

use threadline::ActorRef;
use threadline::context::ActorType;
use threadline::erasure::{
    EraseOptions, ErasureError, ErasurePlan, ErasureRun, SubjectMap, erase, erasure_records,
    erasure_runs, plan_erasure, replay_erasures,
};
use threadline::query::{RemovalTarget, TrailRecords};

use crate::harness::{Trail, captured, run_async_at, start_cluster};
use crate::identity::dump;

const TABLES: &str = "
    CREATE TABLE members (id int PRIMARY KEY, email text, city text);
    CREATE TABLE invoices (id int PRIMARY KEY, customer_id int, note text, total int)";

/// Values and ids of the person, and texts that the erasure must leave nowhere.
const ERASED: [&str; 7] = [
    "ann@example.org",
    "ann@new.example",
    "call Ann back",
    "user:4242",
    "203.0.113.77",
    "ann-device",
    "Ann asked by phone",
];

/// The trail of the person 4242, beside that of 7.
fn shop() -> Trail {
    let trail = captured(TABLES, &["members", "invoices"]);
    let act = |n: u32, actor: &str, on_behalf_of: &str, sql: &str| {
        let represented = match on_behalf_of {
            "" => String::new(),
            id => format!(r#""on_behalf_of": {{"type": "user", "id": "{id}"}},"#),
        };
        let (kind, id) = actor.split_once(':').unwrap();
        let address = if kind == "user" {
            "203.0.113.77"
        } else {
            "198.51.100.1"
        };
        let context = format!(
            r#"{{{represented} "remote_addr": "{address}", "meta": {{"device": "ann-device", "tenant": 1}}}}"#
        );
        let action = format!(
            r#"{{"id": "019a0000-0000-7000-8000-0000000000{n:02}", "name": "shop.work", "reason": "Ann asked by phone",
                "meta": {{"device": "ann-device", "step": {n}}}}}"#
        );
        trail.run(&format!(
            r#"SELECT threadline.begin_audited_work('{{"actor_ref": {{"type": "{kind}", "id": "{id}"}},
                "context": {context}, "action": {action}}}'); {sql}"#
        ));
    };
    act(
        1,
        "user:4242",
        "",
        "INSERT INTO members VALUES (4242, 'ann@example.org', 'Bath')",
    );
    act(
        2,
        "user:4242",
        "",
        "INSERT INTO invoices VALUES (1, 4242, 'call Ann back', 10)",
    );
    act(
        3,
        "user:4242",
        "",
        "UPDATE members SET email = 'ann@new.example'",
    );
    act(4, "admin:9", "4242", "UPDATE invoices SET total = 11");
    trail.run("INSERT INTO members VALUES (7, 'bob@example.org', 'Hull')");
    trail.run("INSERT INTO invoices VALUES (2, 7, 'keep this note', 10)");
    trail
}

fn map() -> SubjectMap {
    SubjectMap::new()
        .actor(ActorType::User)
        .row("members".parse().unwrap(), ["email"])
        .rows_where("invoices".parse().unwrap(), "customer_id", ["note"])
        .remote_addresses()
        .meta_keys(["device"])
        .action_texts()
}

fn plan(url: &str, map: &SubjectMap) -> Result<ErasurePlan, ErasureError> {
    run_async_at(url, async |conn| {
        plan_erasure(conn, map, &"4242".parse().unwrap()).await
    })
}

fn run(url: &str, map: &SubjectMap, batch: u32) -> ErasureRun {
    let plan = plan(url, map).unwrap();
    run_async_at(url, async |conn| {
        let reason = "erasure request 17".parse().unwrap();
        let options = EraseOptions::default().batch(batch);
        erase(conn, &plan, &reason, options, &mut |_| ())
            .await
            .unwrap()
    })
}

/// Everything that is stored in the schema of the trail, as text.
fn stored(trail: &Trail) -> String {
    dump(&trail.url()).map_or_else(
        || {
            let tables = [
                "changes",
                "transactions",
                "actions",
                "removals",
                "erasure_runs",
                "saved_views",
            ];
            let texts = tables.map(|table| {
                trail.query_text(&format!(
                    "SELECT string_agg(t::text, '') FROM threadline.audit_{table} AS t"
                ))
            });
            texts.join("\n")
        },
        |dump| {
            dump.lines()
                .filter(|line| line.contains("threadline."))
                .collect::<Vec<_>>()
                .join("\n")
        },
    )
}

#[test]
fn a_plan_counts_what_is_not_erased_and_changes_nothing() {
    let trail = shop();
    let before = stored(&trail);
    let plan = plan(&trail.url(), &map()).unwrap();
    let rows: Vec<_> = plan
        .tables
        .iter()
        .map(|table| (table.rows, table.changes))
        .collect();
    assert_eq!(rows, [(1, 2), (1, 2)]);
    assert_eq!((plan.changes, plan.transactions, plan.actions), (3, 4, 4));
    assert_eq!(plan.actors, ["user:4242"]);
    assert_eq!(stored(&trail), before);
}

#[test]
fn no_erased_value_is_left_in_a_dump_and_other_records_stay() {
    let trail = shop();
    trail.run(
        "INSERT INTO threadline.audit_saved_views (owner, name, is_shared, filters)
         VALUES ('user:4242', 'mine', false, '{\"actor\": \"user:4242\"}')",
    );
    let run = run(&trail.url(), &map(), 500);
    assert!(run.finished_at.is_some());
    let text = stored(&trail);
    for value in ERASED {
        assert!(!text.contains(value), "{value} is left");
    }
    for kept in [
        "bob@example.org",
        "keep this note",
        "admin:9",
        "tenant",
        "Bath",
        "shop.work",
    ] {
        assert!(text.contains(kept), "{kept} is gone");
    }
    let actors = "SELECT string_agg(DISTINCT actor, ',') FROM threadline.audit_changes WHERE actor LIKE 'user:%'";
    assert_eq!(trail.query_text(actors), format!("user:{}", run.pseudonym));
    let represented = "SELECT on_behalf_of || ' ' || (context ->> 'remote_addr') FROM threadline.audit_transactions
        WHERE actor = 'admin:9'";
    // The address belongs to the admin.
    assert_eq!(
        trail.query_text(represented),
        format!("user:{} 198.51.100.1", run.pseudonym)
    );
}

#[test]
fn joins_and_counts_by_actor_survive_under_the_pseudonym() {
    let trail = shop();
    let run = run(&trail.url(), &map(), 1);
    let actor: ActorRef = format!("user:{}", run.pseudonym).parse().unwrap();
    let count = |table: &str| {
        trail.query_text(&format!(
            "SELECT count(*) FROM threadline.audit_{table} WHERE actor = '{actor}'"
        ))
    };
    assert_eq!(
        (count("changes"), count("transactions"), count("actions")),
        ("3".into(), "3".into(), "3".into())
    );
    let removals = trail.run_async(async |conn| {
        threadline::removals(conn, &TrailRecords::new())
            .await
            .unwrap()
    });
    let people = removals.iter().filter(|removal| {
        matches!(&removal.target, RemovalTarget::PersonErasure { .. })
            && removal.reason == "erasure request 17"
    });
    assert_eq!(people.count(), 4 + 3 + 4 + 4, "each batch is recorded");
}

#[test]
fn a_second_erasure_finds_nothing_and_records_nothing() {
    let trail = shop();
    let first = run(&trail.url(), &map(), 500);
    assert!(plan(&trail.url(), &map()).unwrap().is_empty());
    let records = trail.query_text("SELECT count(*) FROM threadline.audit_removals");
    let second = run(&trail.url(), &map(), 500);
    assert_ne!(first.pseudonym, second.pseudonym);
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_removals"),
        records
    );
}

#[test]
fn an_erasure_killed_between_batches_continues_under_its_pseudonym() {
    let trail = shop();
    let plan = plan(&trail.url(), &map()).unwrap();
    let mut batches = 0;
    let killed = trail.run_async(async |conn| {
        let reason = "erasure request 17".parse().unwrap();
        let options = EraseOptions::default().batch(1);
        erase(conn, &plan, &reason, options, &mut |_| {
            batches += 1;
            if batches == 4 {
                trail.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                );
            }
        })
        .await
    });
    assert!(killed.is_err());
    let unfinished = trail.run_async(async |conn| erasure_runs(conn, 1).await.unwrap().remove(0));
    assert_eq!(unfinished.finished_at, None);
    assert!(stored(&trail).contains("user:4242"));
    let finished = run(&trail.url(), &map(), 1);
    assert_eq!(
        (finished.id, &finished.pseudonym),
        (unfinished.id, &unfinished.pseudonym)
    );
    let text = stored(&trail);
    for value in ERASED {
        assert!(!text.contains(value), "{value} is left");
    }
    let pseudonyms = "SELECT count(DISTINCT actor) FROM threadline.audit_changes WHERE actor LIKE 'user:erased-%'";
    assert_eq!(trail.query_text(pseudonyms), "1");
}

#[test]
fn values_under_earlier_names_of_a_renamed_column_are_erased() {
    let trail = captured(TABLES, &["members"]);
    trail.run("INSERT INTO members VALUES (4242, 'ann@example.org', 'Bath')");
    trail.run("ALTER TABLE members RENAME email TO mail");
    trail.capture(&trail.introspect("members"));
    trail.run("UPDATE members SET mail = 'ann@new.example'");
    let map = SubjectMap::new().row("members".parse().unwrap(), ["mail"]);
    let plan = plan(&trail.url(), &map).unwrap();
    assert_eq!(plan.tables[0].columns, ["email", "mail"]);
    run(&trail.url(), &map, 500);
    let text = stored(&trail);
    assert!(!text.contains("ann@"), "{text}");
    assert!(text.contains("Bath"));
}

#[test]
fn a_map_that_does_not_fit_the_trail_is_refused() {
    let trail = shop();
    let members = || "members".parse().unwrap();
    let refused = |map: SubjectMap| plan(&trail.url(), &map).unwrap_err();
    let table = refused(SubjectMap::new().row("nothing".parse().unwrap(), ["email"]));
    assert!(matches!(table, ErasureError::UnknownTable(_)), "{table}");
    let column = refused(SubjectMap::new().row(members(), ["phone"]));
    assert!(
        matches!(column, ErasureError::UnknownColumn { .. }),
        "{column}"
    );
    let key = refused(SubjectMap::new().row(members(), ["id"]));
    assert!(matches!(key, ErasureError::KeyColumn { .. }), "{key}");
}

#[test]
fn only_a_role_with_the_functions_erases_and_no_role_forges_an_actor() {
    let trail = shop();
    let role = trail.query_text("SELECT 'eraser_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT USAGE ON SCHEMA threadline TO \"{role}\";
         GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT INSERT, UPDATE ON threadline.audit_erasure_runs TO \"{role}\";
         GRANT UPDATE (actor) ON threadline.audit_jobs TO \"{role}\";
         GRANT UPDATE (actor, paused_at) ON threadline.audit_schedules TO \"{role}\";
         GRANT DELETE ON threadline.audit_saved_views TO \"{role}\""
    ));
    let plan = plan(&trail.url_as(&role), &map()).unwrap();
    let attempt = |role: &str| {
        run_async_at(&trail.url_as(role), async |conn| {
            let reason = "erasure request 17".parse().unwrap();
            erase(conn, &plan, &reason, EraseOptions::default(), &mut |_| ()).await
        })
    };
    let denied = attempt(&role).unwrap_err().to_string();
    assert!(denied.contains("permission denied"), "{denied}");
    trail.run(&format!(
        "GRANT EXECUTE ON FUNCTION threadline.erase_change_values, threadline.erase_change_actors, threadline.erase_context TO \"{role}\""
    ));
    attempt(&role).unwrap();
    let forged = trail.run_as(
        &role,
        "SELECT threadline.erase_change_actors(ARRAY[1], ARRAY[now()], 'user:7', 'x')",
    );
    assert!(forged.unwrap_err().contains("not a pseudonym"));
    let fields = trail.run_as(
        &role,
        "SELECT threadline.erase_context('actions', '{}', 'erased-00000000000000000000000000000000', '{status}', '{}', 'x')",
    );
    assert!(fields.unwrap_err().contains("cannot be erased"));
}

#[test]
fn a_restored_backup_is_erased_again_by_the_recorded_erasures() {
    let trail = shop();
    let Some(backup) = dump(&trail.url()) else {
        eprintln!("skipped: pg_dump is not installed");
        return;
    };
    let write = |actor: &str, sql: &str| {
        format!(
            r#"SELECT set_config('threadline.actor_ref', '{{"type": "user", "id": "{actor}"}}', true); {sql}"#
        )
    };
    trail.run(&write(
        "4242",
        "UPDATE invoices SET total = 12 WHERE id = 1",
    ));
    run(&trail.url(), &map(), 2);
    let records = trail.run_async(async |conn| erasure_records(conn, 0, 1_000).await.unwrap());
    let text = serde_json::to_string(&records).unwrap();
    for value in ERASED {
        assert!(
            !text.contains(value),
            "the records of an erasure have {value}"
        );
    }
    let fresh = start_cluster();
    let restored = fresh.create_database().unwrap();
    restored.execute_script(&backup).unwrap();
    // This change gets the id of a change that was captured after the backup and erased.
    let insert = "INSERT INTO invoices VALUES (3, 7, 'after the restore', 1)";
    restored.execute_script(&write("5", insert)).unwrap();
    let replay = || {
        run_async_at(&restored.url(), async |conn| {
            replay_erasures(conn, &records).await.unwrap()
        })
    };
    let first = replay();
    assert!(first.applied > 0);
    assert_eq!(
        first.applied + first.skipped,
        u64::try_from(records.len()).unwrap()
    );
    assert_eq!(replay().applied, 0, "a replay can be repeated");
    let left = dump(&restored.url()).unwrap();
    let left: Vec<_> = left
        .lines()
        .filter(|line| line.contains("threadline."))
        .collect();
    let left = left.join("\n");
    for value in ERASED {
        assert!(!left.contains(value), "{value} is left");
    }
    assert!(left.contains("user:5") && left.contains("after the restore"));
}

#[test]
fn twenty_thousand_rows_are_erased_in_batches_with_progress() {
    let trail = captured(TABLES, &["invoices"]);
    trail.run("INSERT INTO invoices SELECT n, 4242, 'call Ann back', n FROM generate_series(1, 20000) AS n");
    // Autovacuum does this in production; without statistics every look-up reads the whole table.
    trail.run("ANALYZE threadline.audit_changes");
    let map = SubjectMap::new().rows_where("invoices".parse().unwrap(), "customer_id", ["note"]);
    let plan = plan(&trail.url(), &map).unwrap();
    assert_eq!(plan.tables[0].rows, 20_000);
    let mut counts = Vec::new();
    let started = std::time::Instant::now();
    let run = trail.run_async(async |conn| {
        let reason = "erasure request 17".parse().unwrap();
        let options = EraseOptions::default().batch(1_000);
        erase(conn, &plan, &reason, options, &mut |step| {
            counts.push((step.records, step.count));
        })
        .await
        .unwrap()
    });
    eprintln!("20,000 rows: {:?}", started.elapsed());
    assert_eq!(
        counts
            .iter()
            .filter(|step| **step == ("values", 1_000))
            .count(),
        20
    );
    assert_eq!(run.progress.field("values").unwrap().to_text(), "20000");
    let left =
        "SELECT count(*) FROM threadline.audit_changes WHERE data_after ->> 'note' <> '[ERASED]'";
    assert_eq!(trail.query_text(left), "0");
}

#[test]
fn a_missing_migration_is_a_typed_error() {
    let trail = shop();
    trail.run("DROP TABLE threadline.audit_erasure_runs");
    let error = plan(&trail.url(), &map()).unwrap_err();
    assert!(matches!(error, ErasureError::MigrationMissing));
    assert!(error.to_string().contains("threadline_0003"));
}

#[test]
fn values_under_earlier_keys_are_erased_and_those_of_a_row_that_took_over_a_key_stay() {
    let trail = captured(TABLES, &["members", "invoices"]);
    trail.run("INSERT INTO members VALUES (41, 'ann@example.org', 'Bath')");
    trail.run("UPDATE members SET email = NULL");
    trail.run("UPDATE members SET id = 4242");
    trail.run("INSERT INTO invoices VALUES (1, 4242, 'call Ann back', 10)");
    trail.run("UPDATE invoices SET id = 50, customer_id = 7, note = 'keep this note'");
    trail.run("INSERT INTO invoices VALUES (1, 7, 'keep this, too', 10)");
    let plan = plan(&trail.url(), &map()).unwrap();
    let changes: Vec<_> = plan.tables.iter().map(|table| table.changes).collect();
    // The insert and the update of the member; the insert and the update of invoice 50, whose old image has the id.
    assert_eq!(changes, [2, 2]);
    run(&trail.url(), &map(), 500);
    let text = stored(&trail);
    assert!(
        !text.contains("ann@") && !text.contains("call Ann back"),
        "{text}"
    );
    assert!(text.contains("keep this, too"), "{text}");
}

#[test]
fn a_table_whose_key_was_defined_anew_is_erased_without_an_error() {
    let trail = captured(TABLES, &["invoices"]);
    trail.run("INSERT INTO invoices VALUES (1, 4242, 'call Ann back', 10)");
    trail.run("ALTER TABLE invoices DROP CONSTRAINT invoices_pkey, ADD PRIMARY KEY (total)");
    trail.capture(&trail.introspect("invoices"));
    trail.run("INSERT INTO invoices VALUES (2, 4242, 'call Ann later', 11)");
    let map = SubjectMap::new().rows_where("invoices".parse().unwrap(), "customer_id", ["note"]);
    assert!(run(&trail.url(), &map, 500).finished_at.is_some());
    let text = stored(&trail);
    assert!(!text.contains("call Ann"), "{text}");
}

#[test]
fn a_malformed_context_is_erased_but_for_source_and_meta() {
    let trail = shop();
    trail.run(
        r#"SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "4242"}', true), set_config(
            'threadline.context',
            '{"email": "ann@example.org", "on_behalf_of": {"type": "user"}, "source": "import", "meta": {"tenant": 1}}', true);
        INSERT INTO invoices VALUES (9, 7, 'other', 1)"#,
    );
    run(&trail.url(), &map(), 500);
    let text = stored(&trail);
    assert!(!text.contains("ann@example.org"), "{text}");
    assert!(text.contains("import"));
}
