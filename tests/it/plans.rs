//! No query scans the whole trail: the rows that PostgreSQL reads for each, and the plans, over a
//! hundred thousand changes in fourteen months.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, TransactionManager,
};
use threadline::prelude::*;
use threadline::query::{
    Attribution, ChangeById, ChangeCount, MetaPattern, SearchText, TransactionSummaries,
    actor_history, actor_window,
};
use threadline::schema::audit_actions;
use threadline::{
    ActionStatus, Actions, ActorType, Correlation, FieldHistory, Incident, Order, ReadError,
    RowKeyText, Scope, Transactions,
};

use crate::harness::{Trail, empty_trail};

/// Inserts 25,000 transactions with an action and four changes each. The actor `everywhere` is
/// frequent, `u5` is rare; every thousandth transaction is unattributed.
const GENERATE: &str = include_str!("plans/generate.sql");

/// The trail, and a session without parallel workers, whose reads would not be counted.
struct Watched {
    _trail: Trail,
    runtime: tokio::runtime::Runtime,
    conn: AsyncPgConnection,
    failures: Vec<String>,
}

#[derive(Debug, QueryableByName)]
struct Read {
    #[diesel(sql_type = BigInt)]
    in_sequence: i64,
    #[diesel(sql_type = BigInt)]
    by_index: i64,
}

/// Rows of the trail that the transaction of this session read so far.
const READ: &str = "SELECT sum(seq_tup_read)::bigint AS in_sequence, \
    sum(COALESCE(idx_tup_fetch, 0))::bigint AS by_index \
    FROM pg_stat_xact_user_tables WHERE schemaname = 'threadline' AND relname LIKE 'audit\\_%'";

/// `EXPLAIN` of a query, with its bind values.
struct Explain<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explain<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("EXPLAIN (ANALYZE, TIMING OFF) ");
        self.0.walk_ast(out)
    }
}

impl<Q> Query for Explain<Q> {
    type SqlType = Text;
}

impl<Q> QueryId for Explain<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

fn large_trail() -> Watched {
    let trail = empty_trail();
    trail.run(GENERATE);
    trail.run("ANALYZE");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let conn = runtime.block_on(async {
        let mut conn = trail.connect().await;
        diesel::sql_query("SET max_parallel_workers_per_gather = 0")
            .execute(&mut conn)
            .await
            .unwrap();
        conn
    });
    Watched {
        _trail: trail,
        runtime,
        conn,
        failures: Vec::new(),
    }
}

impl Watched {
    /// Records a failure if a query scans a table sequentially, reads more than `most` rows by index,
    /// or returns nothing.
    fn reads_at_most(
        &mut self,
        most: i64,
        name: &str,
        answer: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<usize, ReadError>,
    ) {
        let conn = &mut self.conn;
        let (entries, read) = self.runtime.block_on(async {
            conn.begin_test_transaction().await.unwrap();
            let before: Read = diesel::sql_query(READ).get_result(conn).await.unwrap();
            let entries = answer(conn).await.unwrap();
            let after: Read = diesel::sql_query(READ).get_result(conn).await.unwrap();
            AnsiTransactionManager::rollback_transaction(conn)
                .await
                .unwrap();
            let read = Read {
                in_sequence: after.in_sequence - before.in_sequence,
                by_index: after.by_index - before.by_index,
            };
            (entries, read)
        });
        if entries == 0 {
            self.failures.push(format!("{name} returns nothing"));
        }
        if read.in_sequence > 0 {
            self.failures
                .push(format!("{name} scans sequentially: {read:?}"));
        }
        if read.by_index > most {
            self.failures
                .push(format!("{name} reads too many rows: {read:?}"));
        }
    }

    fn changes(&mut self, most: i64, name: &str, query: &Timeline) {
        self.reads_at_most(most, name, async |conn| {
            Ok(threadline::timeline(conn, query).await?.entries.len())
        });
    }

    fn plan(&mut self, query: impl QueryFragment<Pg> + Send) -> String {
        let plan: Vec<String> = self
            .runtime
            .block_on(Explain(query).load(&mut self.conn))
            .unwrap();
        plan.join("\n")
    }
}

#[test]
fn no_query_scans_the_whole_trail() {
    let mut trail = large_trail();
    let all = Timeline::new;
    let actor = |text: &str| text.parse::<ActorRef>().unwrap();
    let table = |name: &str| name.parse::<threadline::table::TableName>().unwrap();
    let instant = months_before();
    let page = 1_000;
    trail.changes(page, "all changes", &all());
    trail.changes(
        page,
        "all changes, oldest first",
        &all().order(Order::OldestFirst),
    );
    trail.changes(page, "until an instant", &all().to(instant));
    trail.changes(page, "since an instant", &all().from(instant));
    trail.changes(page, "a table", &all().table(table("table3")));
    trail.changes(
        page,
        "a table until an instant",
        &all().table(table("table3")).to(instant),
    );
    trail.changes(page, "a rare table", &all().table(table("rare")));
    trail.changes(page, "ops", &all().op(Op::Insert));
    trail.changes(
        2_000,
        "a changed field of a table",
        &all()
            .table(table("table3"))
            .changed_field("v".parse().unwrap()),
    );
    trail.changes(
        2_000,
        "values",
        &all()
            .table(table("table3"))
            .scanning_values(SearchText::new("xxx").unwrap()),
    );
    trail.changes(
        10_000,
        "meta",
        &all().meta(MetaPattern::field("tenant", "t3").unwrap()),
    );
    trail.changes(
        20_000,
        "a type of actor",
        &all().actor_type(ActorType::Admin),
    );
    trail.changes(2_000, "a rare actor", &all().actor(actor("user:u5")));
    trail.changes(
        8_000,
        "a frequent actor",
        &all().actor(actor("user:everywhere")),
    );
    trail.changes(
        2_000,
        "unattributed changes",
        &all().attribution(Attribution::Unattributed),
    );
    trail.changes(
        2_000,
        "a rare actor in a table",
        &all().actor(actor("user:u5")).table(table("table3")),
    );
    trail.changes(
        2_000,
        "an actor in a rare table",
        &all().actor(actor("admin:everywhere")).table(table("rare")),
    );
    trail.changes(
        2_000,
        "on behalf of a user",
        &all().on_behalf_of(actor("user:u5")),
    );
    trail.changes(
        400,
        "a correlation",
        &all().correlation_id("c500".parse().unwrap()),
    );
    trail.changes(400, "a request", &all().request_id("r700".parse().unwrap()));
    trail.changes(400, "a job", &all().job_id("j70".parse().unwrap()));
    trail.changes(3_000, "a rare action", &all().action("rare"));
    trail.changes(20_000, "a frequent action", &all().action("a.3"));
    trail.changes(
        3_000,
        "failed actions",
        &all().action_status(ActionStatus::Error),
    );
    trail.changes(200_000, "a category", &all().action_category("cat3"));
    trail.changes(
        3_000,
        "a window of an actor",
        &actor_window(actor("user:u5"), instant, end()),
    );
    let row = || all().row(table("table9"), &key("33"));
    trail.changes(600, "a row", &row());
    let hot = all().row(table("table9"), &key("hot"));
    trail.changes(600, "a row with many changes", &hot);
    trail.changes(
        600,
        "a row with many changes, oldest first",
        &hot.clone().order(Order::OldestFirst),
    );
    trail.reads_at_most(600, "the first change of a field", async |conn| {
        let field = FieldHistory::new(row(), "v".parse().unwrap());
        Ok(threadline::first_change(conn, &field)
            .await?
            .into_iter()
            .count())
    });
    trail.changes(
        page,
        "a scope of a table",
        &all().scope(&Scope::new().tables([table("table3")])),
    );
    let two = Scope::new().tables([table("table3"), table("table4")]);
    trail.changes(1_000, "a scope of tables", &all().scope(&two));
    trail.changes(
        10_000,
        "a scope of a tenant",
        &all().scope(&Scope::new().meta(&MetaPattern::field("tenant", "t3").unwrap())),
    );

    for (most, name, query) in [
        (200, "all", Transactions::new()),
        (200, "of a rare actor", actor_history(actor("user:u5"))),
        (
            3_000,
            "of a frequent actor",
            actor_history(actor("user:everywhere")),
        ),
        (
            200,
            "of a request",
            Transactions::new().request_id("r700".parse().unwrap()),
        ),
        (
            200,
            "since an instant",
            Transactions::new().from(instant).to(end()),
        ),
        (
            200,
            "on behalf",
            Transactions::new().on_behalf_of(actor("user:u5")),
        ),
        (
            3_000,
            "with a tenant",
            Transactions::new().meta(MetaPattern::field("tenant", "t3").unwrap()),
        ),
        (2_000, "in a scope", Transactions::new().scope(&two)),
    ] {
        trail.reads_at_most(most, name, async |conn| {
            Ok(threadline::transactions(conn, &query).await?.entries.len())
        });
    }
    for (most, name, query) in [
        (200, "all", Actions::new()),
        (200, "of an actor", Actions::new().actor(actor("user:u5"))),
        (
            10_000,
            "of a frequent actor",
            Actions::new().actor(actor("user:everywhere")),
        ),
        (
            200,
            "of a request",
            Actions::new().request_id("r700".parse().unwrap()),
        ),
        (
            200,
            "of a job",
            Actions::new().job_id("j70".parse().unwrap()),
        ),
        (
            200,
            "of a correlation",
            Actions::new().correlation_id("c500".parse().unwrap()),
        ),
        (200, "of a name", Actions::new().name("rare")),
        (
            200,
            "that failed",
            Actions::new().status(ActionStatus::Error),
        ),
        (200, "since an instant", Actions::new().from(instant)),
        (3_000, "of a category", Actions::new().category("cat3")),
        (
            2_000,
            "in a scope",
            Actions::new().scope(&two.clone().actions_with_visible_changes()),
        ),
        (
            3_000,
            "in a scope of their own",
            Actions::new().scope(&two.clone().actions(audit_actions::category.eq("cat3"))),
        ),
    ] {
        trail.reads_at_most(most, name, async |conn| {
            Ok(threadline::actions(conn, &query).await?.entries.len())
        });
    }
    let correlation = Correlation::new("c500".parse().unwrap());
    trail.reads_at_most(600, "a correlation's bundle", async |conn| {
        Ok(threadline::correlation(conn, &correlation)
            .await?
            .changes
            .entries
            .len())
    });
    let some = trail
        .runtime
        .block_on(threadline::transactions(
            &mut trail.conn,
            &Transactions::new(),
        ))
        .unwrap();
    let incident = Incident::new(some.entries[0].id.into()).scope(&two);
    trail.reads_at_most(300, "an incident", async |conn| {
        Ok(threadline::incident(conn, incident)
            .await?
            .into_iter()
            .count())
    });
    for (most, name, query) in [
        (1_500, "all changes", all()),
        (1_500, "a table", all().table(table("table3"))),
        (3_000, "a rare actor", all().actor(actor("user:u5"))),
        (
            400,
            "a correlation",
            all().correlation_id("c500".parse().unwrap()),
        ),
        // The scope has a fifth of all changes.
        (7_000, "a scope", all().scope(&two)),
    ] {
        trail.reads_at_most(most, &format!("the count of {name}"), async |conn| {
            Ok(
                match threadline::count_changes(conn, &query, 1_000).await? {
                    ChangeCount::Exact(count) | ChangeCount::AtLeast(count) => {
                        count.try_into().unwrap()
                    }
                },
            )
        });
    }
    for (name, query) in [
        ("all changes", all()),
        ("a table", all().table(table("table3"))),
    ] {
        trail.reads_at_most(11_000, &format!("the volume of {name}"), async |conn| {
            let volume = threadline::volume(conn, &query, instant, end(), 60).await?;
            Ok(volume.iter().filter(|bucket| bucket.count > 0).count())
        });
    }
    trail.reads_at_most(600, "the names of tables", async |conn| {
        Ok(threadline::recorded_tables(conn, None).await?.len())
    });
    trail.reads_at_most(600, "the names of actions", async |conn| {
        Ok(threadline::recorded_actions(conn, None).await?.len())
    });
    let quiet = all().table(table("table3")).from(end()).to(end());
    trail.reads_at_most(100, "the nearest change", async |conn| {
        let nearest = threadline::nearest_changes(conn, &quiet).await?;
        Ok(nearest.before.into_iter().count())
    });
    let ids = some.entries.iter().map(|transaction| transaction.id.into());
    let summaries = TransactionSummaries::new(ids).scope(&two);
    trail.reads_at_most(1_000, "summaries of a page", async |conn| {
        Ok(threadline::transaction_summaries(conn, &summaries)
            .await?
            .len())
    });
    let newest_first = all();
    let newest = threadline::timeline(&mut trail.conn, &newest_first);
    let newest = trail.runtime.block_on(newest).unwrap().entries[0].change.id;
    trail.reads_at_most(30_000, "a change by id in a scope", async |conn| {
        let query = ChangeById::new(newest).scope(&Scope::new().tables([table("table9")]));
        Ok(threadline::change(conn, query).await?.into_iter().count())
    });
    assert!(trail.failures.is_empty(), "{:#?}", trail.failures);
}

#[test]
fn timeline_pages_over_fourteen_months_need_no_large_sort() {
    let mut trail = large_trail();
    let table: threadline::table::TableName = "table3".parse().unwrap();
    let first = Timeline::new();
    let cursor = trail
        .runtime
        .block_on(threadline::timeline(&mut trail.conn, &first))
        .unwrap()
        .next
        .unwrap();
    for query in [
        first.clone(),
        first.clone().after(cursor.clone()),
        first.before(cursor),
        Timeline::new().order(Order::OldestFirst),
        Timeline::new().table(table.clone()),
        Timeline::new().table(table.clone()).op(Op::Update),
        Timeline::new().table(table).to(months_before()),
        Timeline::new().scope(&Scope::new().meta(&MetaPattern::field("tenant", "t3").unwrap())),
    ] {
        let plan = trail.plan(query.query().unwrap());
        assert!(plan.contains("Index Scan"), "{plan}");
        assert!(most_sorted(&plan) <= 60.0, "{plan}");
    }
}

/// The largest number of rows that a plan node sorts. PostgreSQL 18 prints decimals: `rows=49.00`.
fn most_sorted(plan: &str) -> f64 {
    let is_sort = |line: &&str| {
        line.trim_start_matches([' ', '-', '>'])
            .starts_with("Sort  ")
    };
    let rows = |line: &str| {
        let (_, rest) = line.rsplit_once("rows=")?;
        rest.split(' ').next()?.parse().ok()
    };
    plan.lines()
        .filter(is_sort)
        .map(|line| rows(line).unwrap_or(f64::INFINITY))
        .fold(0.0, f64::max)
}

/// An instant after the last change. The changes have fixed dates, so that every run has the same
/// partitions.
fn end() -> chrono::DateTime<chrono::Utc> {
    "2021-03-01T00:00:00Z".parse().unwrap()
}

fn months_before() -> chrono::DateTime<chrono::Utc> {
    end() - chrono::TimeDelta::days(150)
}

fn key(value: &str) -> RowKeyText {
    RowKeyText::from_values(vec![value.to_owned()])
}
