//! The evidence document, as a file.

use axum::body::Body;
use chrono::{DateTime, Utc};
use threadline_diesel::evidence::{EvidenceDocumentQuery, EvidenceSubject, evidence_document};

use crate::page::{Attachment, Screen};
use crate::page_error::PageError;
use crate::question::Window;
use crate::request::PageContext;

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let subject = parameters.value::<EvidenceSubject>("subject");
    let window = Window::take(&mut parameters, request.now, request.zone());
    if window.from.is_none() && window.to.is_some() {
        parameters.reject("from", "", "a window needs its start");
    }
    parameters.finish()?;
    let mut query = match &window.from {
        Some(from) => {
            let to = window.to.as_ref().map_or(request.now, |to| to.instant);
            EvidenceDocumentQuery::history(from.instant, to)
        }
        None => EvidenceDocumentQuery::latest(),
    };
    if let Some(plan) = &request.settings.evidence {
        query = query.plan(plan);
    }
    let file_name = file_name(subject.as_ref(), request.now);
    if let Some(subject) = subject {
        query = query.subject(subject);
    }
    let document = evidence_document(context.conn, &query).await?;
    let json = serde_json::to_vec(&document).map_err(|_| PageError::Internal("json"))?;
    Ok(Screen::File(Attachment {
        file_name,
        content_type: "application/json",
        body: Body::from(json),
    }))
}

/// The name of the file: a known subject has letters and underscores only.
fn file_name(subject: Option<&EvidenceSubject>, now: DateTime<Utc>) -> String {
    let subject = subject.map_or("overview", EvidenceSubject::as_str);
    format!(
        "evidence-{subject}-at-{}.json",
        now.format("%Y%m%dT%H%M%SZ")
    )
}
