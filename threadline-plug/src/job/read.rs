//! The fields of the JSON form, one by one.

use serde_json::{Map, Value};
use threadline_core::actor::{ActorRef, ActorType, InvalidActor};
use threadline_core::context::ContextId;

use super::InvalidJobContext;

type Fields = Map<String, Value>;

pub(super) fn text(
    fields: &mut Fields,
    field: &'static str,
) -> Result<Option<String>, InvalidJobContext> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(field, "a text")),
    }
}

pub(super) fn object(
    fields: &mut Fields,
    field: &'static str,
) -> Result<Option<Fields>, InvalidJobContext> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(wrong_type(field, "an object")),
    }
}

pub(super) fn id(
    fields: &mut Fields,
    field: &'static str,
) -> Result<Option<ContextId>, InvalidJobContext> {
    text(fields, field)?
        .map(|text| ContextId::new(text).map_err(|source| InvalidJobContext::Id { field, source }))
        .transpose()
}

pub(super) fn actor(
    fields: &mut Fields,
    field: &'static str,
) -> Result<Option<ActorRef>, InvalidJobContext> {
    const EXPECTED: &str = r#"an object like {"type": "user", "id": "42"}"#;
    let Some(mut actor) = object(fields, field).map_err(|_| wrong_type(field, EXPECTED))? else {
        return Ok(None);
    };
    let mut part = |name| text(&mut actor, name).map_err(|_| wrong_type(field, EXPECTED));
    let actor_type = part("type")?.ok_or(wrong_type(field, EXPECTED))?;
    let id = part("id")?;
    named(&actor_type, id)
        .map(Some)
        .map_err(|source| InvalidJobContext::Actor { field, source })
}

/// As [`ActorRef`] reads itself, but with an error to match on.
fn named(actor_type: &str, id: Option<String>) -> Result<ActorRef, InvalidActor> {
    match actor_type.parse()? {
        ActorType::Anonymous => Ok(ActorRef::anonymous()),
        known => ActorRef::new(known, id.unwrap_or_default()),
    }
}

fn wrong_type(field: &'static str, expected: &'static str) -> InvalidJobContext {
    InvalidJobContext::WrongType { field, expected }
}
