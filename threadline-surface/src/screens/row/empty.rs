//! Pages of a row without an answer: the form of a row, keys that do not fit, rows without changes.

use axum::http::StatusCode;
use maud::{Markup, html};
use threadline_core::row_key::{RowKeyInput, RowKeyText};
use threadline_core::table::TableName;
use threadline_diesel::query::{EmptyReason, TableQuery, ValueError};
use threadline_diesel::{CaptureStatus, Timeline, capture_status, explain_empty};

use super::Row;
use crate::page::{Page, Terminal};
use crate::page_error::PageError;
use crate::question::{FieldError, resolve_row_key};
use crate::request::{GrantedRequest, PageContext};
use crate::view::completeness::completeness_note;
use crate::view::form::{Field, field};
use crate::view::states::{empty_state, explanation};

/// The page with the form of a row, and the errors of its fields.
pub(super) fn form_page(request: &GrantedRequest, errors: &[FieldError]) -> Page {
    let parameters = || request.parameters();
    let given = |name| parameters().texts(name).join(",");
    let (table, key, at) = (given("table"), given("key"), given("at"));
    let fields = [
        Field::new("table", "Table")
            .value(&table)
            .hint("orders or billing.orders")
            .errors(errors),
        Field::new("key", "Key")
            .value(&key)
            .hint("42; of a composite key order_id=7,line_no=2")
            .errors(errors),
        Field::new("at", "As of (optional)")
            .value(&at)
            .hint("2026-01-31 12:00, -24h")
            .errors(errors),
    ];
    let others: Vec<_> = errors
        .iter()
        .filter(|error| !["table", "key", "at"].contains(&error.field.as_str()))
        .collect();
    let body = html! {
        @if !others.is_empty() {
            div.empty role="alert" {
                ul {
                    @for error in others {
                        li { code { bdi { (error.field) } } " " bdi { (error.value) } ": " bdi { (error.message) } }
                    }
                }
            }
        }
        form.stack method="get" action=(request.href("/rows")) {
            @for one in &fields { (field(one)) }
            button.primary type="submit" { "Open the row" }
        }
    };
    let page = Page::new("Open a row", body);
    if errors.is_empty() {
        page
    } else {
        page.status(StatusCode::UNPROCESSABLE_ENTITY)
    }
}

/// The stored form of a key, or the page that says why there is none. Under a scope a hidden table and a table
/// that does not exist have the same page.
pub(super) async fn resolve(
    context: &mut PageContext<'_>,
    table: &TableName,
    given: &RowKeyInput,
) -> Result<Result<RowKeyText, Page>, PageError> {
    let request = context.request;
    if let Some(scope) = request.scope() {
        let status = capture_status(context.conn, TableQuery::new(table.clone()).scope(scope));
        if status.await? == CaptureStatus::Unknown {
            return Ok(Err(nothing_page(request, table, &no_match())));
        }
    }
    let errors = match resolve_row_key(context, table, given).await {
        Ok(key) => return Ok(Ok(key)),
        Err(PageError::Invalid(errors)) => errors,
        Err(error) => return Err(error),
    };
    let reasons = if request.scope().is_none() {
        explain_empty(context.conn, &Timeline::new().table(table.clone())).await?
    } else {
        Vec::new()
    };
    let is_unknown_table = matches!(
        reasons.as_slice(),
        [EmptyReason::UnknownTable { .. } | EmptyReason::NotCaptured { .. }]
    );
    if is_unknown_table && !request.wants_json() {
        return Ok(Err(nothing_page(
            request,
            table,
            &reason_list(request, &reasons),
        )));
    }
    if request.wants_json() {
        return Err(PageError::Invalid(errors));
    }
    Ok(Err(form_page(request, &errors)))
}

/// The error of a value that does not fit its column.
pub(super) fn value_error(text: &str, error: ValueError) -> PageError {
    match error {
        ValueError::Read(error) => error.into(),
        other => PageError::Invalid(vec![FieldError {
            field: "became".to_owned(),
            value: text.to_owned(),
            message: other.to_string(),
        }]),
    }
}

/// The page of a row of which no change is known.
pub(super) async fn no_changes(
    context: &mut PageContext<'_>,
    row: &Row,
) -> Result<Page, PageError> {
    let reasons = reasons(context, &row.timeline(context.request)).await?;
    let request = context.request;
    let body = html! {
        (completeness_note(request, &row.completeness))
        (reasons)
        p { a href=(request.href("/rows")) { "Open another row" } }
    };
    let (table, key) = (&row.question.table, row.key.as_str());
    Ok(Page::new(row.title(), body).terminal(Terminal::command([
        "history",
        &table.to_string(),
        key,
    ])))
}

/// Why a list is empty. Under a scope there are no reasons.
pub(super) async fn reasons(
    context: &mut PageContext<'_>,
    query: &Timeline,
) -> Result<Markup, PageError> {
    let reasons = explain_empty(context.conn, query).await?;
    let request = context.request;
    Ok(if reasons.is_empty() {
        no_match()
    } else {
        reason_list(request, &reasons)
    })
}

fn nothing_page(request: &GrantedRequest, table: &TableName, reasons: &Markup) -> Page {
    let body = html! {
        (reasons)
        p { a href=(request.href("/rows")) { "Open another row" } }
    };
    Page::new(format!("Row of {table}"), body)
}

fn no_match() -> Markup {
    empty_state(
        "No changes match",
        &html! { p { "Check the table, the key and the filters." } },
    )
}

fn reason_list(request: &GrantedRequest, reasons: &[EmptyReason]) -> Markup {
    let keys = || request.parameters().texts("key");
    let row = |table: &TableName| {
        let href = request.href("/rows").with("table", table);
        keys().iter().fold(href, |href, key| href.with("key", key))
    };
    let body = html! {
        @for reason in reasons {
            @match reason {
                EmptyReason::UnknownTable { similar, .. } if !similar.is_empty() => {
                    p { "There is no such table, and no changes are recorded for one. Similar tables:" }
                    ul { @for table in similar { li { a href=(row(table)) { bdi { (table) } } } } }
                }
                other => (explanation(request, other)),
            }
        }
    };
    empty_state("No changes match", &body)
}
