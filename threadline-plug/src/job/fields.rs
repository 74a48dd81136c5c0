//! Parsing of the fields of the JSON form.

use serde_json::{Map, Value};
use threadline_core::actor::ActorRef;
use threadline_core::context::ContextId;

use super::InvalidJobContext;

type Fields = Map<String, Value>;

pub(super) fn string(
    fields: &mut Fields,
    field: &'static str,
) -> Result<Option<String>, InvalidJobContext> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(field, "a string")),
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
    string(fields, field)?
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
    let mut part = |name| string(&mut actor, name).map_err(|_| wrong_type(field, EXPECTED));
    let actor_type = part("type")?.ok_or(wrong_type(field, EXPECTED))?;
    let id = part("id")?;
    let invalid = |source| InvalidJobContext::Actor { field, source };
    let actor_type = actor_type.parse().map_err(invalid)?;
    ActorRef::from_parts(actor_type, id)
        .map(Some)
        .map_err(invalid)
}

fn wrong_type(field: &'static str, expected: &'static str) -> InvalidJobContext {
    InvalidJobContext::WrongType { field, expected }
}
