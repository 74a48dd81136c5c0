//! The records of what operators took out of the trail, in the trail itself.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use threadline_core::action::Action;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_core::telemetry::console_failed;
use threadline_diesel::record_action;
use uuid::Uuid;

use crate::question::ChangeFilters;
use crate::request::GrantedRequest;
use crate::settings::Settings;

/// The category of the recorded actions.
const CATEGORY: &str = "console";

/// Records an action of the actor of a request. HEAD takes nothing out of the trail and is not recorded.
pub(crate) async fn record_request(request: &GrantedRequest, screen: &'static str, action: Action) {
    if request.wants_body() {
        record(&request.settings, request.actor.as_ref(), screen, action).await;
    }
}

/// Records an action of an operator; of an anonymous one if the host names none. Without a pool of writers
/// nothing is recorded. A failure is an event, and the answer is sent.
pub(crate) async fn record(
    settings: &Settings,
    actor: Option<&ActorRef>,
    screen: &'static str,
    action: Action,
) {
    let Some(writers) = &settings.writers else {
        return;
    };
    let action = action.category(CATEGORY).meta("screen", screen);
    let context = AuditContext::new(actor.cloned().unwrap_or_else(ActorRef::anonymous));
    let recorded = async {
        let mut connection = writers.connection().await.map_err(|_| "writer pool")?;
        let recorded = record_action(&mut connection, &context, &action).await;
        recorded.map_err(|_| "self-audit")
    };
    let kind = match tokio::time::timeout(settings.limits.connection, recorded).await {
        Ok(Ok(_)) => return,
        Ok(Err(kind)) => kind,
        Err(_) => "self-audit timeout",
    };
    let reference = Uuid::new_v4().simple().to_string();
    console_failed(screen, kind, &reference);
}

/// Whether an action has a name of the console.
pub(crate) fn is_console_action(name: &str) -> bool {
    name.starts_with("console.")
}

/// Filters as they are recorded: keys and searched values are digests, because they can be values of rows.
pub(crate) fn recorded_filters(filters: &ChangeFilters) -> Value {
    let mut recorded = Map::new();
    for (name, value) in filters.fixed().pairs() {
        let value = match name {
            "key" | "meta" | "scan_values" => {
                format!("sha256:{}", hex::encode(Sha256::digest(value)))
            }
            _ => value,
        };
        // A composite key has a digest for each column.
        match recorded.get_mut(name) {
            Some(Value::String(earlier)) => *earlier = format!("{earlier} {value}"),
            _ => {
                recorded.insert(name.to_owned(), value.into());
            }
        }
    }
    Value::Object(recorded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Parameters;

    #[test]
    fn recorded_filters_have_digests_in_place_of_values_of_rows() {
        let query = "table=invoices&key=secret&scan_values=hidden&actor=user%3A1";
        let mut parameters = Parameters::parse(query);
        let now = chrono::DateTime::UNIX_EPOCH;
        let filters = ChangeFilters::take(&mut parameters, now, chrono_tz::Tz::UTC);
        let recorded = recorded_filters(&filters);
        assert_eq!(recorded["actor"], "user:1");
        let text = recorded.to_string();
        assert!(
            text.contains(
                "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
            )
        );
        assert!(
            !text.contains("secret") && !text.contains("hidden"),
            "{text}"
        );
    }
}
