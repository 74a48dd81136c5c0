//! Judges the facts that the checks of the doctor read.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::result::Error;
use diesel::sql_types::{Double, Integer, Nullable, Text, Timestamptz};
use serde_json::json;

use super::{Check, CheckStatus, Doctor};
use crate::coverage::newest;
use crate::coverage::queries::{VersionRow, statement};

/// The clock skew above which times in logs and in the trail are hard to compare.
const TOLERATED_SKEW: TimeDelta = TimeDelta::seconds(2);

/// The age difference between server process and connection above which a pooler is assumed.
const TOLERATED_AGE_SECONDS: f64 = 2.0;

/// A fact that a check's statement returns.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct Fact {
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    text: String,
    #[diesel(sql_type = Nullable<Text>)]
    hint: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    details: Option<String>,
}

fn check(id: &'static str, status: CheckStatus, text: String, hint: Option<&str>) -> Check {
    Check {
        id,
        status,
        text,
        hint: hint.map(str::to_owned),
        details: Vec::new(),
    }
}

fn unknown(id: &'static str, error: &Error) -> Check {
    check(
        id,
        CheckStatus::Unknown,
        format!("the check failed: {error}"),
        None,
    )
}

pub(super) fn judge(id: &'static str, found: Result<Vec<Fact>, Error>) -> Check {
    let fact = match found {
        Ok(facts) => facts.into_iter().next(),
        Err(error) => return unknown(id, &error),
    };
    let Some(fact) = fact else {
        return unknown(id, &Error::NotFound);
    };
    let details = fact
        .details
        .and_then(|details| serde_json::from_str(&details).ok())
        .unwrap_or_default();
    Check {
        id,
        status: CheckStatus::from_text(&fact.status),
        text: fact.text,
        hint: fact.hint,
        details,
    }
}

#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct Clock {
    #[diesel(sql_type = Timestamptz)]
    server: DateTime<Utc>,
}

pub(crate) fn clock() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    statement("SELECT pg_catalog.clock_timestamp() AS server")
}

/// The server's clock was read between two readings of the client's clock; only a time outside of them is skew.
pub(crate) fn judge_clock(
    before: DateTime<Utc>,
    after: DateTime<Utc>,
    found: Result<Vec<Clock>, Error>,
) -> Check {
    let server = match found.map(|clocks| clocks.into_iter().next()) {
        Ok(Some(clock)) => clock.server,
        Ok(None) => return unknown("clock", &Error::NotFound),
        Err(error) => return unknown("clock", &error),
    };
    let skew = (before - server).max(server - after).max(TimeDelta::zero());
    let mut judged = if skew <= TOLERATED_SKEW {
        check(
            "clock",
            CheckStatus::Ok,
            "the clocks of client and server agree".to_owned(),
            None,
        )
    } else {
        let direction = if server > after { "ahead of" } else { "behind" };
        check(
            "clock",
            CheckStatus::Warn,
            format!(
                "the server's clock is {} s {direction} the client's",
                skew.num_seconds()
            ),
            Some(
                "synchronize both with NTP: the trail is timed by the server, and logs by the client",
            ),
        )
    };
    judged.details = vec![json!({"skew_milliseconds": skew.num_milliseconds()})];
    judged
}

/// The session of the connection.
#[derive(Debug, diesel::QueryableByName)]
pub(crate) struct Session {
    #[diesel(sql_type = Integer)]
    backend_pid: i32,
    #[diesel(sql_type = Nullable<Double>)]
    age_seconds: Option<f64>,
}

pub(crate) fn session() -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    statement(
        "SELECT pg_catalog.pg_backend_pid() AS backend_pid, (
            SELECT EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - backend_start)::float8
            FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()
        ) AS age_seconds",
    )
}

impl Doctor {
    /// Certain: one connection with two processes, or two connections with one process, use transaction pooling.
    /// Likely: a process that is older than its connection is pooled. Otherwise a pooler cannot be detected.
    pub(crate) fn judge_pooler(&self, found: Result<Vec<Session>, Error>) -> Check {
        let session = match found.map(|sessions| sessions.into_iter().next()) {
            Ok(Some(session)) => session,
            Ok(None) => return unknown("pooler", &Error::NotFound),
            Err(error) => return unknown("pooler", &error),
        };
        let own = || self.own_backends.iter().chain([&session.backend_pid]);
        let moved = own().any(|pid| *pid != session.backend_pid);
        let shared = self
            .other_backends
            .iter()
            .any(|other| own().any(|pid| pid == other));
        let (status, mode, text) = if moved || shared {
            (
                CheckStatus::Ok,
                "transaction",
                "a pooler in transaction mode: Threadline works behind it",
            )
        } else if let (Some(age), Some(connected)) = (session.age_seconds, self.connected_for)
            && age > connected.as_secs_f64() + TOLERATED_AGE_SECONDS
        {
            (
                CheckStatus::Ok,
                "pooled",
                "a pooler: the server process is older than this connection; its mode cannot be detected",
            )
        } else if self.other_backends.is_empty() && self.own_backends.is_empty() {
            (
                CheckStatus::Unknown,
                "unknown",
                "a pooler was neither detected nor excluded",
            )
        } else {
            (
                CheckStatus::Ok,
                "none_seen",
                "no pooler was detected; one in session mode cannot be",
            )
        };
        let mut judged = check(
            "pooler",
            status,
            text.to_owned(),
            Some("see https://github.com/threadline-rs/threadline/blob/main/guides/pgbouncer.md for what each mode means")
                .filter(|_| mode != "none_seen"),
        );
        judged.details = vec![json!({"mode": mode})];
        judged
    }
}

/// `None` is no trail; no row is a trail without a readable schema version.
pub(crate) fn judge_installation(found: &Result<Option<Vec<VersionRow>>, Error>) -> Check {
    let id = "installation";
    let version = match found {
        Err(error) => return unknown(id, error),
        Ok(None) => {
            return check(
                id,
                CheckStatus::Fail,
                "there is no trail in this database".to_owned(),
                Some("run install and apply the migration that it writes"),
            );
        }
        Ok(Some(rows)) => rows.first().map(|row| row.version),
    };
    let newest = newest();
    let shown = version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
    let (status, hint) = match version {
        Some(version) if version == newest => (CheckStatus::Ok, None),
        Some(version) if version > newest => (
            CheckStatus::Warn,
            Some("use a release that supports this version"),
        ),
        _ => (
            CheckStatus::Warn,
            Some("run install and apply the migrations that it writes"),
        ),
    };
    let text = format!("the trail has schema version {shown}; this release has version {newest}");
    let mut judged = check(id, status, text, hint);
    judged.details = vec![json!({"schema_version": version, "newest_schema_version": newest})];
    judged
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pooler(query: &Doctor, backend_pid: i32, age_seconds: f64) -> String {
        let session = Session {
            backend_pid,
            age_seconds: Some(age_seconds),
        };
        let judged = query.judge_pooler(Ok(vec![session]));
        judged.details[0]["mode"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_pooler_is_reported_only_on_evidence() {
        let known = Doctor::new().connected_for(Duration::from_secs(1));
        assert_eq!(pooler(&Doctor::new(), 1, 0.0), "unknown");
        assert_eq!(pooler(&known, 1, 60.0), "pooled");
        assert_eq!(pooler(&known.clone().answered_by(2), 1, 0.0), "transaction");
        let two = known.answered_by(1);
        assert_eq!(
            pooler(&two.clone().other_answered_by(1), 1, 0.0),
            "transaction"
        );
        assert_eq!(pooler(&two.other_answered_by(2), 1, 0.0), "none_seen");
    }

    #[test]
    fn clock_skew_excludes_the_time_of_the_round_trip() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let judged =
            |server: i64| judge_clock(at(0), at(10), Ok(vec![Clock { server: at(server) }]));
        assert_eq!(judged(5).status, CheckStatus::Ok);
        assert_eq!(judged(12).status, CheckStatus::Ok);
        assert_eq!(
            judged(15).text,
            "the server's clock is 5 s ahead of the client's"
        );
        assert_eq!(
            judged(-9).text,
            "the server's clock is 9 s behind the client's"
        );
    }
}
