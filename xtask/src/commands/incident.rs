//! `incident`: everything about one transaction.

use anyhow::Context;
use threadline_diesel::incident::Incident;
use threadline_diesel::nonblocking::incident_bundle;
use threadline_diesel::page::{Cursor, PageSize};

use super::diff::{IncidentDocument, rules};
use super::lists::unanswered;
use crate::cli::IncidentArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{print_incident, print_json};

pub(crate) async fn run(args: IncidentArgs) -> Result<Answer, Failure> {
    let mut question = Incident::of(args.transaction_id);
    if let Some(limit) = args.page.limit {
        let size = PageSize::new(limit).map_err(|wrong| Failure::usage(wrong.to_string()))?;
        question = question.page_size(size);
    }
    if let Some(cursor) = &args.page.after {
        question = question.after(Cursor::from_text(cursor));
    }
    if let Some(cursor) = &args.page.before {
        question = question.before(Cursor::from_text(cursor));
    }
    let mut conn = connect(&args.database).await?;
    let bundle = incident_bundle(&mut conn, question)
        .await
        .map_err(unanswered)?;
    let Some(bundle) = bundle else {
        eprintln!("there is no audit transaction {}", args.transaction_id);
        return Ok(Answer::Bad);
    };
    if args.output.json {
        let rules = rules(&mut conn).await;
        print_json(&IncidentDocument::new(&bundle, &rules)).context("cannot print")?;
    } else {
        print_incident(&bundle).context("cannot print")?;
    }
    Ok(Answer::Fine)
}
