//! The context of a background job, serialized among the job's arguments.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::{AuditContext, ContextId};
//! use threadline_plug::JobContext;
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendInvoice {
//!     invoice: u64,
//!     #[serde(default)]
//!     audit: JobContext,
//! }
//!
//! // In the request that enqueues the job.
//! let request = AuditContext::new(ActorRef::user("42")?).correlation_id(ContextId::new("c-1")?);
//! let arguments = serde_json::to_string(&SendInvoice {
//!     invoice: 7,
//!     audit: JobContext::from(&request),
//! })?;
//! assert_eq!(
//!     arguments,
//!     r#"{"invoice":7,"audit":{"actor_ref":{"type":"user","id":"42"},"correlation_id":"c-1"}}"#
//! );
//!
//! // In the worker that runs it.
//! let job: SendInvoice = serde_json::from_str(&arguments)?;
//! let context = job.audit.into_context(ContextId::new("job-9")?);
//! assert_eq!(context, request.job_id(ContextId::new("job-9")?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The JSON form
//!
//! The form is stable: new fields can be added, and existing ones keep their meaning, so that one
//! version can run the jobs of another. Programs in other languages can write it.
//!
//! | field | value |
//! |---|---|
//! | `actor_ref` | `{"type": "user", "id": "42"}` |
//! | `on_behalf_of` | like `actor_ref` |
//! | `request_id` | a string of 1 to 256 bytes without control characters |
//! | `correlation_id` | like `request_id` |
//! | `source` | a string |
//! | `meta` | an object |
//!
//! Every field can be missing or null; unknown fields are ignored. The remote address and the job id
//! of the enqueuing context are not included, because they describe where the job was enqueued. The
//! request id and the correlation id connect the job with that context.

mod error;
mod fields;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use threadline_core::actor::ActorRef;
use threadline_core::context::{AuditContext, ContextId};

pub use self::error::InvalidJobContext;

/// The part of an [`AuditContext`] that is passed on to a job. The [module documentation](self) has an
/// example.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct JobContext {
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_ref: Option<ActorRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<ActorRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<ContextId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<ContextId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    meta: Map<String, Value>,
}

impl JobContext {
    /// The actor that enqueued the job.
    #[must_use]
    pub fn actor(&self) -> Option<&ActorRef> {
        self.actor_ref.as_ref()
    }

    /// Converts it into the context of the running job.
    #[must_use]
    pub fn into_context(self, job_id: ContextId) -> AuditContext {
        let mut context = AuditContext::unattributed().job_id(job_id);
        if let Some(actor) = self.actor_ref {
            context = context.with_actor(actor);
        }
        if let Some(actor) = self.on_behalf_of {
            context = context.on_behalf_of(actor);
        }
        if let Some(id) = self.request_id {
            context = context.request_id(id);
        }
        if let Some(id) = self.correlation_id {
            context = context.correlation_id(id);
        }
        if let Some(source) = self.source {
            context = context.source(source);
        }
        self.meta
            .into_iter()
            .fold(context, |context, (key, value)| context.meta(key, value))
    }
}

impl From<&AuditContext> for JobContext {
    fn from(context: &AuditContext) -> Self {
        Self {
            actor_ref: context.actor().cloned(),
            on_behalf_of: context.get_on_behalf_of().cloned(),
            request_id: context.get_request_id().cloned(),
            correlation_id: context.get_correlation_id().cloned(),
            source: context.get_source().map(str::to_owned),
            meta: context.get_meta().clone(),
        }
    }
}

/// Parses the [JSON form](self#the-json-form). Deserialization by serde has the same errors as text.
impl TryFrom<Value> for JobContext {
    type Error = InvalidJobContext;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let mut object = match value {
            Value::Null => Map::new(),
            Value::Object(object) => object,
            _ => return Err(InvalidJobContext::NotAnObject),
        };
        Ok(Self {
            actor_ref: fields::actor(&mut object, "actor_ref")?,
            on_behalf_of: fields::actor(&mut object, "on_behalf_of")?,
            request_id: fields::id(&mut object, "request_id")?,
            correlation_id: fields::id(&mut object, "correlation_id")?,
            source: fields::string(&mut object, "source")?,
            meta: fields::object(&mut object, "meta")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threadline_core::actor::{ActorType, InvalidActor};
    use threadline_core::context::InvalidContextId;

    use super::*;

    fn id(text: &str) -> ContextId {
        ContextId::new(text).unwrap()
    }

    #[test]
    fn all_values_but_address_and_job_id_are_passed_on() {
        let carried = AuditContext::new(ActorRef::admin("7").unwrap())
            .on_behalf_of(ActorRef::user("42").unwrap())
            .request_id(id("r"))
            .correlation_id(id("c"))
            .source("web")
            .meta("tenant", json!({"id": 3}));
        let enqueued = carried.clone().remote_addr("::1").job_id(id("outer"));

        let arguments = serde_json::to_value(JobContext::from(&enqueued)).unwrap();
        assert_eq!(
            arguments,
            json!({
                "actor_ref": {"type": "admin", "id": "7"},
                "on_behalf_of": {"type": "user", "id": "42"},
                "request_id": "r",
                "correlation_id": "c",
                "source": "web",
                "meta": {"tenant": {"id": 3}},
            })
        );
        let read = JobContext::try_from(arguments).unwrap();
        assert_eq!(read.into_context(id("inner")), carried.job_id(id("inner")));
    }

    #[test]
    fn missing_null_and_unknown_fields_are_accepted() {
        for accepted in [
            json!(null),
            json!({}),
            json!({"actor_ref": null, "meta": null, "request_id": null, "source": null}),
            json!({"invoice": 7, "job_id": 12}),
        ] {
            let read = JobContext::try_from(accepted.clone());
            assert_eq!(read, Ok(JobContext::default()), "{accepted}");
        }
        let empty = JobContext::from(&AuditContext::unattributed());
        assert_eq!(serde_json::to_value(empty).unwrap(), json!({}));
    }

    #[test]
    fn errors_name_the_invalid_field() {
        use InvalidJobContext as Invalid;
        let actor_ref = |source| Invalid::Actor {
            field: "actor_ref",
            source,
        };
        let job = InvalidActor::MissingId(ActorType::Job);
        for (invalid, error) in [
            (json!([]), Invalid::NotAnObject),
            (json!("user:42"), Invalid::NotAnObject),
            (
                json!({"actor_ref": {"type": "robot", "id": "1"}}),
                actor_ref(InvalidActor::UnknownType("robot".to_owned())),
            ),
            (json!({"actor_ref": {"type": "job"}}), actor_ref(job)),
            (
                json!({"correlation_id": " "}),
                Invalid::Id {
                    field: "correlation_id",
                    source: InvalidContextId::Empty,
                },
            ),
            (
                json!({"source": 1}),
                Invalid::WrongType {
                    field: "source",
                    expected: "a string",
                },
            ),
            (
                json!({"meta": []}),
                Invalid::WrongType {
                    field: "meta",
                    expected: "an object",
                },
            ),
        ] {
            assert_eq!(JobContext::try_from(invalid), Err(error));
        }
        for no_actor in [
            json!("user:42"),
            json!({}),
            json!({"type": "user", "id": 4}),
        ] {
            let read = JobContext::try_from(json!({"on_behalf_of": no_actor}));
            assert!(
                matches!(
                    read,
                    Err(Invalid::WrongType {
                        field: "on_behalf_of",
                        ..
                    })
                ),
                "{no_actor}"
            );
        }
    }

    #[test]
    fn a_flattened_context_ignores_the_other_arguments() {
        #[derive(Serialize, Deserialize)]
        struct Arguments {
            invoice: u64,
            #[serde(flatten)]
            audit: JobContext,
        }
        let json = r#"{"invoice":7,"actor_ref":{"type":"anonymous"}}"#;
        let read: Arguments = serde_json::from_str(json).unwrap();
        assert_eq!(read.audit.actor(), Some(&ActorRef::anonymous()));
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
}
