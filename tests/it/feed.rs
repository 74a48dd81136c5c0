//! The feed: changes that commit late are delivered, rolled back changes are not, and the changes of
//! each row and the actions are delivered in order.

mod access;
mod actions;
mod delivery;
mod leases;
mod position;

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::feed::{
    self, Batch, BatchSize, ConsumerName, FeedError, FeedItem, Lag, LeaseTime, Leased, Start,
};
use tokio::runtime::Runtime;

use crate::harness::Trail;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)";

fn name(text: &str) -> ConsumerName {
    text.parse().expect("a name")
}

fn size(items: u32) -> BatchSize {
    BatchSize::new(items).expect("a size")
}

/// A session that runs SQL of a test.
struct Session(PgConnection);

impl Session {
    fn of(trail: &Trail) -> Self {
        Self::at(&trail.url())
    }

    fn at(url: &str) -> Self {
        Self(PgConnection::establish(url).expect("a connection"))
    }

    fn run(&mut self, sql: &str) {
        self.0.batch_execute(sql).expect(sql);
    }

    fn pid(&mut self) -> i32 {
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
            "pg_backend_pid()",
        ))
        .get_result(&mut self.0)
        .expect("a pid")
    }
}

/// A worker of a consumer, with its own connection.
struct Worker {
    runtime: Runtime,
    conn: AsyncPgConnection,
    consumer: ConsumerName,
}

impl Worker {
    /// A worker of a new consumer that starts at the beginning.
    fn new(trail: &Trail, consumer: &str) -> Self {
        let mut worker = Self::also(trail, consumer);
        worker.create(Start::Beginning).expect("a consumer");
        worker
    }

    /// A worker of an existing consumer, or of one that the test creates later.
    fn also(trail: &Trail, consumer: &str) -> Self {
        Self::at(&trail.url(), consumer)
    }

    fn at(url: &str, consumer: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let conn = runtime
            .block_on(AsyncPgConnection::establish(url))
            .expect("a connection");
        Self {
            runtime,
            conn,
            consumer: name(consumer),
        }
    }

    fn run(&mut self, sql: &str) {
        use diesel_async::SimpleAsyncConnection;
        self.runtime
            .block_on(self.conn.batch_execute(sql))
            .expect(sql);
    }

    fn create(&mut self, start: Start) -> Result<(), FeedError> {
        self.runtime
            .block_on(feed::create(&mut self.conn, &self.consumer, start))
    }

    fn drop_consumer(&mut self) -> Result<(), FeedError> {
        self.runtime
            .block_on(feed::drop_consumer(&mut self.conn, &self.consumer))
    }

    fn lag(&mut self) -> Lag {
        self.runtime
            .block_on(feed::lag(&mut self.conn, &self.consumer))
            .expect("a lag")
    }

    fn try_lease(&mut self, items: u32) -> Result<Leased, FeedError> {
        self.runtime.block_on(feed::lease(
            &mut self.conn,
            &self.consumer,
            LeaseTime::default(),
            size(items),
        ))
    }

    /// Leases once, without waiting.
    fn lease(&mut self, items: u32) -> Leased {
        self.try_lease(items).expect("a lease")
    }

    /// Leases again until the result is not `Waiting`: transactions of other tests may still run.
    fn settled_lease(&mut self, items: u32) -> Leased {
        for _ in 0..10_000 {
            match self.lease(items) {
                Leased::Waiting => thread::sleep(Duration::from_millis(1)),
                leased => return leased,
            }
        }
        panic!("the consumer is still waiting");
    }

    fn batch(&mut self, items: u32) -> Batch {
        match self.settled_lease(items) {
            Leased::Batch(batch) => *batch,
            other => panic!("no batch: {other:?}"),
        }
    }

    fn acknowledge(&mut self, batch: &Batch) -> Result<(), FeedError> {
        self.runtime
            .block_on(feed::acknowledge(&mut self.conn, &batch.token))
    }

    fn release(&mut self, batch: &Batch) -> Result<(), FeedError> {
        self.runtime
            .block_on(feed::release(&mut self.conn, &batch.token))
    }

    fn renew(&mut self, batch: &Batch) -> Result<chrono::DateTime<chrono::Utc>, FeedError> {
        let time = LeaseTime::default();
        self.runtime
            .block_on(feed::renew(&mut self.conn, &batch.token, time))
    }

    /// Leases and acknowledges all available batches, and returns their items as [`shown`] does.
    fn drain(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Leased::Batch(batch) = self.settled_lease(3) {
            events.extend(shown(&batch));
            self.acknowledge(&batch).expect("the lease holds");
        }
        events
    }
}

/// The items of a batch: changes as `op key`, actions as `action name`.
fn shown(batch: &Batch) -> Vec<String> {
    let show = |item: &FeedItem| match item {
        FeedItem::Change(entry) => format!("{} {}", entry.change.op, entry.change.shown_key()),
        FeedItem::Action(action) => format!("action {}", action.name),
        other => panic!("{other:?}"),
    };
    batch.items.iter().map(show).collect()
}

/// Expires the lease of a consumer.
fn expire(trail: &Trail, consumer: &str) {
    trail.run(&format!(
        "UPDATE threadline.audit_feed_consumers SET leased_until = clock_timestamp() \
         WHERE name = '{consumer}'"
    ));
}
