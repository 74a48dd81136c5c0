//! One change: its diff, its stored images, and what is claimed and known of it.

use maud::{Markup, html};
use threadline_core::table::TableName;
use threadline_diesel::models::StoredJson;
use threadline_diesel::query::ChangeById;
use threadline_diesel::query::diff::ChangeDiff;
use threadline_diesel::{TimelineEntry, change};

use crate::access::Capability;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::request::{GrantedRequest, PageContext};
use crate::view::actor::actor;
use crate::view::completeness::{self, completeness_note};
use crate::view::context_facts::{claimed_facts, known_facts};
use crate::view::diff::diff_table;
use crate::view::facts::{Fact, facts};
use crate::view::id::{change_id, copied, row_key, transaction_id};
use crate::view::instant::instant;
use crate::view::op::op;
use crate::view::states::field_required;
use crate::view::value::cut;

/// The length to which an image is shown; longer ones are cut.
const MAX_IMAGE_BYTES: usize = 64 * 1024;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let id = parameters.value::<i64>("id");
    parameters.finish()?;
    let id = id.ok_or_else(|| field_required("id", "give the id of a change"))?;
    let query = request.scoped(ChangeById::new(id), ChangeById::scope);
    let entry = change(context.conn, query)
        .await?
        .ok_or(PageError::NotFound)?;
    let diff = ChangeDiff::with_rules_among(&entry.change, &context.rules().await?);
    if request.wants_json() {
        return if request.allows(Capability::Values) {
            Screen::json(&diff)
        } else {
            Err(PageError::Forbidden(Capability::Values))
        };
    }
    let table = TableName::new(&entry.change.table_schema, &entry.change.table_name);
    let note = completeness::read(context, &table).await?;
    let body = html! {
        (headline(request, &entry))
        (completeness_note(request, &note))
        (diff_table(request, &diff))
        (claimed_and_known(request, &entry))
        @if request.allows(Capability::Values) {
            (images(&entry))
        }
    };
    Ok(Page::new(format!("Change {id}"), body)
        .terminal(
            Terminal::command(["diff", &id.to_string()])
                .sql(format!(
                    "SELECT * FROM threadline.audit_timeline WHERE id = {id};"
                ))
                .rust(format!("threadline::change(&mut conn, {id}).await?")),
        )
        .into())
}

/// What happened, to what, when.
fn headline(request: &GrantedRequest, entry: &TimelineEntry) -> Markup {
    let change = &entry.change;
    let table = TableName::new(&change.table_schema, &change.table_name);
    html! {
        p.headline {
            (op(change.op))
            " "
            bdi.strong { (table) }
            " "
            (row_key(request, change))
            @if let Some(partition) = &change.partition_name {
                " partition " bdi { (partition) }
            }
            " · "
            (instant(request, change.captured_at))
        }
    }
}

/// The two columns of facts: of the application, and of PostgreSQL.
fn claimed_and_known(request: &GrantedRequest, entry: &TimelineEntry) -> Markup {
    let transaction = entry.transaction.as_ref();
    let action = entry.action.as_ref();
    let of = |text: Option<&String>| text.map(|text| copied(text));
    let mut claimed = vec![
        Fact::new("Actor", Some(actor(request, entry.actor()))),
        Fact::new(
            "On behalf of",
            entry.on_behalf_of().map(|one| actor(request, Some(one))),
        ),
        Fact::new("Action", of(action.map(|one| &one.name))),
        Fact::new("Status", of(action.map(|one| &one.status))),
        Fact::new("Reason", of(action.and_then(|one| one.reason.as_ref()))),
        Fact::new("Comment", of(action.and_then(|one| one.comment.as_ref()))),
    ];
    let mut known = vec![
        Fact::new(
            "Transaction",
            Some(transaction_id(request, entry.change.transaction_id)),
        ),
        Fact::new("Change", Some(change_id(request, entry.change.id))),
    ];
    if let Some(transaction) = transaction {
        claimed.extend(claimed_facts(request, transaction));
        known.extend(known_facts(transaction));
    }
    known.push(Fact::new(
        "Captured",
        Some(instant(request, entry.change.captured_at)),
    ));
    html! {
        div.columns {
            (facts("Claimed by the application", &claimed))
            (facts("Known by PostgreSQL", &known))
        }
    }
}

/// The stored images, folded.
fn images(entry: &TimelineEntry) -> Markup {
    let change = &entry.change;
    html! {
        (image("Stored image after the change", change.data_after.as_ref()))
        (image("Stored values before the change", change.changed_from.as_ref()))
    }
}

fn image(title: &str, image: Option<&StoredJson>) -> Markup {
    html! {
        @if let Some(image) = image {
            details {
                summary { (title) }
                pre tabindex="0" { code { (cut(image.as_str(), MAX_IMAGE_BYTES)) } }
            }
        }
    }
}
