//! The feed's SQL functions, as Diesel queries. They have ids, so a connection prepares each once.

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    BigInt, Bool, Integer, Interval, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use threadline_core::storage::STORAGE_SCHEMA;
use uuid::Uuid;

/// A query that calls a function of the trail with bound arguments.
macro_rules! function_calls {
    ($(
        $(#[$doc:meta])*
        $call:ident { $($argument:ident: $type:ty as $sql_type:ty),+ } -> $row:ty,
        $columns:literal $function:literal;
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, QueryId)]
            pub(crate) struct $call {
                $(pub(crate) $argument: $type),+
            }

            impl QueryFragment<Pg> for $call {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                    out.push_sql(concat!("SELECT ", $columns, " FROM "));
                    out.push_sql(STORAGE_SCHEMA);
                    out.push_sql(concat!(".", $function));
                    let mut before = "(";
                    $(
                        out.push_sql(before);
                        out.push_bind_param::<$sql_type, _>(&self.$argument)?;
                        before = ", ";
                    )+
                    let _ = before;
                    out.push_sql(") AS answer");
                    Ok(())
                }
            }

            impl Query for $call {
                type SqlType = $row;
            }

            impl<Conn> RunQueryDsl<Conn> for $call {}
        )+
    };
}

function_calls! {
    /// Makes a consumer; gives whether there was none.
    CreateConsumer { consumer: String as Text, after_id: Option<i64> as Nullable<BigInt> } -> Bool,
        "answer" "create_feed_consumer";
    /// Drops a consumer; gives whether there was one.
    DropConsumer { consumer: String as Text } -> Bool,
        "answer" "drop_feed_consumer";
    /// Leases the next changes of a consumer.
    Lease { consumer: String as Text, time: PgInterval as Interval, batch: i32 as Integer } -> (
            Text, Nullable<SqlUuid>, Nullable<BigInt>, Nullable<BigInt>, Nullable<Timestamptz>,
            Nullable<Integer>, Nullable<Timestamptz>
        ),
        "outcome, token, after_id, to_id, leased_until, attempt, removed_before" "feed_lease";
    /// Acknowledges; gives whether the lease still stood.
    Acknowledge { consumer: String as Text, token: Uuid as SqlUuid } -> Bool,
        "answer" "feed_acknowledge";
    /// Renews; gives until when, if the lease still stood.
    Renew { consumer: String as Text, token: Uuid as SqlUuid, time: PgInterval as Interval }
        -> Nullable<Timestamptz>,
        "answer" "feed_renew";
    /// Gives up; gives whether the lease still stood.
    Release { consumer: String as Text, token: Uuid as SqlUuid } -> Bool,
        "answer" "feed_release";
    /// How far one consumer is, or all are.
    ReadLag { consumer: Option<String> as Nullable<Text> } -> (
            Text, Timestamptz, BigInt, BigInt, BigInt, Nullable<Timestamptz>, Bool,
            Nullable<Timestamptz>, Nullable<Text>, Integer,
            Nullable<BigInt>, Nullable<Integer>, Nullable<Timestamptz>, Nullable<Text>
        ),
        "name, created_at, acknowledged_to, last_id, behind_at_most, oldest_at, settled, \
         leased_until, leased_by, attempt, waiting_for, waiting_for_pid, waiting_since, \
         waiting_for_prepared" "feed_lag";
}

/// What `feed_lease` gives.
#[derive(Debug, Queryable)]
pub(crate) struct LeaseRow {
    pub(crate) outcome: String,
    pub(crate) token: Option<Uuid>,
    pub(crate) after_id: Option<i64>,
    pub(crate) to_id: Option<i64>,
    pub(crate) leased_until: Option<DateTime<Utc>>,
    pub(crate) attempt: Option<i32>,
    pub(crate) removed_before: Option<DateTime<Utc>>,
}

/// What `feed_lag` gives.
#[derive(Debug, Queryable)]
pub(crate) struct LagRow {
    pub(crate) name: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) acknowledged_to: i64,
    pub(crate) last_id: i64,
    pub(crate) behind_at_most: i64,
    pub(crate) oldest_at: Option<DateTime<Utc>>,
    pub(crate) settled: bool,
    pub(crate) leased_until: Option<DateTime<Utc>>,
    pub(crate) leased_by: Option<String>,
    pub(crate) attempt: i32,
    pub(crate) waiting_for: Option<i64>,
    pub(crate) waiting_for_pid: Option<i32>,
    pub(crate) waiting_since: Option<DateTime<Utc>>,
    pub(crate) waiting_for_prepared: Option<String>,
}
