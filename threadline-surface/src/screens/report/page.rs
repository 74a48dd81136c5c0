//! The parts of the page of a report.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_diesel::AuditTransaction;
use uuid::Uuid;

use crate::access::Capability;
use crate::page::{Page, Terminal};
use crate::page_error::PageError;
use crate::question::FieldError;
use crate::report::{Evidence, MAX_CHANGES, Report, ReportQuestion, sentences, unknown};
use crate::request::GrantedRequest;
use crate::view::actor::actor;
use crate::view::completeness::completeness_note;
use crate::view::context_facts::{claimed_facts, known_facts};
use crate::view::entries::entries;
use crate::view::facts::{Fact, fact_list, facts};
use crate::view::form::{Field, form};
use crate::view::id::{copied, transaction_id};
use crate::view::instant::instant;
use crate::view::states::empty_state;

/// The number of transactions whose context a report shows.
const MAX_TRANSACTIONS: usize = 20;

pub(super) struct ReportPage<'a> {
    pub(super) request: &'a GrantedRequest,
    pub(super) question: &'a ReportQuestion,
    pub(super) report: &'a Report,
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) digest: &'a str,
    pub(super) end: DateTime<Utc>,
}

impl ReportPage<'_> {
    pub(super) fn body(&self, terminal: &Terminal) -> Result<Markup, PageError> {
        let request = self.request;
        let entry_list = entries(request, &self.report.entries, &self.report.rules);
        Ok(html! {
            (self.shared()?)
            (self.questions())
            h2 { "Answer" }
            (self.answer())
            @if !self.report.entries.is_empty() {
                h2 { "Changes" }
                @if !request.allows(Capability::Values) {
                    p.note { "Your grant does not show values." }
                }
                (entry_list)
            }
            (self.transactions())
            h2 { "What is not known" }
            (self.unknown())
            (self.check(terminal)?)
        })
    }

    /// Whether the report is as it was when its address was made.
    fn shared(&self) -> Result<Markup, PageError> {
        let Some(digest) = &self.question.digest else {
            return Ok(html! {});
        };
        if digest == self.digest {
            return Ok(html! {
                p.headline role="status" { span.badge.good { "unchanged" } " This report is as it was when it was shared." }
            });
        }
        let now = self.evidence.state()?;
        let shared = self.question.shared.as_ref();
        let differences = shared.map(|shared| shared.differences(&now));
        let is_partial = self.request.scope().is_some() || !self.request.allows(Capability::Values);
        Ok(html! {
            div.empty role="status" {
                p.strong { "This report differs from the one that was shared." }
                ul {
                    @for difference in differences.iter().flatten() { li { (difference) } }
                    @if is_partial { li { "Your grant may show another part of the trail than that of the person who shared it." } }
                    @if self.request.scope().is_none() { li { "Later commits, retention and erasures change a report. Below is the trail as it is now." } }
                }
            }
        })
    }

    fn questions(&self) -> Markup {
        let question = self.question;
        let text = |text: &Option<String>| {
            let text = text.as_ref();
            text.map(|text| html! { bdi { (text) } })
        };
        let filters = question.filters.fixed().pairs();
        let subject = html! {
            @if let Some(id) = &question.transaction {
                "transaction " (transaction_id(self.request, id))
            } @else {
                ul.chips { @for (name, value) in &filters { li { (name.replace('_', " ")) " " bdi { (value) } } } }
            }
        };
        facts(
            "Question",
            &[
                Fact::new("Ticket", text(&question.ticket)),
                Fact::new("Question", text(&question.question)),
                Fact::new("About", Some(subject)),
                Fact::new("Made", Some(instant(self.request, self.report.taken_at))),
            ],
        )
    }

    fn answer(&self) -> Markup {
        let sentences = sentences(self.report, self.evidence, self.request.zone());
        if sentences.is_empty() {
            let advice = html! {
                p { "The trail has no change and no action that matches. " }
                p { "Widen the window, or see below from when on the trail of the table is complete." }
            };
            return empty_state("Nothing is recorded", &advice);
        }
        html! { ul.answer id="answer" { @for sentence in &sentences { li { bdi { (sentence) } } } } }
    }

    /// What the application claims and PostgreSQL knows of each transaction.
    fn transactions(&self) -> Markup {
        let mut seen: Vec<Uuid> = Vec::new();
        let mut transactions: Vec<&AuditTransaction> = Vec::new();
        for found in self
            .report
            .entries
            .iter()
            .filter_map(|one| one.transaction.as_ref())
        {
            if !seen.contains(&found.id) {
                seen.push(found.id);
                transactions.push(found);
            }
        }
        let rest = transactions.len().saturating_sub(MAX_TRANSACTIONS);
        html! {
            @if !transactions.is_empty() {
                h2 { "Transactions" }
                div.scroll tabindex="0" role="region" aria-label="Transactions" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Claimed by the application" }
                                th scope="col" { "Known by PostgreSQL" }
                            }
                        }
                        tbody {
                            @for transaction in transactions.iter().take(MAX_TRANSACTIONS) {
                                (self.claimed_and_known(transaction))
                            }
                        }
                    }
                }
            }
            @if rest > 0 { p.note { (rest) " more transactions: their pages have these facts." } }
        }
    }

    fn claimed_and_known(&self, transaction: &AuditTransaction) -> Markup {
        let request = self.request;
        let behalf = transaction.on_behalf_of.as_ref();
        let mut claimed = vec![
            Fact::new("Actor", Some(actor(request, transaction.actor.as_ref()))),
            Fact::new("On behalf of", behalf.map(|one| actor(request, Some(one)))),
        ];
        claimed.extend(claimed_facts(request, transaction));
        let mut known = vec![
            Fact::new("Transaction", Some(transaction_id(request, transaction.id))),
            Fact::new(
                "First change",
                Some(instant(request, transaction.occurred_at)),
            ),
        ];
        known.extend(known_facts(transaction));
        html! { tr { td { (fact_list(&claimed)) } td { (fact_list(&known)) } } }
    }

    fn unknown(&self) -> Markup {
        let sentences = unknown(self.report, self.evidence);
        html! {
            ul.answer { @for sentence in &sentences { li { bdi { (sentence) } } } }
            (completeness_note(self.request, &self.report.completeness))
        }
    }

    fn check(&self, terminal: &Terminal) -> Result<Markup, PageError> {
        let request = self.request;
        let state = self.evidence.state()?;
        let subject = |path| self.question.subject(request.href(path), self.end);
        let link = self
            .question
            .permalink(request.href("/report"), self.end, self.digest, &state);
        let code = |text: &Option<String>| {
            let text = text.as_ref();
            text.map(|text| html! { pre tabindex="0" { code { (text) } } })
        };
        let bytes = subject("/report.json").with("evidence", "true");
        let list = [
            Fact::new("Command", code(&terminal.command)),
            Fact::new("SQL", code(&terminal.sql)),
            Fact::new("Snapshot", Some(copied(&self.report.snapshot))),
            Fact::new("SHA-256", Some(copied(self.digest))),
            Fact::new(
                "Of these bytes",
                Some(
                    html! { a href=(bytes) { "the evidence as JSON" } ", with " code { "sha256sum" } },
                ),
            ),
            Fact::new(
                "This report",
                Some(html! {
                    a.permalink href=(link) { "permanent address" } ": it says later whether the trail still gives this answer. "
                    a href=(subject("/report.json")) { "As JSON" }
                }),
            ),
        ];
        Ok(facts("How to check", &list))
    }
}

/// The form of a report, with the values of the address.
pub(super) fn form_page(request: &GrantedRequest, errors: &[FieldError]) -> Page {
    let mut parameters = request.parameters();
    let fields = [
        ("ticket", "Ticket", "SUP-1204: for the reader of the report"),
        (
            "question",
            "Question",
            "what the ticket asks: who deleted invoice 42?",
        ),
        ("transaction", "Transaction", "its id; or one of these:"),
        ("correlation", "Correlation", "id of what happened together"),
        ("table", "Table", "invoices, or billing.invoices"),
        ("key", "Key", "of a row of the table"),
        ("actor", "Actor", "user:42"),
        ("from", "From", "2026-01-31 12:00, or -24h"),
        ("to", "To", "now, unless given"),
        ("tz", "Time zone", "of the printed times: Europe/Berlin"),
    ];
    let given = fields.map(|(name, ..)| parameters.texts(name).join(" "));
    let mut inputs = Vec::new();
    for ((name, label, hint), value) in fields.into_iter().zip(&given) {
        inputs.push(
            Field::new(name, label)
                .hint(hint)
                .value(value)
                .errors(errors),
        );
    }
    let is_field = |error: &&FieldError| fields.iter().any(|(name, ..)| *name == error.field);
    let others: Vec<_> = errors.iter().filter(|error| !is_field(error)).collect();
    let body = html! {
        p { "A report answers a ticket from the trail: who, when, what and why, what is not known, and how to check it. It has at most " (MAX_CHANGES) " changes." }
        @if !others.is_empty() {
            div.empty role="alert" {
                ul {
                    @for error in others {
                        li { @if !error.field.is_empty() { code { (error.field) } ": " } (error.message) }
                    }
                }
            }
        }
        (form(&request.href("/report"), "Create the report", &inputs))
    };
    let status = if errors.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    Page::new("Report", body).status(status)
}
