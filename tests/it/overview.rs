//! Counts, summaries and records about the trail, as lists and pages beside a timeline show them.

use diesel::ExpressionMethods;
use threadline::prelude::*;
use threadline::query::{
    ChangeCount, InvalidQuery, Precision, RemovalTarget, ScopeError, TrailRecords,
    TransactionSummaries, VolumeColumn, VolumeKey,
};
use threadline::{
    ReadError, Scope, TableName, Transactions, count_changes, enrolments, removals, suspensions,
    transaction_summaries,
};

use crate::harness::{Trail, captured, create_partitions};

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

fn scope_of(name: &str) -> Scope {
    Scope::new().tables([table(name)])
}

/// A hundred changes of `orders` in one transaction, one of each table in another.
fn shop() -> Trail {
    let trail = captured(
        "CREATE TABLE orders (id int PRIMARY KEY, v int); CREATE TABLE salaries (id int PRIMARY KEY, v int)",
        &["orders", "salaries"],
    );
    trail.run(
        r#"SELECT threadline.begin_audited_work('{"actor_ref": {"type": "user", "id": "1"},
            "context": {"correlation_id": "import"}}');
        INSERT INTO orders SELECT n, 0 FROM generate_series(1, 100) AS n"#,
    );
    trail.run("UPDATE orders SET v = 1 WHERE id = 1; INSERT INTO salaries VALUES (1, 5)");
    trail
}

#[test]
fn a_count_is_exact_up_to_its_cap_and_applies_filters_and_scope() {
    let trail = shop();
    let count = |query: Timeline, cap| {
        trail
            .run_async(async |conn| count_changes(conn, &query, cap).await)
            .unwrap()
    };
    assert_eq!(count(Timeline::new(), 1_000), ChangeCount::Exact(102));
    assert_eq!(count(Timeline::new(), 102), ChangeCount::Exact(102));
    assert_eq!(count(Timeline::new(), 101), ChangeCount::AtLeast(101));
    let user = || Timeline::new().actor("user:1".parse().unwrap());
    assert_eq!(count(user(), 1_000), ChangeCount::Exact(100));
    let correlated = || Timeline::new().correlation_id("import".parse().unwrap());
    assert_eq!(count(correlated(), 1_000), ChangeCount::Exact(100));
    assert_eq!(count(correlated(), 10), ChangeCount::AtLeast(10));
    assert_eq!(
        count(correlated().op(Op::Update), 10),
        ChangeCount::Exact(0)
    );
    let key = threadline::RowKeyText::from_values(vec!["1".to_owned()]);
    let row = Timeline::new().row(table("orders"), &key);
    assert_eq!(count(row.clone(), 10), ChangeCount::Exact(2));
    assert_eq!(
        count(row.scope(&scope_of("salaries")), 10),
        ChangeCount::Exact(0)
    );
    let scoped = Timeline::new().scope(&scope_of("salaries"));
    assert_eq!(count(scoped, 10), ChangeCount::Exact(1));
    assert_eq!(
        serde_json::to_string(&ChangeCount::AtLeast(10)).unwrap(),
        r#"{"at_least":10}"#
    );
}

#[test]
fn summaries_count_changes_by_table_and_operation_within_a_scope() {
    let trail = shop();
    let summaries = |scope: Option<&Scope>| {
        trail.run_async(async |conn| {
            let page = threadline::transactions(conn, &Transactions::new())
                .await
                .unwrap();
            let ids = page.entries.iter().map(|transaction| transaction.id.into());
            let mut query = TransactionSummaries::new(ids);
            if let Some(scope) = scope {
                query = query.scope(scope);
            }
            let found = transaction_summaries(conn, &query).await.unwrap();
            let shown = |summary: &threadline::query::TransactionSummary| {
                assert!(!summary.truncated);
                let counts = summary.counts.iter();
                let counts = counts.map(|one| format!("{} {} {}", one.table, one.op, one.count));
                counts.collect::<Vec<_>>()
            };
            found.iter().map(shown).collect::<Vec<_>>()
        })
    };
    assert_eq!(
        summaries(None),
        [
            vec!["public.orders update 1", "public.salaries insert 1"],
            vec!["public.orders insert 100"]
        ]
    );
    assert_eq!(
        summaries(Some(&scope_of("salaries"))),
        [vec!["public.salaries insert 1"]]
    );
}

#[test]
fn a_summary_of_a_large_transaction_is_truncated() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    trail.run("INSERT INTO t SELECT generate_series(1, 10001)");
    let summary = trail.run_async(async |conn| {
        let page = threadline::transactions(conn, &Transactions::new())
            .await
            .unwrap();
        let query = TransactionSummaries::new([page.entries[0].id.into()]);
        transaction_summaries(conn, &query).await.unwrap().remove(0)
    });
    assert!(summary.truncated);
}

#[test]
fn records_about_the_trail_are_read_by_table_window_and_scope() {
    let trail = shop();
    trail.run(
        "SELECT threadline.suspend_capture(ARRAY['orders', 'salaries']::regclass[], 'import of both')",
    );
    trail.run("SELECT threadline.suspend_capture(ARRAY['salaries'::regclass], 'raise')");
    trail.run("SELECT threadline.erase_values('public', 'orders', '1', '{v}', 'request 7')");
    let of = |name: &str| TrailRecords::new().table(table(name));
    trail.run_async(async |conn| {
        let reasons = async |conn: &mut _, query: &TrailRecords| {
            let found = suspensions(conn, query).await.unwrap();
            found
                .iter()
                .map(|one| format!("{} of {}", one.reason, one.tables.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            reasons(conn, &TrailRecords::new()).await,
            ["raise of 1", "import of both of 2"]
        );
        assert_eq!(reasons(conn, &of("orders")).await, ["import of both of 2"]);
        let visible = TrailRecords::new().scope(&scope_of("orders"));
        assert_eq!(reasons(conn, &visible).await, ["import of both of 1"]);
        assert!(
            reasons(conn, &of("salaries").scope(&scope_of("orders")))
                .await
                .is_empty()
        );
        let past = of("orders").to("2001-01-01T00:00:00Z".parse().unwrap());
        assert!(reasons(conn, &past).await.is_empty());
        let newest = suspensions(conn, &TrailRecords::new()).await.unwrap()[0].order_id;
        let older = TrailRecords::new().before(newest);
        assert_eq!(reasons(conn, &older).await, ["import of both of 2"]);

        let removed = removals(conn, &of("orders")).await.unwrap();
        assert_eq!((removed.len(), removed[0].change_count), (1, Some(2)));
        assert!(matches!(
            &removed[0].target,
            RemovalTarget::Erasure { row_key, columns, .. } if row_key == "1" && columns == &["v"]
        ));
        assert!(removals(conn, &of("salaries")).await.unwrap().is_empty());
        let hidden = TrailRecords::new().scope(&scope_of("salaries"));
        assert!(removals(conn, &hidden).await.unwrap().is_empty());

        let enrolled = enrolments(conn, &of("orders")).await.unwrap();
        assert_eq!(enrolled.len(), 1);
        assert!(enrolled[0].enabled);
        assert_eq!(
            enrolled[0].key_columns.as_deref(),
            Some(&["id".to_owned()][..])
        );
        assert_eq!(
            enrolments(conn, &hidden).await.unwrap()[0].table,
            table("salaries")
        );
        let tenant =
            Scope::new().transactions(threadline::schema::audit_transactions::db_user.eq("x"));
        let refused = suspensions(conn, &TrailRecords::new().scope(&tenant)).await;
        assert!(matches!(
            refused,
            Err(ReadError::Query(InvalidQuery::Scope(ScopeError::NotTables)))
        ));
    });
}

#[test]
fn a_removal_of_a_scope_hides_other_tables_and_their_number_of_changes() {
    use threadline::retention::{Keep, PurgeOptions, RetentionPolicy, retention_run};

    let trail = shop();
    trail.run(
        "SELECT threadline.allow_trail_delete(true);
         UPDATE threadline.audit_changes SET captured_at = captured_at - interval '2 years';
         SELECT threadline.allow_trail_delete(false)",
    );
    trail.run_async(async |conn| {
        let policy = RetentionPolicy::keep(Keep::days(30).unwrap())
            .enabled()
            .build()
            .unwrap();
        let outcome = threadline::purge(conn, &policy, &PurgeOptions::new())
            .await
            .unwrap();
        let run = retention_run(conn, outcome.run.id).await.unwrap();
        assert_eq!(run, Some(outcome.run));
        assert_eq!(retention_run(conn, 999).await.unwrap(), None);
        let all = removals(conn, &TrailRecords::new()).await.unwrap();
        assert!(!all.is_empty());
        let query = TrailRecords::new().scope(&scope_of("salaries"));
        for removal in removals(conn, &query).await.unwrap() {
            let RemovalTarget::Retention { cutoffs } = &removal.target else {
                panic!("{removal:?}");
            };
            assert!(
                cutoffs
                    .iter()
                    .all(|cutoff| cutoff.table == table("salaries"))
            );
        }
    });
}

#[test]
fn the_volume_by_a_column_has_the_largest_groups_and_a_cap() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    for number in 1..=22 {
        trail.run(&format!(
            "BEGIN;
             SELECT set_config('threadline.actor_ref', '{{\"type\": \"user\", \"id\": \"{number:02}\"}}', true);
             INSERT INTO t SELECT {number} * 100 + n, 0 FROM generate_series(1, 30 - {number}) AS n;
             COMMIT"
        ));
    }
    trail.run("DELETE FROM t WHERE id = 101");
    let volume = |column| {
        trail
            .run_async(async |conn| threadline::volume_by(conn, &Timeline::new(), column).await)
            .unwrap()
    };
    let actors = volume(VolumeColumn::Actor);
    assert_eq!(actors.groups.len(), 20);
    let json = serde_json::to_value(&actors.groups[0]).unwrap();
    let first = serde_json::json!({"key": {"actor": {"type": "user", "id": "01"}}, "count": 29});
    assert_eq!(json, first);
    assert_eq!(
        actors.others,
        9 + 8 + 1,
        "two actors and the unattributed change"
    );
    let sum: u64 = (8..30).sum();
    assert_eq!(actors.total, ChangeCount::Exact(sum + 1));
    let ops = volume(VolumeColumn::Op);
    assert_eq!(
        serde_json::to_value(&ops).unwrap(),
        serde_json::json!({
            "groups": [
                {"key": {"op": "insert"}, "count": sum},
                {"key": {"op": "delete"}, "count": 1},
            ],
            "others": 0,
            "total": {"exact": sum + 1},
        })
    );
    trail.run("INSERT INTO t SELECT n, 0 FROM generate_series(10000, 60000) AS n");
    let tables = volume(VolumeColumn::Table);
    assert_eq!(tables.total, ChangeCount::AtLeast(50_000));
    let key = VolumeKey::Table("t".parse().unwrap());
    assert_eq!(tables.groups[0].key, key);
}

#[test]
fn the_volume_grid_has_the_largest_groups_over_time_and_the_sum_of_the_others() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t SELECT n, 0 FROM generate_series(1, 120) AS n");
    trail.run(&create_partitions("now() - interval '3 months'", 3));
    // Actor `n` of 15 has `n` changes, one of which is on the first day.
    trail.run(
        "SELECT threadline.allow_trail_delete(true);
         UPDATE threadline.audit_changes AS change
         SET captured_at = CASE WHEN place = 1 THEN '2026-01-01T12:00Z' ELSE '2026-01-03T12:00Z' END::timestamptz,
             actor = 'user:' || number
         FROM (SELECT number, place, row_number() OVER (ORDER BY number, place) AS row_key
               FROM generate_series(1, 15) AS number, generate_series(1, number) AS place) AS changed
         WHERE changed.row_key::text = change.row_key",
    );
    let (from, to) = (
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-04T00:00:00Z".parse().unwrap(),
    );
    let grid = |query: Timeline| {
        let column = VolumeColumn::Actor;
        trail
            .run_async(async |conn| {
                threadline::volume_grid(conn, &query, column, from, to, 3).await
            })
            .unwrap()
    };
    let all = grid(Timeline::new());
    assert_eq!(all.total, ChangeCount::Exact(120));
    let sums = all.buckets.iter().map(|one| (one.count, one.precision));
    let expected = [15, 0, 105].map(|count| (count, Precision::Exact));
    assert_eq!(sums.collect::<Vec<_>>(), expected);
    assert_eq!(all.rows.len(), 12);
    assert_eq!(all.others, 3 + 2 + 1);
    let json = serde_json::to_value([&all.rows[0], &all.rows[11]]).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            {"key": {"actor": {"type": "user", "id": "15"}}, "counts": [1, 0, 14]},
            {"key": {"actor": {"type": "user", "id": "4"}}, "counts": [1, 0, 3]},
        ])
    );
    let hidden = Timeline::new().scope(&scope_of("other"));
    let hidden = grid(hidden);
    assert_eq!((hidden.rows.len(), hidden.others), (0, 0));
}

#[test]
fn the_volume_of_a_timeline_is_counted_and_of_a_large_trail_estimated() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"]);
    trail.run("INSERT INTO t SELECT n, 0 FROM generate_series(1, 4000) AS n");
    trail.run("DELETE FROM t WHERE id <= 10");
    trail.run(&create_partitions("now() - interval '3 months'", 3));
    trail.run(
        "SELECT threadline.allow_trail_delete(true);
         UPDATE threadline.audit_changes SET captured_at = '2026-01-01T12:00Z' WHERE op = 'insert';
         UPDATE threadline.audit_changes SET captured_at = '2026-01-03T12:00Z' WHERE op = 'delete'",
    );
    let (from, to) = (
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-04T00:00:00Z".parse().unwrap(),
    );
    let volume = |query: Timeline| {
        let buckets = trail
            .run_async(async |conn| threadline::volume(conn, &query, from, to, 3).await)
            .unwrap();
        assert_eq!((buckets[0].from, buckets[2].to), (from, to));
        buckets
            .iter()
            .map(|one| (one.count, one.precision))
            .collect::<Vec<_>>()
    };
    let exact = |counts: [u64; 3]| counts.map(|count| (count, Precision::Exact));
    assert_eq!(volume(Timeline::new()), exact([4000, 0, 10]));
    assert_eq!(volume(Timeline::new().op(Op::Delete)), exact([0, 0, 10]));
    let hidden = Timeline::new().scope(&scope_of("salaries"));
    assert_eq!(volume(hidden), exact([0, 0, 0]));
    trail.run(
        "INSERT INTO t SELECT n, 0 FROM generate_series(5001, 6500) AS n;
         SELECT threadline.allow_trail_delete(true);
         UPDATE threadline.audit_changes SET captured_at = '2026-01-03T13:00Z' WHERE op = 'insert' AND captured_at > '2026-01-04'",
    );
    let estimated = volume(Timeline::new());
    assert!(
        estimated
            .iter()
            .all(|(_, precision)| *precision == Precision::Estimated)
    );
    assert_eq!(estimated[1].0, 0);
    assert!((4000..4100).contains(&estimated[0].0), "{estimated:?}");
    assert!((1510..1600).contains(&estimated[2].0), "{estimated:?}");
    let empty =
        trail.run_async(async |conn| threadline::volume(conn, &Timeline::new(), to, from, 3).await);
    assert!(matches!(
        empty,
        Err(ReadError::Query(InvalidQuery::EmptyWindow { .. }))
    ));
}

#[test]
fn the_names_of_tables_and_actions_are_those_of_the_trail_within_a_scope() {
    let trail = shop();
    for (n, name) in ["order.pay", "order.create", "order.pay"]
        .iter()
        .enumerate()
    {
        trail.run(&format!(
            r#"SELECT threadline.record_action('{{"id": "019a0000-0000-7000-8000-00000000000{n}", "name": "{name}"}}', NULL, '{{}}')"#
        ));
    }
    trail.run("DROP TABLE salaries");
    trail.run_async(async |conn| {
        let tables = threadline::recorded_tables(conn, None).await.unwrap();
        assert_eq!(tables, [table("orders"), table("salaries")]);
        let visible = scope_of("orders");
        let tables = threadline::recorded_tables(conn, Some(&visible))
            .await
            .unwrap();
        assert_eq!(tables, [table("orders")]);
        let actions = threadline::recorded_actions(conn, None).await.unwrap();
        assert_eq!(actions, ["order.create", "order.pay"]);
        assert!(
            threadline::recorded_actions(conn, Some(&visible))
                .await
                .is_err()
        );
        let visible = visible.actions(threadline::schema::audit_actions::name.eq("order.pay"));
        let actions = threadline::recorded_actions(conn, Some(&visible))
            .await
            .unwrap();
        assert_eq!(actions, ["order.pay"]);
    });
}

#[test]
fn the_nearest_changes_are_outside_of_the_window() {
    let trail = shop();
    let at = |sql: &str| {
        let sql = format!(
            "SELECT to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM threadline.audit_changes"
        );
        trail
            .query_text(&sql)
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap()
    };
    let (first, last) = (at("min(captured_at)"), at("max(captured_at)"));
    let nearest = |query: Timeline| {
        let found = trail
            .run_async(async |conn| threadline::nearest_changes(conn, &query).await)
            .unwrap();
        let key = |entry: threadline::TimelineEntry| {
            format!("{} {}", entry.change.table_name, entry.change.shown_key())
        };
        (found.before.map(key), found.after.map(key))
    };
    let window = || Timeline::new().from(first).to(first);
    assert_eq!(nearest(window()), (None, Some("orders 2".to_owned())));
    let scoped = window().scope(&scope_of("salaries"));
    assert_eq!(nearest(scoped), (None, Some("salaries 1".to_owned())));
    let end = Timeline::new().from(last).to(last);
    assert_eq!(nearest(end), (Some("orders 1".to_owned()), None));
    let open = Timeline::new().from(last + chrono::TimeDelta::hours(1));
    assert_eq!(nearest(open), (Some("salaries 1".to_owned()), None));
}

#[test]
fn a_transaction_has_its_xid_and_the_address_of_its_client() {
    let trail = shop();
    let newest = trail.run_async(async |conn| {
        threadline::transactions(conn, &Transactions::new())
            .await
            .unwrap()
            .entries
            .remove(0)
    });
    let stored = trail.query_text(
        "SELECT xid::text || ' ' || COALESCE(host(client_addr), '-') FROM threadline.audit_transactions ORDER BY id DESC LIMIT 1",
    );
    let address = newest
        .client_addr
        .map_or_else(|| "-".to_owned(), |address| address.to_string());
    assert_eq!(format!("{} {address}", newest.xid()), stored);
    for address in ["192.0.2.7", "2001:db8::7"] {
        trail.run(&format!(
            "SELECT threadline.allow_trail_delete(true);
             UPDATE threadline.audit_transactions SET client_addr = '{address}'"
        ));
        let read = trail.run_async(async |conn| {
            threadline::transactions(conn, &Transactions::new())
                .await
                .unwrap()
        });
        assert_eq!(read.entries[0].client_addr.unwrap().to_string(), address);
    }
}
