//! A row that an update moves to another partition is updated; nothing else is taken for that.

use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;
use threadline::table::{AuditedTable, ImageForm};

use crate::harness::{Trail, block_on, captured};

/// A partitioned table `p` with a row in `p_eu`, and a table `a`.
fn places() -> Trail {
    let trail = captured(
        "CREATE TABLE p (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
         CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us');
         CREATE TABLE p_af PARTITION OF p FOR VALUES IN ('af');
         CREATE TABLE a (id int PRIMARY KEY, v int)",
        &["p", "a"],
    );
    trail.run("INSERT INTO p VALUES (1, 'eu', 1), (2, 'eu', 2), (3, 'eu', 3)");
    trail
}

/// What was recorded after the first changes, as `op table [previous key ->] key`.
fn events_after(trail: &Trail, first: usize) -> Vec<String> {
    trail.changes()[first..]
        .iter()
        .map(|change| {
            let previous = change
                .previous_key
                .as_ref()
                .map_or_else(String::new, |key| format!("{key} -> "));
            let key = change.row_key.as_deref().unwrap_or("-");
            format!("{} {} {previous}{key}", change.op, change.table)
        })
        .collect()
}

/// What a script adds to the trail.
fn recorded(trail: &Trail, script: &str) -> Vec<String> {
    let before = trail.count();
    trail.run(script);
    events_after(trail, before)
}

/// That nothing is left behind of rows that were under way.
fn nothing_is_under_way(trail: &Trail) {
    assert_eq!(
        trail.ask("SELECT count(*) FROM threadline.audit_moving_rows"),
        "0"
    );
}

#[test]
fn made_up_settings_move_nothing() {
    let trail = places();
    let role = trail.ask("SELECT 'mover_' || current_database()");
    trail.run(&format!(
        "CREATE ROLE \"{role}\" LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON p, a TO \"{role}\""
    ));
    let before = trail.count();
    for place in [
        "threadline.moving",
        "threadline.moved_change",
        "threadline.moving_1",
        "threadline.updating",
    ] {
        for value in [
            "pg_catalog.concat_ws(' ', threadline.current_transaction_id(), 1, '\"public\".\"p\"')",
            "'yes'",
            "'p_eu'::regclass::oid || ' (0,1)'",
            "'a'::regclass::oid || ' (0,1)'",
            "concat_ws(' ', 1, extract(epoch from statement_timestamp()), 1, 'p_eu'::regclass::oid, '(0,1)')",
        ] {
            trail
                .run_as(
                    &role,
                    &format!(
                        "BEGIN; INSERT INTO a VALUES (800, 1); DELETE FROM a WHERE id = 800;
                         SELECT set_config('threadline.moving', 'yes', true), set_config('{place}', {value}, true),
                             set_config('threadline.moved_change', '{id}', true);
                         INSERT INTO p VALUES (19, 'us', 99);
                         WITH gone AS (DELETE FROM p WHERE id = 1 AND region = 'eu' RETURNING *)
                         INSERT INTO p SELECT 1, 'us', v FROM gone;
                         DELETE FROM p WHERE id IN (1, 19);
                         INSERT INTO p VALUES (1, 'eu', 1); COMMIT",
                        id = trail.count() + 2,
                    ),
                )
                .unwrap();
        }
    }
    let ops: Vec<_> = trail.changes()[before..]
        .iter()
        .map(|change| change.op.clone())
        .collect();
    assert_eq!(ops.len(), 20 * 8);
    assert!(ops.iter().all(|op| op != "update"), "{ops:?}");
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn the_note_of_an_update_that_was_taken_back_is_worth_nothing_later() {
    let trail = places();
    let before = trail.count();
    block_on(async {
        let mut session = trail.connect().await;
        for statement in [
            "BEGIN",
            "DO $$ DECLARE note text; BEGIN
                 BEGIN
                     UPDATE p SET v = v + 1 WHERE id = 1;
                     note := current_setting('threadline.updating');
                     RAISE EXCEPTION 'taken back';
                 EXCEPTION WHEN raise_exception THEN NULL; END;
                 PERFORM set_config('my.note', note, true);
             END $$",
            "SELECT set_config('threadline.updating', current_setting('my.note'), true)",
            "WITH gone AS (DELETE FROM p WHERE id = 1 RETURNING *) INSERT INTO p SELECT 1, 'us', v FROM gone",
            "COMMIT",
        ] {
            session.batch_execute(statement).await.unwrap();
        }
    });
    assert_eq!(
        events_after(&trail, before),
        [r#"delete p ["1", "eu"]"#, r#"insert p ["1", "us"]"#]
    );
}

#[test]
fn what_a_merge_deletes_and_inserts_is_no_move() {
    let trail = places();
    let events = recorded(
        &trail,
        "MERGE INTO p USING (VALUES (1, 'eu'), (2, 'eu'), (9, 'us')) AS s (id, region)
             ON p.id = s.id AND p.region = s.region
         WHEN MATCHED AND p.id = 1 THEN DELETE
         WHEN MATCHED THEN UPDATE SET v = 20
         WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.region, 0)",
    );
    assert_eq!(
        events,
        [
            r#"delete p ["1", "eu"]"#,
            r#"update p ["2", "eu"]"#,
            r#"insert p ["9", "us"]"#
        ]
    );
}

#[test]
fn a_merge_that_moves_deletes_and_inserts_tells_them_apart() {
    let trail = places();
    let mut events = recorded(
        &trail,
        "MERGE INTO p USING (VALUES (1, 'eu'), (2, 'eu'), (3, 'eu'), (9, 'us'), (10, 'af')) AS s (id, region)
             ON p.id = s.id AND p.region = s.region
         WHEN MATCHED AND p.id = 2 THEN DELETE
         WHEN MATCHED THEN UPDATE SET region = 'us'
         WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.region, 0)",
    );
    events.sort();
    assert_eq!(
        events,
        [
            r#"delete p ["2", "eu"]"#,
            r#"insert p ["10", "af"]"#,
            r#"insert p ["9", "us"]"#,
            r#"update p ["1", "eu"] -> ["1", "us"]"#,
            r#"update p ["3", "eu"] -> ["3", "us"]"#
        ]
    );
    nothing_is_under_way(&trail);
}

#[test]
fn parts_of_one_statement_are_what_they_are() {
    let trail = places();
    let mut events = recorded(
        &trail,
        "WITH changed AS (UPDATE p SET v = 20 WHERE id = 2), gone AS (DELETE FROM p WHERE id = 1)
         INSERT INTO p VALUES (9, 'us', 0)",
    );
    events.sort();
    assert_eq!(
        events,
        [
            r#"delete p ["1", "eu"]"#,
            r#"insert p ["9", "us"]"#,
            r#"update p ["2", "eu"]"#
        ]
    );
    let mut events = recorded(
        &trail,
        "WITH moved AS (UPDATE p SET region = 'af' WHERE id = 2), gone AS (DELETE FROM p WHERE id = 3)
         INSERT INTO p VALUES (10, 'us', 0)",
    );
    events.sort();
    assert_eq!(
        events,
        [
            r#"delete p ["3", "eu"]"#,
            r#"insert p ["10", "us"]"#,
            r#"update p ["2", "eu"] -> ["2", "af"]"#
        ]
    );
    let mut events = recorded(
        &trail,
        "WITH gone AS (DELETE FROM p WHERE id = 9)
         INSERT INTO p VALUES (10, 'us', 5), (11, 'us', 5) ON CONFLICT (id, region) DO UPDATE SET v = EXCLUDED.v",
    );
    events.sort();
    assert_eq!(
        events,
        [
            r#"delete p ["9", "us"]"#,
            r#"insert p ["11", "us"]"#,
            r#"update p ["10", "us"]"#
        ]
    );
}

#[test]
fn what_a_function_does_inside_an_update_is_no_move() {
    let trail = places();
    trail.run(
        "CREATE FUNCTION f(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
             DELETE FROM p WHERE id = n + 100; INSERT INTO p VALUES (n + 200, 'us', 0); RETURN n; END $$;
         INSERT INTO p VALUES (101, 'eu', 0), (102, 'eu', 0), (103, 'eu', 0)",
    );
    let mut events = recorded(
        &trail,
        "UPDATE p SET v = f(id), region = CASE id WHEN 3 THEN 'us' ELSE region END WHERE id < 100",
    );
    events.sort();
    assert_eq!(
        events,
        [
            r#"delete p ["101", "eu"]"#,
            r#"delete p ["102", "eu"]"#,
            r#"delete p ["103", "eu"]"#,
            r#"insert p ["201", "us"]"#,
            r#"insert p ["202", "us"]"#,
            r#"insert p ["203", "us"]"#,
            r#"update p ["3", "eu"] -> ["3", "us"]"#
        ]
    );
}

#[test]
fn what_a_trigger_deletes_while_a_row_moves_is_deleted() {
    let trail = places();
    trail.run(
        "CREATE TABLE side (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE side_eu PARTITION OF side FOR VALUES IN ('eu');
         CREATE TABLE side_us PARTITION OF side FOR VALUES IN ('us');
         INSERT INTO side VALUES (1, 'eu'), (2, 'eu'), (7, 'eu');
         CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             DELETE FROM side WHERE id = OLD.id; UPDATE side SET region = 'us' WHERE id = 7 AND OLD.id = 2;
             RETURN NULL; END $$;
         CREATE TRIGGER tidy AFTER DELETE ON p FOR EACH ROW EXECUTE FUNCTION tidy()",
    );
    trail.capture(&trail.introspect("side"));
    assert_eq!(
        recorded(&trail, "UPDATE p SET region = 'us' WHERE id < 3"),
        [
            r#"update p ["1", "eu"] -> ["1", "us"]"#,
            r#"delete side ["1", "eu"]"#,
            r#"update p ["2", "eu"] -> ["2", "us"]"#,
            r#"delete side ["2", "eu"]"#,
            r#"update side ["7", "eu"] -> ["7", "us"]"#
        ]
    );
    nothing_is_under_way(&trail);
}

#[test]
fn triggers_that_move_rows_of_another_table_split_no_move() {
    let trail = places();
    trail.run(
        "CREATE TABLE q (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE q_eu PARTITION OF q FOR VALUES IN ('eu');
         CREATE TABLE q_us PARTITION OF q FOR VALUES IN ('us');
         CREATE TABLE q_af PARTITION OF q FOR VALUES IN ('af');
         INSERT INTO q SELECT g, 'eu' FROM generate_series(1, 9) AS g;
         CREATE FUNCTION drag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE q SET region = TG_ARGV[1] WHERE id = TG_ARGV[0]::int + COALESCE(NEW.id, OLD.id);
             RETURN COALESCE(NEW, OLD); END $$;
         CREATE TRIGGER u BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION drag(0, 'us');
         CREATE TRIGGER d BEFORE DELETE ON p FOR EACH ROW EXECUTE FUNCTION drag(3, 'us');
         CREATE TRIGGER i BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION drag(6, 'us')",
    );
    trail.capture(&trail.introspect("q"));
    let mut events = recorded(&trail, "UPDATE p SET region = 'us' WHERE id < 3");
    events.sort();
    let mut expected = vec![
        r#"update p ["1", "eu"] -> ["1", "us"]"#.to_owned(),
        r#"update p ["2", "eu"] -> ["2", "us"]"#.to_owned(),
    ];
    for id in [1, 2, 4, 5, 7, 8] {
        expected.push(format!(r#"update q ["{id}", "eu"] -> ["{id}", "us"]"#));
    }
    assert_eq!(events, expected);
    nothing_is_under_way(&trail);
}

#[test]
fn rows_that_a_foreign_key_moves_are_updated() {
    let trail = places();
    trail.run(
        "CREATE TABLE child (n int, id int, region text, PRIMARY KEY (n, region),
             FOREIGN KEY (id, region) REFERENCES p ON UPDATE CASCADE ON DELETE CASCADE) PARTITION BY LIST (region);
         CREATE TABLE child_eu PARTITION OF child FOR VALUES IN ('eu');
         CREATE TABLE child_us PARTITION OF child FOR VALUES IN ('us');
         INSERT INTO child VALUES (1, 1, 'eu'), (2, 1, 'eu'), (3, 2, 'eu'), (4, 3, 'eu')",
    );
    trail.capture(&trail.introspect("child"));
    let mut events = recorded(&trail, "UPDATE p SET region = 'us'");
    events.sort();
    assert_eq!(
        events,
        [
            r#"update child ["1", "eu"] -> ["1", "us"]"#,
            r#"update child ["2", "eu"] -> ["2", "us"]"#,
            r#"update child ["3", "eu"] -> ["3", "us"]"#,
            r#"update child ["4", "eu"] -> ["4", "us"]"#,
            r#"update p ["1", "eu"] -> ["1", "us"]"#,
            r#"update p ["2", "eu"] -> ["2", "us"]"#,
            r#"update p ["3", "eu"] -> ["3", "us"]"#
        ]
    );
    nothing_is_under_way(&trail);
}

#[test]
fn two_tables_whose_rows_move_in_one_statement_are_told_apart() {
    let trail = places();
    trail.run(
        "CREATE TABLE q (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE q_eu PARTITION OF q FOR VALUES IN ('eu');
         CREATE TABLE q_us PARTITION OF q FOR VALUES IN ('us');
         INSERT INTO q VALUES (1, 'eu'), (2, 'eu')",
    );
    trail.capture(&trail.introspect("q"));
    let mut events = recorded(
        &trail,
        "WITH other AS (UPDATE q SET region = 'us' RETURNING id)
         UPDATE p SET region = 'us' FROM other WHERE other.id = p.id",
    );
    events.sort();
    assert_eq!(
        events,
        [
            r#"update p ["1", "eu"] -> ["1", "us"]"#,
            r#"update p ["2", "eu"] -> ["2", "us"]"#,
            r#"update q ["1", "eu"] -> ["1", "us"]"#,
            r#"update q ["2", "eu"] -> ["2", "us"]"#
        ]
    );
}

#[test]
fn rows_move_within_a_middle_level_and_between_partitions_of_other_shapes() {
    let trail = captured(
        "CREATE TABLE s (region text, k int, v int, PRIMARY KEY (k, region)) PARTITION BY LIST (region);
         CREATE TABLE s_eu PARTITION OF s FOR VALUES IN ('eu') PARTITION BY RANGE (k);
         CREATE TABLE s_eu_low PARTITION OF s_eu FOR VALUES FROM (0) TO (10);
         CREATE TABLE s_eu_high (gone int, v int, k int NOT NULL, region text NOT NULL);
         ALTER TABLE s_eu_high DROP COLUMN gone",
        &["s"],
    );
    trail.run("ALTER TABLE s_eu ATTACH PARTITION s_eu_high FOR VALUES FROM (10) TO (20)");
    trail.run("INSERT INTO s VALUES ('eu', 5, 1)");
    assert_eq!(
        recorded(&trail, "UPDATE s_eu SET k = 15"),
        [r#"update s ["5", "eu"] -> ["15", "eu"]"#]
    );
    assert_eq!(
        recorded(&trail, "UPDATE s SET k = 6"),
        [r#"update s ["15", "eu"] -> ["6", "eu"]"#]
    );
    let changes = trail.changes();
    assert_eq!(changes[2].from, Some(json!({"k": 15})));
    assert_eq!(
        changes[2].after,
        Some(json!({"region": "eu", "k": 6, "v": 1}))
    );
}

#[test]
fn a_move_says_that_hidden_columns_changed_and_not_from_what() {
    let trail = crate::harness::empty_trail();
    trail.run(
        "CREATE TABLE p (id int, region text, secret text, other text, ex text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
         CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us')",
    );
    let table = trail
        .introspect("p")
        .redact(["ex"], ["secret", "other"])
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO p VALUES (1, 'eu', 'old secret', 'same', 'x')");
    trail.run("UPDATE p SET region = 'us', secret = 'changed', ex = 'y'");
    trail.run("UPDATE p SET region = 'eu'");
    trail.run("UPDATE p SET region = 'us', secret = NULL");
    let masked = || json!({"region": "eu", "secret": "[REDACTED]"});
    let from: Vec<_> = trail.changes()[1..]
        .iter()
        .map(|change| change.from.clone().unwrap())
        .collect();
    assert_eq!(from, [masked(), json!({"region": "us"}), masked()]);

    trail.run("ALTER TABLE p ADD COLUMN extra text, ADD COLUMN quiet text");
    trail.run("UPDATE p SET region = 'eu', extra = 'new secret', other = 'changed'");
    trail.run("ALTER TABLE p DROP COLUMN secret");
    trail.run("UPDATE p SET region = 'us', quiet = 'new secret'");
    let from: Vec<_> = trail.changes()[4..]
        .iter()
        .map(|change| change.from.clone().unwrap())
        .collect();
    assert_eq!(
        from,
        [
            json!({"region": "us", "extra": "[UNCLASSIFIED]", "other": "[REDACTED]"}),
            json!({"region": "eu", "quiet": "[UNCLASSIFIED]"})
        ]
    );
    let everything =
        trail.ask("SELECT string_agg(c::text, ' ') FROM threadline.audit_changes AS c");
    assert!(
        !everything.contains("secret\": \"old") && !everything.contains("new secret"),
        "{everything}"
    );
    nothing_is_under_way(&trail);
}

#[test]
fn a_move_that_changes_nothing_that_is_stored_leaves_nothing() {
    let trail = crate::harness::empty_trail();
    trail.run(
        "CREATE TABLE p (region text, v int) PARTITION BY LIST (region);
         CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
         CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us')",
    );
    trail.capture(&trail.introspect("p").redact(["region"], []).unwrap());
    trail.run("INSERT INTO p VALUES ('eu', 1), ('eu', 2)");
    trail.run("UPDATE p SET region = 'us'");
    assert_eq!((trail.count(), trail.transactions()), (2, 1));
    trail.run("BEGIN; UPDATE p SET region = 'eu'; INSERT INTO p VALUES ('eu', 3); COMMIT");
    assert_eq!((trail.count(), trail.transactions()), (3, 2));
    trail.run("BEGIN; INSERT INTO p VALUES ('eu', 4); UPDATE p SET region = 'us'; COMMIT");
    assert_eq!((trail.count(), trail.transactions()), (4, 3));
    trail.run("UPDATE p SET region = 'eu', v = v + 1 WHERE v = 1");
    let change = trail.changes()[4].clone();
    assert_eq!(
        (change.op.as_str(), change.from),
        ("update", Some(json!({"v": 1})))
    );
}

#[test]
fn a_move_in_delta_form_stores_what_changed() {
    let trail = crate::harness::empty_trail();
    trail.run(
        "CREATE TABLE p (id int, region text, v int, w int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('eu');
         CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us')",
    );
    let found = trail.introspect("p");
    let table = AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key(["id", "region"])
        .image(ImageForm::Delta)
        .build()
        .unwrap();
    trail.capture(&table);
    trail.run("INSERT INTO p VALUES (1, 'eu', 1, 2)");
    trail.run("UPDATE p SET region = 'us', w = 3");
    assert_eq!(
        trail.changes()[1].after,
        Some(json!({"region": "us", "w": 3}))
    );
    assert_eq!(
        trail.changes()[1].from,
        Some(json!({"region": "eu", "w": 2}))
    );
}

/// A trigger of the host's that refuses rows where its argument, a condition, holds.
const REFUSE: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE holds boolean; BEGIN
        EXECUTE 'SELECT ' || TG_ARGV[0] INTO holds USING COALESCE(NEW, OLD);
        IF holds THEN RETURN NULL; END IF; RETURN COALESCE(NEW, OLD); END $$;";

#[test]
fn a_row_that_is_stopped_on_its_way_takes_no_other_along() {
    // Whoever refuses it, and in whatever order the triggers fire, what is recorded happened.
    for (name, event, certain) in [
        ("m", "UPDATE", true),
        ("00", "UPDATE", true),
        ("~~~", "UPDATE", false),
        ("m", "DELETE", true),
        ("~~~", "DELETE", true),
        ("00", "DELETE", false),
        ("m", "INSERT", true),
        ("00", "INSERT", false),
        ("~~~", "INSERT", false),
    ] {
        let trail = places();
        let target = if event == "INSERT" { "p_us" } else { "p_eu" };
        trail.run(&format!(
            "{REFUSE} CREATE TRIGGER \"{name}\" BEFORE {event} ON {target} FOR EACH ROW EXECUTE FUNCTION refuse('($1).id = 1')"
        ));
        let before = trail.ask("SELECT count(*) FROM p WHERE id = 1");
        assert_eq!(before, "1");
        let script = "MERGE INTO p USING (VALUES (1, 1, 'eu'), (2, 8, 'us'), (3, 9, 'us'), (4, 2, 'eu')) AS s (n, id, region)
                 ON p.id = s.id AND p.region = s.region
             WHEN MATCHED THEN UPDATE SET region = 'us'
             WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.region, 0);
             DELETE FROM p WHERE id = 1; INSERT INTO p VALUES (1, 'af', 0)";
        let mut events = recorded(&trail, script);
        events.sort();
        let mut expected = Vec::new();
        if event != "DELETE" {
            expected.push(r#"delete p ["1", "eu"]"#.to_owned());
        }
        if certain {
            expected.push(r#"update p ["2", "eu"] -> ["2", "us"]"#.to_owned());
        } else {
            expected.push(r#"delete p ["2", "eu"]"#.to_owned());
            expected.push(r#"insert p ["2", "us"]"#.to_owned());
        }
        for inserted in [
            r#"insert p ["1", "af"]"#,
            r#"insert p ["8", "us"]"#,
            r#"insert p ["9", "us"]"#,
        ] {
            expected.push(inserted.to_owned());
        }
        expected.sort();
        assert_eq!(events, expected, "{name} {event}");
        trail.run("CALL threadline.maintain()");
        nothing_is_under_way(&trail);
    }
}

#[test]
fn a_trigger_that_writes_elsewhere_instead_is_recorded_as_it_wrote() {
    let trail = places();
    trail.run(
        "CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             DELETE FROM p WHERE id = OLD.id AND region = OLD.region;
             INSERT INTO p VALUES (OLD.id + 10, NEW.region, 0); RETURN NULL; END $$;
         CREATE TRIGGER elsewhere BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION elsewhere()",
    );
    assert_eq!(
        recorded(&trail, "UPDATE p SET region = 'us' WHERE id = 1"),
        [r#"delete p ["1", "eu"]"#, r#"insert p ["11", "us"]"#]
    );
}

#[test]
fn rows_that_triggers_change_on_their_way_are_recorded_as_they_came() {
    let trail = places();
    trail.run(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v + 100; RETURN NEW; END $$;
         CREATE TRIGGER touch BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION touch()",
    );
    trail.run("UPDATE p SET region = 'us' WHERE id = 1");
    let last = trail.changes().pop().unwrap();
    assert_eq!(last.from, Some(json!({"region": "eu", "v": 1})));
    assert_eq!(last.after, Some(json!({"id": 1, "region": "us", "v": 101})));
}

#[test]
fn a_move_taken_back_and_done_again_is_one_update() {
    let trail = places();
    assert_eq!(
        recorded(
            &trail,
            "BEGIN; SAVEPOINT s; UPDATE p SET region = 'us' WHERE id = 1; ROLLBACK TO s;
             WITH gone AS (DELETE FROM p WHERE id = 2 RETURNING *) INSERT INTO p SELECT id, 'us', v FROM gone;
             UPDATE p SET region = 'us' WHERE id = 1; UPDATE p SET region = 'af' WHERE id = 1;
             UPDATE p SET region = 'eu' WHERE id = 1; COMMIT"
        ),
        [
            r#"delete p ["2", "eu"]"#,
            r#"insert p ["2", "us"]"#,
            r#"update p ["1", "eu"] -> ["1", "us"]"#,
            r#"update p ["1", "us"] -> ["1", "af"]"#,
            r#"update p ["1", "af"] -> ["1", "eu"]"#
        ]
    );
    nothing_is_under_way(&trail);
}

#[test]
fn a_row_that_somebody_else_changed_meanwhile_moves_as_one_update() {
    let trail = places();
    let before = trail.count();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            // Holds the row until the mover waits for it.
            trail.run(
                "BEGIN; UPDATE p SET v = v + 10 WHERE id = 1; SELECT pg_advisory_lock(1);
                 DO $$ BEGIN LOOP
                     EXIT WHEN EXISTS (
                         SELECT FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')
                     );
                     PERFORM pg_sleep(0.01);
                 END LOOP; END $$;
                 COMMIT",
            );
        });
        trail.run(
            "DO $$ BEGIN LOOP
                 EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE granted AND locktype = 'advisory'
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
                 PERFORM pg_sleep(0.01);
             END LOOP; END $$",
        );
        trail.run("UPDATE p SET region = 'us', v = v + 1 WHERE id = 1");
        other.join().unwrap();
    });
    let changes = trail.changes();
    assert_eq!(
        events_after(&trail, before),
        [
            r#"update p ["1", "eu"]"#,
            r#"update p ["1", "eu"] -> ["1", "us"]"#
        ]
    );
    assert_eq!(
        changes[before + 1].from,
        Some(json!({"region": "eu", "v": 11}))
    );
    assert_eq!(
        changes[before + 1].after,
        Some(json!({"id": 1, "region": "us", "v": 12}))
    );
}

#[test]
fn a_suspended_move_leaves_nothing_under_way() {
    let trail = places();
    assert_eq!(
        recorded(
            &trail,
            "BEGIN; SELECT threadline.suspend_capture(ARRAY['p'::regclass], 'bulk');
             UPDATE p SET region = 'us'; COMMIT"
        ),
        Vec::<String>::new()
    );
    nothing_is_under_way(&trail);
}

#[test]
fn retiring_takes_every_trigger_along() {
    let trail = places();
    trail.run("SELECT threadline.detach_capture('public', 'p')");
    assert_eq!(
        trail.ask("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN (SELECT relid FROM pg_partition_tree('p'))"),
        "0"
    );
}

/// What coverage says of triggers, as `code severity`, without repeating itself.
fn trigger_findings(trail: &Trail) -> String {
    trail.ask(
        "SELECT COALESCE(string_agg(DISTINCT code || ' ' || severity, ', '), '') FROM threadline.trigger_findings()",
    )
}

#[test]
fn triggers_that_moves_depend_on_are_covered() {
    let trail = places();
    for name in [
        "~threadline_update",
        "00_threadline_leave",
        "00_threadline_come",
        "~threadline_insert",
    ] {
        trail.run(&format!("DROP TRIGGER \"{name}\" ON p"));
        assert_eq!(
            trigger_findings(&trail),
            "partition_uncovered error, trigger_missing error",
            "{name}"
        );
        trail.run("SELECT threadline.refresh_capture('public', 'p')");
        assert_eq!(trigger_findings(&trail), "", "{name}");
        trail.run(&format!("ALTER TABLE p_us DISABLE TRIGGER \"{name}\""));
        assert_eq!(trigger_findings(&trail), "trigger_disabled error", "{name}");
        trail.run(&format!("ALTER TABLE p_us ENABLE TRIGGER \"{name}\""));
    }
    assert_eq!(
        recorded(&trail, "UPDATE p SET region = 'us' WHERE id = 1"),
        [r#"update p ["1", "eu"] -> ["1", "us"]"#]
    );
}

#[test]
fn a_trigger_that_could_refuse_rows_unseen_is_reported_with_what_mends_it() {
    let trail = places();
    trail.run(&format!(
        "{REFUSE} CREATE TRIGGER \"~~~\" BEFORE UPDATE ON p_eu FOR EACH ROW EXECUTE FUNCTION refuse('false');
         CREATE TRIGGER \"0\" BEFORE INSERT OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION refuse('false');
         CREATE TRIGGER m BEFORE INSERT OR DELETE OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION refuse('false')"
    ));
    assert_eq!(trigger_findings(&trail), "order_at_risk warning");
    assert_eq!(
        recorded(&trail, "UPDATE p SET region = 'us' WHERE id = 1"),
        [r#"delete p ["1", "eu"]"#, r#"insert p ["1", "us"]"#]
    );
    let remedies = trail.ask("SELECT string_agg(remedy, '; ') FROM threadline.trigger_findings()");
    trail.run(&remedies);
    assert_eq!(trigger_findings(&trail), "");
    assert_eq!(
        recorded(&trail, "UPDATE p SET region = 'us' WHERE id = 2"),
        [r#"update p ["2", "eu"] -> ["2", "us"]"#]
    );
}

#[test]
fn a_trigger_that_clears_captures_settings_hides_no_part_of_a_move() {
    let trail = captured(
        "CREATE TABLE c (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
         CREATE TABLE c_eu PARTITION OF c FOR VALUES IN ('eu');
         CREATE TABLE c_us PARTITION OF c FOR VALUES IN ('us');
         CREATE FUNCTION clear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM set_config('threadline.moving', '', true), set_config('threadline.moving_1', '', true),
                     set_config('threadline.updating', '', true);
             RETURN NULL;
         END $$;
         CREATE TRIGGER own_clear AFTER DELETE ON c FOR EACH ROW EXECUTE FUNCTION clear()",
        &["c"],
    );
    trail.run("INSERT INTO c VALUES (1, 'eu'), (2, 'eu')");
    for constraints in ["DEFERRED", "IMMEDIATE"] {
        let events = recorded(
            &trail,
            &format!(
                "BEGIN; SET CONSTRAINTS ALL {constraints}; UPDATE c SET region = CASE region WHEN 'eu' THEN 'us' ELSE 'eu' END WHERE id = 1; COMMIT"
            ),
        );
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events[0].starts_with("delete c"), "{events:?}");
        assert!(events[1].starts_with("insert c"), "{events:?}");
    }
    let under_way = trail.ask("SELECT count(*) FROM threadline.audit_moving_rows");
    assert_eq!(under_way, "0");
}
