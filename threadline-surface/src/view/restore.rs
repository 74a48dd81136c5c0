//! The SQL that restores rows, as a text for a person to review and run.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use maud::{Markup, html};
use threadline_diesel::query::ChangeById;
use threadline_diesel::restore::{MissingEffect, RestoreError};
use threadline_diesel::{Restore, RestorePlan, change, restore_plan};

use super::id::copy_button_named;
use crate::page_error::PageError;
use crate::request::PageContext;

/// The answer to a query for a restoration.
pub(crate) enum Restoration {
    /// The plan.
    Plan(Box<RestorePlan>),
    /// There is no plan: why.
    Refused(String),
}

/// Reads the plan of a restoration. Under a scope, only of a deleted row all of whose records are visible.
pub(crate) async fn read(
    context: &mut PageContext<'_>,
    query: &Restore,
) -> Result<Restoration, PageError> {
    let outcome = restore_plan(context.conn, query).await;
    if context.request.scope().is_some() {
        let mut plan = outcome.ok();
        let statements = plan.iter_mut().flat_map(|plan| &mut plan.statements);
        // The reason of a suspension can be about other rows of the table.
        for gap in statements.flat_map(|statement| &mut statement.gaps) {
            gap.reason = None;
        }
        return match plan {
            Some(plan) if is_visible(context, &plan).await? => Ok(Restoration::Plan(plan.into())),
            _ => Ok(Restoration::Refused(
                "Your scope does not show all records that the statement needs.".to_owned(),
            )),
        };
    }
    match outcome {
        Ok(plan) => Ok(Restoration::Plan(plan.into())),
        Err(RestoreError::Database(error)) if is_refusal(&error) => Ok(Restoration::Refused(
            "The present row cannot be read: the role of the console needs SELECT on the table. \
             The command below writes the statement with the rights of its own role."
                .to_owned(),
        )),
        Err(RestoreError::Database(error)) => Err(error.into()),
        Err(error) => Ok(Restoration::Refused(error.to_string())),
    }
}

/// Whether an error of PostgreSQL is about the statement rather than the connection or the time limit.
fn is_refusal(error: &DieselError) -> bool {
    matches!(
        error,
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, details)
            if !details.message().contains("statement timeout")
    )
}

/// Whether the scope shows the removal of the row and the sources of all values.
async fn is_visible(context: &mut PageContext<'_>, plan: &RestorePlan) -> Result<bool, PageError> {
    let (Some(scope), Some(removal)) = (context.request.scope(), &plan.removed_by) else {
        return Ok(false);
    };
    let sources = plan.statements.iter().map(|one| one.source.id);
    for id in sources.chain([removal.id]) {
        let query = ChangeById::new(id).scope(scope);
        if change(context.conn, query).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A restoration: what is not restored, and the script.
pub(crate) fn restoration(answer: &Restoration) -> Markup {
    let plan = match answer {
        Restoration::Plan(plan) => plan,
        Restoration::Refused(why) => return html! { p.note { bdi { (why) } } },
    };
    let script = plan.to_string();
    let missing = plan
        .statements
        .iter()
        .flat_map(|one| one.missing.iter().map(move |missing| (one, missing)));
    html! {
        @if plan.needed_values() > 0 {
            p { span.token.warning { (plan.needed_values()) " values needed" }
                " Replace each " code { "/* value needed */" } " before you run the script." }
        }
        @if missing.clone().next().is_some() || !plan.skipped.is_empty() {
            p { "Not restored:" }
            ul {
                @for (statement, missing) in missing {
                    li {
                        bdi { (statement.table) " " (statement.row_key) } ", "
                        @if missing.effect == MissingEffect::ValueNeeded { span.token.warning { "needed" } " " }
                        bdi { (missing) }
                    }
                }
                @for row in &plan.skipped {
                    li { bdi { (row.table) " " (row.row_key) } ": " (row.reason) }
                }
            }
        }
        pre tabindex="0" { code { (script) } }
        (copy_button_named(&script, "Copy the SQL"))
    }
}
