//! `incident`: everything about one transaction.

use anyhow::Context;
use threadline_diesel::nonblocking::incident_bundle;

use super::diff::{IncidentDocument, rules};
use crate::cli::IncidentArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{print_incident, print_json};

pub(crate) async fn run(args: IncidentArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let bundle = incident_bundle(&mut conn, args.transaction_id)
        .await
        .context("cannot read the trail")?;
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
