//! One row: its history, its states at instants, and the SQL that restores one of them.

mod comparison;
mod empty;
mod field;
mod history;
mod instants;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use threadline_core::row_key::RowKeyText;
use threadline_core::table::AuditedTable;
use threadline_diesel::documents::HistoryDocument;
use threadline_diesel::query::{HistoryNotes, HistoryWithChildren, RowQuery};
use threadline_diesel::{
    FieldHistory, Page as ListPage, Restore, Timeline, TimelineEntry, history_notes,
    history_with_children, resolve_value, timeline,
};

use self::instants::Instants;
use crate::access::Capability;
use crate::page::{Page, Screen, Terminal};
use crate::page_error::PageError;
use crate::question::{FieldError, GivenInstant, RowQuestion};
use crate::request::{GrantedRequest, PageContext};
use crate::view::completeness::{self, Completeness, completeness_note};
use crate::view::instant::instant;
use crate::view::restore::{self, restoration};

/// A row whose key is resolved.
struct Row {
    question: RowQuestion,
    key: RowKeyText,
    /// The redaction rules of the captured tables.
    rules: Vec<AuditedTable>,
    completeness: Completeness,
}

pub(crate) async fn show(context: &mut PageContext<'_>) -> Result<Screen, PageError> {
    let request = context.request;
    let mut parameters = request.parameters();
    let taken = RowQuestion::take(&mut parameters, request.now, request.zone());
    match parameters.finish() {
        Err(PageError::Invalid(errors)) if !request.wants_json() => {
            return Ok(empty::form_page(request, &errors).into());
        }
        outcome => outcome?,
    }
    let Some((question, given)) = taken else {
        return Ok(empty::form_page(request, &[]).into());
    };
    if question.became.is_some() && !request.allows(Capability::Values) {
        return Err(PageError::Forbidden(Capability::Values));
    }
    let key = match empty::resolve(context, &question.table, &given).await? {
        Ok(key) => key,
        Err(page) => return Ok(page.into()),
    };
    let row = Row {
        rules: context.rules().await?,
        completeness: completeness::read(context, &question.table).await?,
        question,
        key,
    };
    if request.wants_json() {
        return row.document(context).await;
    }
    Ok(row.page(context).await?.into())
}

impl Row {
    /// All changes of the row that the scope shows.
    fn timeline(&self, request: &GrantedRequest) -> Timeline {
        let row = Timeline::new().row(self.question.table.clone(), &self.key);
        match request.scope() {
            Some(scope) => row.scope(scope),
            None => row,
        }
    }

    /// A page of the changes: of the row, of a field, or with the changes of children.
    async fn changes(
        &self,
        context: &mut PageContext<'_>,
    ) -> Result<ListPage<TimelineEntry>, PageError> {
        let (question, paging) = (&self.question, &self.question.paging);
        if question.with_children {
            let query = HistoryWithChildren::resolve(context.conn, &question.table, &self.key);
            let mut query = query.await?;
            if let Some(scope) = context.request.scope() {
                query = query.scope(scope);
            }
            let query = paging.apply(
                query,
                HistoryWithChildren::page_size,
                HistoryWithChildren::after,
                HistoryWithChildren::before,
            );
            return Ok(history_with_children(context.conn, &query).await?);
        }
        let query = paging.apply(
            self.listed(context).await?,
            Timeline::page_size,
            Timeline::after,
            Timeline::before,
        );
        Ok(timeline(context.conn, &query).await?)
    }

    /// The listed changes: all, or those that set the field.
    async fn listed(&self, context: &mut PageContext<'_>) -> Result<Timeline, PageError> {
        let question = &self.question;
        let row = self.timeline(context.request);
        let Some(field) = &question.field else {
            return Ok(row);
        };
        let mut changes = FieldHistory::new(row, field.clone());
        if let Some(text) = &question.became {
            let value = resolve_value(context.conn, &question.table, field, text).await;
            changes = changes.set_to(value.map_err(|error| empty::value_error(text, error))?);
        }
        Ok(changes.into())
    }

    async fn notes(&self, context: &mut PageContext<'_>) -> Result<HistoryNotes, PageError> {
        let query = RowQuery::new(self.question.table.clone(), &self.key);
        let query = match context.request.scope() {
            Some(scope) => query.scope(scope),
            None => query,
        };
        Ok(history_notes(context.conn, &query).await?)
    }

    /// The document of `as-of --json` for an address with `at`, otherwise that of `history --json`.
    async fn document(&self, context: &mut PageContext<'_>) -> Result<Screen, PageError> {
        if !context.request.allows(Capability::Values) {
            return Err(PageError::Forbidden(Capability::Values));
        }
        let question = &self.question;
        if let Some(at) = &question.at {
            let answer = instants::as_of(context, self, at.instant).await?;
            return Screen::json(&answer);
        }
        if let Some(given) = question.a.as_ref().or(question.b.as_ref()) {
            return Err(PageError::Invalid(vec![FieldError {
                field: "a".to_owned(),
                value: given.text.clone(),
                message: "a document is of one instant: give at, or neither for the history"
                    .to_owned(),
            }]));
        }
        let page = self.changes(context).await?;
        let notes = self.notes(context).await?;
        Screen::json(&HistoryDocument::new(&page, &notes))
    }

    async fn page(&self, context: &mut PageContext<'_>) -> Result<Page, PageError> {
        let request = context.request;
        let page = self.changes(context).await?;
        let notes = self.notes(context).await?;
        let is_first = !self.question.paging.has_cursor();
        let instants = Instants::read(context, self, &page).await?;
        if page.entries.is_empty() && is_first && instants.is_unknown() {
            return empty::no_changes(context, self).await;
        }
        let restore = self.restore(context, &instants).await?;
        let list = if page.entries.is_empty() && is_first {
            let query = self.listed(context).await?;
            empty::reasons(context, &query).await?
        } else if self.question.field.is_some() {
            self.field_changes(request, &page)
        } else {
            self.history(request, &page, &notes)
        };
        let body = html! {
            (self.headline(request, &page))
            (completeness_note(request, &self.completeness))
            (self.comparison(request, &instants, &page))
            (self.field_form(request, &instants))
            (self.history_heading(request))
            (history::notes_list(request, &notes))
            (list)
            (restore)
        };
        Ok(Page::new(self.title(), body).terminal(self.terminal(&instants)))
    }

    /// The SQL that restores the row as of A, or the link to it.
    async fn restore(
        &self,
        context: &mut PageContext<'_>,
        instants: &Instants,
    ) -> Result<Markup, PageError> {
        let request = context.request;
        if !request.allows(Capability::Values) {
            return Ok(html! {});
        }
        let label = html! {
            @if let Some(at) = instants.restored_instant() { "the row as of " (instant(request, at)) }
            @else { "the last state of the row" }
        };
        if !self.question.restore {
            let href = self
                .question
                .list(request.href("/rows"))
                .with("restore", true);
            return Ok(html! {
                h2 { "Restore" }
                p { a.button href=(href) { "Restore statement of " (label) } }
            });
        }
        let query = Restore::new(self.question.table.clone(), &self.key);
        let query = match instants.restored_instant() {
            Some(instant) => query.as_of(instant),
            None => query,
        };
        let answer = restore::read(context, &query).await?;
        Ok(html! {
            h2 { "Restore" }
            details open {
                summary { "SQL that restores " (label) }
                p { "Review the SQL, then run it in psql. The console does not run it." }
                (restoration(&answer))
            }
        })
    }

    /// The title: table and key. A composite key has the names of its columns, if the address has them.
    fn title(&self) -> String {
        let key = match self.question.key.as_slice() {
            [_] => self.key.as_str().to_owned(),
            pairs => pairs.join(", "),
        };
        format!("Row {} {key}", self.question.table)
    }

    /// The commands of this page.
    fn terminal(&self, instants: &Instants) -> Terminal {
        let (table, key) = (self.question.table.to_string(), self.key.as_str());
        let command = |name: &str, options: &[String], instant: Option<DateTime<Utc>>| {
            let mut line = vec![name.to_owned()];
            line.extend_from_slice(options);
            if key.starts_with('-') {
                line.push("--".to_owned());
            }
            line.extend([table.clone(), key.to_owned()]);
            line.extend(instant.map(|at| GivenInstant::at(at).text));
            Terminal::command(line).command.unwrap_or_default()
        };
        let mut options = Vec::new();
        if let Some(field) = &self.question.field {
            options.push(format!("--field={}", field.as_str()));
        }
        if let Some(value) = &self.question.became {
            options.push(format!("--became={value}"));
        }
        if self.question.with_children {
            options.push("--with-children".to_owned());
        }
        let mut commands = vec![command("history", &options, None)];
        commands.extend(instants.shown().map(|at| command("as-of", &[], Some(at))));
        if self.question.restore {
            let at = instants.restored_instant();
            let at = at.map(|at| format!("--as-of={}", GivenInstant::at(at).text));
            commands.push(command("restore", at.as_slice(), None));
        }
        let literal = threadline_core::identifier::quote_literal;
        Terminal {
            command: Some(commands.join("\n")),
            sql: Some(format!(
                "SELECT * FROM threadline.row_history({}, {}, {});",
                literal(self.question.table.schema()),
                literal(self.question.table.name()),
                literal(key)
            )),
            rust: Some(format!(
                "let row = Timeline::new().row({table:?}.parse()?, &RowKeyText::from_stored({key:?}.to_owned()));\n\
                 threadline::timeline(&mut conn, &row).await?"
            )),
        }
    }
}
