//! `incident`: one transaction with its actions and changes.

use clap::Args;
use threadline_core::transaction::AuditTransactionId;
use threadline_diesel::documents::IncidentDocument;
use threadline_diesel::{Cursor, Incident, PageSize, incident};

use super::diff::deployed_rules;
use crate::args::{DatabaseArgs, OutputArgs, PageArgs};
use crate::connection::read;
use crate::exit::{Answer, Failure};
use crate::output::incident::show_incident;
use crate::output::json::print_json;
use crate::output::text::{print_block, print_note};

#[derive(Debug, Args)]
pub(crate) struct IncidentArgs {
    /// The id of the audit transaction.
    transaction_id: AuditTransactionId,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: IncidentArgs) -> Result<Answer, Failure> {
    let mut question = Incident::new(args.transaction_id);
    if let Some(limit) = args.page.limit {
        question = question.page_size(PageSize::new(limit).map_err(Failure::usage)?);
    }
    if let Some(cursor) = &args.page.after {
        question = question.after(Cursor::from_text(cursor));
    }
    if let Some(cursor) = &args.page.before {
        question = question.before(Cursor::from_text(cursor));
    }
    let found = read(&args.database, async |conn| {
        let bundle = incident(conn, question).await?;
        let rules = if args.output.json {
            deployed_rules(conn).await
        } else {
            Vec::new()
        };
        Ok((bundle, rules))
    })
    .await?;
    let (Some(bundle), rules) = found else {
        print_note(&format!(
            "there is no audit transaction {}",
            args.transaction_id
        ));
        return Ok(Answer::Bad);
    };
    if args.output.json {
        print_json(&IncidentDocument::new(&bundle, &rules))?;
    } else {
        print_block(&show_incident(&bundle))?;
    }
    Ok(Answer::Fine)
}
