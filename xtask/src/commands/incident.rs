//! `incident`: one transaction with its actions and changes.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use diesel_async::AsyncPgConnection;
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::documents::IncidentDocument;
use threadline_diesel::{Cursor, Incident, PageSize, change, incident};

use super::diff::deployed_rules;
use crate::args::{DatabaseArgs, OutputArgs, PageArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::incident::show_incident;
use crate::output::json::print_json;
use crate::output::text::{print_block, print_note};

#[derive(Debug, Args)]
pub(crate) struct IncidentArgs {
    /// The id of the transaction, or of one of its changes.
    #[arg(value_name = "TRANSACTION|CHANGE")]
    id: IncidentId,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// An id of a transaction, or of a change.
#[derive(Debug, Clone, Copy)]
enum IncidentId {
    Transaction(AuditTransactionId),
    Change(i64),
}

impl FromStr for IncidentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Change(id));
        }
        text.parse().map(Self::Transaction).map_err(|_| {
            "write the id of a transaction, a UUID, or that of a change, a number".to_owned()
        })
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(id) => write!(f, "audit transaction {id}"),
            Self::Change(id) => write!(f, "change {id}"),
        }
    }
}

pub(crate) async fn run(args: IncidentArgs) -> Result<Answer, Failure> {
    let found = read(&args.database, async |conn| {
        let Some(transaction_id) = find_transaction(conn, args.id).await? else {
            return Ok((None, Vec::new()));
        };
        let bundle = incident(conn, build_query(transaction_id, &args.page)?).await?;
        let rules = if args.output.json {
            deployed_rules(conn).await
        } else {
            Vec::new()
        };
        Ok((bundle, rules))
    })
    .await?;
    let (Some(bundle), rules) = found else {
        print_note(&format!("there is no {}", args.id));
        return Ok(Answer::Bad);
    };
    if args.output.json {
        print_json(&IncidentDocument::new(&bundle, &rules))?;
    } else {
        print_block(&show_incident(&bundle))?;
    }
    Ok(Answer::Fine)
}

/// The transaction of an id; none if there is no such change.
async fn find_transaction(
    conn: &mut AsyncPgConnection,
    id: IncidentId,
) -> Result<Option<AuditTransactionId>, Failure> {
    match id {
        IncidentId::Transaction(id) => Ok(Some(id)),
        IncidentId::Change(id) => {
            let entry = change(conn, id).await?;
            Ok(entry.map(|entry| entry.change.transaction_id.into()))
        }
    }
}

fn build_query(id: AuditTransactionId, page: &PageArgs) -> Result<Incident, Failure> {
    let mut query = Incident::new(id);
    if let Some(limit) = page.limit {
        query = query.page_size(PageSize::new(limit).map_err(Failure::usage)?);
    }
    if let Some(cursor) = &page.after {
        query = query.after(Cursor::from_text(cursor));
    }
    if let Some(cursor) = &page.before {
        query = query.before(Cursor::from_text(cursor));
    }
    Ok(query)
}
