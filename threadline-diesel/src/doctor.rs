//! Is this a place where the trail can live? Connection, server, roles, pooler, and how the trail
//! is doing.
//!
//! # The JSON
//!
//! A [`DoctorReport`] is an object with `format_version` (1), `checks`, and `summary` (how many are
//! `ok`, `warn`, `fail`, `unknown`). A check has an `id` (stable), a `status` (`ok`, `warn`, `fail`,
//! `unknown`), `text`, `hint` (what to do, or null), and `details`, an array of objects that depend
//! on the check.
//!
//! | id | asks |
//! |---|---|
//! | `clock` | do the clocks of client and server agree? |
//! | `pooler` | is there a pooler between, and in which mode? |
//! | `installation` | is there a trail, and of which schema version? |
//! | `server_version` | is this PostgreSQL supported? |
//! | `connected_role` | what may the connected role do? |
//! | `settings` | is a setting on that takes the trail's ground away? |
//! | `long_transactions` | does an old transaction hold back vacuum, or the feed of changes? |
//! | `prepared_transactions` | the same of prepared ones |
//! | `trail_size` | how large is the trail, and how does it grow? |
//! | `partitions_ahead` | until when are there partitions? |
//! | `indexes` | which index of the trail is invalid, or large and not used? |
//! | `vacuum` | do tables of the trail hold many dead rows? |

mod judge;

use std::time::Duration;

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use serde::Serialize;

use crate::coverage::queries::statement;
pub(crate) use judge::{Fact, clock, judge_clock, judge_installation, session};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// Something should be done.
    Warn,
    /// The trail cannot work like this, or not as it promises.
    Fail,
}

impl CheckStatus {
    /// As JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn from_text(text: &str) -> Self {
        match text {
            "ok" => Self::Ok,
            "warn" => Self::Warn,
            "fail" => Self::Fail,
            _ => Self::Unknown,
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// Which; stable.
    pub id: &'static str,
    /// How it came out.
    pub status: CheckStatus,
    /// What was found, for a person.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What was found, for a machine: objects whose fields depend on the check.
    pub details: Vec<serde_json::Value>,
}

/// How many checks came out how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DoctorSummary {
    /// As it should be.
    pub ok: usize,
    /// Something should be done.
    pub warn: usize,
    /// Not as the trail needs it.
    pub fail: usize,
    /// Not found out.
    pub unknown: usize,
}

/// What the doctor found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// Of this JSON.
    pub format_version: u32,
    /// Every check that was made.
    pub checks: Vec<Check>,
    /// The same in numbers.
    pub summary: DoctorSummary,
}

impl DoctorReport {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        Self {
            format_version: 1,
            summary: DoctorSummary {
                ok: count(CheckStatus::Ok),
                warn: count(CheckStatus::Warn),
                fail: count(CheckStatus::Fail),
                unknown: count(CheckStatus::Unknown),
            },
            checks,
        }
    }

    /// The check with an id.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// Whether no check failed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.summary.fail == 0
    }
}

/// What is known of a connection before it is asked: whether a pooler is in between shows best in
/// how two connections relate.
///
/// ```
/// use std::time::Duration;
/// use threadline_diesel::doctor::Doctor;
///
/// let question = Doctor::new().connected_for(Duration::from_millis(20));
/// # let _ = question;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doctor {
    connected_for: Option<Duration>,
    own_backends: Vec<i32>,
    other_backends: Vec<i32>,
}

impl Doctor {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long ago the connection was opened, by the client: a server process that is older was
    /// handed over by a pooler.
    #[must_use]
    pub fn connected_for(mut self, time: Duration) -> Self {
        self.connected_for = Some(time);
        self
    }

    /// The server process (`pg_backend_pid()`) that answered a transaction of the same connection
    /// before.
    #[must_use]
    pub fn answered_by(mut self, backend_pid: i32) -> Self {
        self.own_backends.push(backend_pid);
        self
    }

    /// The server process that answered another connection while this one was open: two clients
    /// with one process share it, transaction by transaction.
    #[must_use]
    pub fn other_answered_by(mut self, backend_pid: i32) -> Self {
        self.other_backends.push(backend_pid);
        self
    }
}

/// A check that is one query, which judges itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SqlCheck {
    id: &'static str,
    sql: &'static str,
    pub(crate) needs_trail: bool,
}

macro_rules! checks {
    ($($id:literal $needs_trail:literal,)+) => {
        /// The checks that are queries, in the order they are reported.
        pub(crate) const CHECKS: &[SqlCheck] = &[$(SqlCheck {
            id: $id,
            sql: include_str!(concat!("../sql/doctor/", $id, ".sql")),
            needs_trail: $needs_trail,
        }),+];
    };
}

checks! {
    "server_version" false,
    "connected_role" false,
    "settings" false,
    "long_transactions" false,
    "prepared_transactions" false,
    "trail_size" true,
    "partitions_ahead" true,
    "indexes" true,
    "vacuum" true,
}

impl SqlCheck {
    pub(crate) fn query(&self) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        statement(self.sql)
    }

    pub(crate) fn judge(&self, found: Result<Vec<Fact>, diesel::result::Error>) -> Check {
        judge::judge(self.id, found)
    }
}
