//! `doctor`: diagnoses connection, server, roles, pooler and the state of the trail.

use std::time::Instant;

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_diesel::doctor::{Doctor, probe_pooler};

use crate::args::{DatabaseArgs, OutputArgs};
use crate::connection::{connect, transaction};
use crate::exit::{Answer, Failure};
use crate::output::json::print_json;
use crate::output::report::show_doctor;
use crate::output::text::print_block;

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
    let question = probe(&args.database, &mut conn)
        .await
        .connected_for(connected_at.elapsed());
    let report = transaction(&mut conn, async |conn| {
        Ok::<_, Failure>(threadline_diesel::doctor(conn, &question).await)
    })
    .await?;
    if args.output.json {
        print_json(&report)?;
    } else {
        print_block(&show_doctor(&report))?;
    }
    Ok(Answer::fine_if(report.is_healthy()))
}

/// Looks for a pooler with a second connection; without one, the report says that it is unknown.
async fn probe(database: &DatabaseArgs, conn: &mut AsyncPgConnection) -> Doctor {
    match connect(database).await {
        Ok(mut second) => probe_pooler(Doctor::new(), conn, &mut second).await,
        Err(_) => Doctor::new(),
    }
}
