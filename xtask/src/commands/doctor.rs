//! `doctor`: connection, server, roles, pooler, and how the trail is doing.

use std::io::{Write, stdout};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use diesel::connection::CacheSize;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_diesel::doctor::Doctor;
use threadline_diesel::nonblocking;

use crate::cli::{DatabaseArgs, OutputArgs};
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::report::show_doctor;
use crate::show::print_json;

/// How often two clients ask who answers.
const ROUNDS: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: DoctorArgs) -> Result<Answer, Failure> {
    let connected_at = Instant::now();
    let mut conn = connect(&args.database).await?;
    // Behind a pooler of transactions nothing may be prepared in one and used in another.
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    let question = look_for_a_pooler(&args.database, &mut conn)
        .await
        .connected_for(connected_at.elapsed());
    let report = nonblocking::doctor(&mut conn, &question).await;
    if args.output.json {
        print_json(&report).context("cannot print")?;
    } else {
        writeln!(stdout(), "{}", show_doctor(&report)).context("cannot print")?;
    }
    Ok(if report.is_healthy() {
        Answer::Fine
    } else {
        Answer::Bad
    })
}

/// Asks in turn with a second client who answers. A pooler in transaction mode gives one client the
/// server process that the other's transaction has just left; not always, so they ask a few times.
async fn look_for_a_pooler(database: &DatabaseArgs, conn: &mut AsyncPgConnection) -> Doctor {
    let mut question = Doctor::new();
    let Ok(mut other) = connect(database).await else {
        return question;
    };
    other.set_prepared_statement_cache_size(CacheSize::Disabled);
    for _ in 0..ROUNDS {
        if let Some(pid) = backend_pid(conn).await {
            question = question.answered_by(pid);
        }
        if let Some(pid) = backend_pid(&mut other).await {
            question = question.other_answered_by(pid);
        }
    }
    question
}

/// The server process that answers a transaction of the connection.
async fn backend_pid(conn: &mut AsyncPgConnection) -> Option<i32> {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
        "pg_catalog.pg_backend_pid()",
    ))
    .get_result(conn)
    .await
    .ok()
}
