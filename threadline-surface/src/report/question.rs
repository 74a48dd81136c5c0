//! The report of an address.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use threadline_core::transaction::AuditTransactionId;

use super::evidence::SharedState;
use crate::href::Href;
use crate::question::{ChangeFilters, GivenInstant, Parameters};

/// The longest ticket and question.
const MAX_TEXT_CHARS: usize = 500;

/// What a report is about, and the texts that its reader sees.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ReportQuestion {
    /// The transaction; otherwise the filters.
    pub(crate) transaction: Option<AuditTransactionId>,
    pub(crate) filters: ChangeFilters,
    pub(crate) ticket: Option<String>,
    pub(crate) question: Option<String>,
    /// The zone of the printed times; that of the reader unless given.
    pub(crate) zone: Option<Tz>,
    /// The digest of the report when it was shared.
    pub(crate) digest: Option<String>,
    /// Its parts when it was shared.
    pub(crate) shared: Option<SharedState>,
}

impl ReportQuestion {
    /// Takes a report out of parameters. Errors are kept in the parameters.
    pub(crate) fn take(parameters: &mut Parameters, now: DateTime<Utc>, zone: Tz) -> Self {
        let text = |parameters: &mut Parameters, name| {
            parameters.parsed(name, |text| match text.chars().count() {
                0..=MAX_TEXT_CHARS => Ok(text.to_owned()),
                _ => Err(format!("write at most {MAX_TEXT_CHARS} characters")),
            })
        };
        let given = parameters.parsed("tz", |text| {
            text.parse::<Tz>()
                .map_err(|_| "write a zone as Europe/Berlin".to_owned())
        });
        let question = Self {
            ticket: text(parameters, "ticket"),
            question: text(parameters, "question"),
            zone: given,
            transaction: parameters.value("transaction"),
            digest: parameters.parsed("digest", |text| {
                let is_digest = text.len() == 64 && text.bytes().all(|one| one.is_ascii_hexdigit());
                let message = || "write the 64 digits of a SHA-256".to_owned();
                is_digest.then(|| text.to_lowercase()).ok_or_else(message)
            }),
            shared: parameters.value("shared"),
            filters: ChangeFilters::take(parameters, now, given.unwrap_or(zone)),
        };
        if let (Some(id), false) = (
            &question.transaction,
            question.filters == ChangeFilters::default(),
        ) {
            let message = "give a transaction or filters, not both";
            parameters.reject("transaction", &id.to_string(), message);
        }
        question
    }

    /// Whether the address names nothing to report.
    pub(crate) fn is_empty(&self) -> bool {
        self.transaction.is_none() && self.filters == ChangeFilters::default()
    }

    /// The address of this report as it is now: with instants that do not depend on the time of the request,
    /// the end of its window, and its digest.
    pub(crate) fn permalink(
        &self,
        path: Href,
        end: DateTime<Utc>,
        digest: &str,
        state: &SharedState,
    ) -> Href {
        let link = self.subject(path, end);
        let texts = [
            ("ticket", self.ticket.clone()),
            ("question", self.question.clone()),
            ("tz", self.zone.map(|zone| zone.name().to_owned())),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        link.with_all(texts)
            .with("digest", digest)
            .with("shared", state)
    }

    /// The address of what the report is about.
    pub(crate) fn subject(&self, path: Href, end: DateTime<Utc>) -> Href {
        if let Some(id) = &self.transaction {
            return path.with("transaction", id);
        }
        path.with_all(self.filters_until(end).pairs())
    }

    /// The filters with instants that do not depend on the time of the request.
    pub(crate) fn filters_until(&self, end: DateTime<Utc>) -> ChangeFilters {
        let mut filters = self.filters.fixed();
        if filters.to.is_none() {
            filters.to = Some(GivenInstant {
                text: end.to_rfc3339_opts(SecondsFormat::Micros, true),
                instant: end,
                is_relative: false,
            });
        }
        filters
    }
}
