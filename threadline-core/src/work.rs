//! The JSON arguments of the SQL functions `begin_audited_work` and `record_action`.

use serde_json::{Value, json};

use crate::action::{Action, ActionId};
use crate::context::AuditContext;

/// The argument of `begin_audited_work`: the context, and the action if there is one.
#[must_use]
pub fn work_document(context: &AuditContext, action: Option<(ActionId, &Action)>) -> Value {
    let mut document = json!({ "context": context_document(context) });
    if let Some(actor) = context.actor() {
        document["actor_ref"] = json!(actor);
    }
    if let Some(action) = action {
        document["action"] = action_document(action);
    }
    document
}

/// The action argument of `record_action`.
#[must_use]
pub fn action_document((id, action): (ActionId, &Action)) -> Value {
    let mut document = json!(action);
    document["id"] = json!(id);
    document
}

/// The context argument of `record_action`.
#[must_use]
pub fn context_document(context: &AuditContext) -> Value {
    context.setting()
}
