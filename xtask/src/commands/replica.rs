//! `replica`: the trail on a PostgreSQL server of its own.

use clap::{Args, Subcommand, ValueEnum};
use threadline_core::replica::{primary_sql, replica_sql};

use crate::exit::{Answer, Failure};
use crate::output::text::print_script;

#[derive(Debug, Subcommand)]
pub(crate) enum ReplicaCommand {
    /// Print the SQL that replicates the trail to another server; nothing is executed.
    Sql(SqlArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// Print only the script of this server.
    #[arg(long, value_enum)]
    on: Option<Server>,
    /// The connection string by which the replica reaches the primary.
    #[arg(
        long,
        value_name = "STRING",
        default_value = "host=PRIMARY dbname=DATABASE user=threadline_replica"
    )]
    connection: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// The server of the application.
    Primary,
    /// The server that gets the trail.
    Replica,
}

pub(crate) fn run(command: &ReplicaCommand) -> Result<Answer, Failure> {
    let ReplicaCommand::Sql(args) = command;
    let script = match args.on {
        Some(Server::Primary) => primary_sql(),
        Some(Server::Replica) => replica_sql(&args.connection),
        None => format!("{}\n{}", primary_sql(), replica_sql(&args.connection)),
    };
    print_script(&script)?;
    Ok(Answer::Fine)
}
