//! The lists of an actor.

use chrono::{DateTime, Utc};
use threadline_core::actor::ActorRef;
use threadline_diesel::query::TransactionSummary;
use threadline_diesel::{
    Actions, AuditAction, AuditTransaction, Page, PageSize, Timeline, TimelineEntry, Transactions,
    timeline, transactions,
};

use crate::page_error::PageError;
use crate::question::{Paging, Window};
use crate::request::{GrantedRequest, PageContext};

/// A list of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum List {
    #[default]
    Transactions,
    Changes,
    Actions,
    Behalf,
}

impl List {
    pub(super) const ALL: [Self; 4] = [
        Self::Transactions,
        Self::Changes,
        Self::Actions,
        Self::Behalf,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Changes => "changes",
            Self::Actions => "actions",
            Self::Behalf => "behalf",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Transactions => "Transactions",
            Self::Changes => "Changes",
            Self::Actions => "Actions",
            Self::Behalf => "On their behalf",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|list| list.as_str() == text);
        found.ok_or_else(|| "write transactions, changes, actions or behalf".to_owned())
    }
}

/// The question of an address.
pub(super) struct Question {
    pub(super) actor: ActorRef,
    pub(super) list: List,
    pub(super) window: Window,
    pub(super) paging: Paging,
}

/// A page of one of the lists.
pub(super) enum Answer {
    Transactions(Page<AuditTransaction>, Vec<TransactionSummary>),
    Changes(Page<TimelineEntry>),
    Actions(Page<AuditAction>, Vec<TransactionSummary>),
}

fn changes(request: &GrantedRequest, question: &Question) -> Timeline {
    let actor = question.actor.clone();
    let query = match question.list {
        List::Behalf => Timeline::new().on_behalf_of(actor),
        _ => Timeline::new().actor(actor),
    };
    request.scoped(query, Timeline::scope)
}

/// Reads a page of the list.
pub(super) async fn read(
    context: &mut PageContext<'_>,
    question: &Question,
) -> Result<Answer, PageError> {
    let request = context.request;
    let (paging, window) = (&question.paging, &question.window);
    match question.list {
        List::Transactions => {
            let query = Transactions::new().actor(question.actor.clone());
            let query = request.scoped(query, Transactions::scope);
            let query = window.apply(query, Transactions::from, Transactions::to);
            let query = paging.apply(
                query,
                Transactions::page_size,
                Transactions::after,
                Transactions::before,
            );
            let page = transactions(context.conn, &query).await?;
            let summaries = context
                .summaries(page.entries.iter().map(|one| one.id))
                .await?;
            Ok(Answer::Transactions(page, summaries))
        }
        List::Changes | List::Behalf => {
            let query = changes(request, question);
            let query = window.apply(query, Timeline::from, Timeline::to);
            let query = paging.apply(
                query,
                Timeline::page_size,
                Timeline::after,
                Timeline::before,
            );
            Ok(Answer::Changes(timeline(context.conn, &query).await?))
        }
        List::Actions => {
            let query = Actions::new().actor(question.actor.clone());
            let query = window.apply(query, Actions::from, Actions::to);
            let query = paging.apply(query, Actions::page_size, Actions::after, Actions::before);
            let page = context.actions(query).await?;
            let ids = page.entries.iter().map(|one| one.transaction_id);
            let summaries = context.summaries(ids).await?;
            Ok(Answer::Actions(page, summaries))
        }
    }
}

/// When a list of the actor has its last entry, at any time.
pub(super) async fn newest(
    context: &mut PageContext<'_>,
    question: &Question,
    list: List,
) -> Result<Option<DateTime<Utc>>, PageError> {
    let question = Question {
        actor: question.actor.clone(),
        list,
        window: Window::default(),
        paging: Paging::of_size(PageSize::new(1).unwrap_or_default()),
    };
    let answer = match read(context, &question).await {
        Ok(answer) => answer,
        // A scope of changes does not say which actions are visible.
        Err(PageError::Unscoped) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match answer {
        Answer::Transactions(page, _) => page.entries.first().map(|one| one.occurred_at),
        Answer::Changes(page) => page.entries.first().map(|one| one.change.captured_at),
        Answer::Actions(page, _) => page.entries.first().map(|one| one.recorded_at),
    })
}
