//! The document with which a piece of audited work is opened.

use serde_json::{Value, json};

use crate::action::{Action, ActionId};
use crate::context::AuditContext;

/// What `begin_audited_work` takes: the context, and the action if there is one.
#[must_use]
pub fn work_document(context: &AuditContext, action: Option<(ActionId, &Action)>) -> Value {
    let mut document = json!({ "context": context.setting() });
    if let Some(actor) = context.actor() {
        document["actor_ref"] = json!(actor);
    }
    if let Some(action) = action {
        document["action"] = action_document(action);
    }
    document
}

/// What `record_action` takes as its action.
#[must_use]
pub fn action_document((id, action): (ActionId, &Action)) -> Value {
    let mut document = json!(action);
    document["id"] = json!(id);
    document
}

/// What `record_action` takes as its context.
#[must_use]
pub fn context_document(context: &AuditContext) -> Value {
    context.setting()
}
