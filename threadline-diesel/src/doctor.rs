//! Diagnosis of connection, server, roles, pooler and the state of the trail.
//!
//! # The JSON
//!
//! A [`DoctorReport`] is an object with `format_version` (1), `checks`, and `summary` (how many are
//! `ok`, `warn`, `fail`, `unknown`). A check has an `id` (stable), a `status` (`ok`, `warn`, `fail`,
//! `unknown`), `text`, `hint` (what to do, or null), and `details`, an array of objects that depend
//! on the check.
//!
//! | id | checks |
//! |---|---|
//! | `clock` | the clocks of client and server agree |
//! | `pooler` | whether there is a pooler, and its mode |
//! | `installation` | whether there is a trail, and its schema version |
//! | `server_version` | the PostgreSQL version is supported |
//! | `connected_role` | the privileges of the connected role |
//! | `settings` | settings that disable triggers or lose commits |
//! | `long_transactions` | old transactions that hold back vacuum or the feed |
//! | `prepared_transactions` | prepared transactions that hold back vacuum or the feed |
//! | `trail_size` | the size and growth of the trail |
//! | `partitions_ahead` | the end of the last partition |
//! | `indexes` | indexes that are invalid, or large and unused |
//! | `vacuum` | tables of the trail with many dead rows |
//! | `delivery_failures` | items that a receiver of the feed refused |

mod judge;
#[cfg(feature = "async")]
mod run;

use std::time::Duration;

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use serde::Serialize;

use self::judge::Fact;
#[cfg(feature = "async")]
pub use self::run::doctor;
use crate::coverage::queries::statement;
#[cfg(feature = "async")]
pub use crate::pooler_probe::probe_pooler;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckStatus {
    /// Nothing to do.
    Ok,
    /// The check could not be made.
    Unknown,
    /// Action is needed.
    Warn,
    /// The trail does not work as documented.
    Fail,
}

impl CheckStatus {
    /// The status in JSON.
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
    /// The stable id of the check.
    pub id: &'static str,
    /// The result.
    pub status: CheckStatus,
    /// The finding for display.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
    /// Details as objects, whose fields depend on the check.
    pub details: Vec<serde_json::Value>,
}

/// The number of checks by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DoctorSummary {
    /// The number of checks with nothing to do.
    pub ok: usize,
    /// The number of checks that need action.
    pub warn: usize,
    /// The number of failed checks.
    pub fail: usize,
    /// The number of checks that could not be made.
    pub unknown: usize,
}

/// The report of the doctor.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// The version of this JSON format.
    pub format_version: u32,
    /// All checks.
    pub checks: Vec<Check>,
    /// The number of checks by result.
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

/// A query for the checks, read by [`doctor`](crate::doctor()). What the caller knows of its connections helps to
/// detect a pooler.
///
/// ```
/// use std::time::Duration;
/// use threadline_diesel::doctor::Doctor;
///
/// let query = Doctor::new().connected_for(Duration::from_millis(20));
/// # let _ = query;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doctor {
    connected_for: Option<Duration>,
    own_backends: Vec<i32>,
    other_backends: Vec<i32>,
}

impl Doctor {
    /// Checks without knowledge of the connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long ago the client opened the connection. An older server process indicates a pooler.
    #[must_use]
    pub fn connected_for(mut self, time: Duration) -> Self {
        self.connected_for = Some(time);
        self
    }

    /// Adds the `pg_backend_pid()` of an earlier transaction of the same connection.
    #[must_use]
    pub fn answered_by(mut self, backend_pid: i32) -> Self {
        self.own_backends.push(backend_pid);
        self
    }

    /// Adds the `pg_backend_pid()` of another connection that was open at the same time. Two connections with one
    /// process indicate transaction pooling.
    #[must_use]
    pub fn other_answered_by(mut self, backend_pid: i32) -> Self {
        self.other_backends.push(backend_pid);
        self
    }
}

/// A check that is one statement, whose rows are judged.
#[derive(Debug, Clone, Copy)]
struct SqlCheck {
    id: &'static str,
    sql: &'static str,
    /// The schema version that has the tables of the statement; 0 without any.
    since_version: i32,
}

/// The checks that are one statement, in the order of the report.
const CHECKS: &[SqlCheck] = &[
    SqlCheck {
        id: "server_version",
        sql: include_str!("../sql/doctor/server_version.sql"),
        since_version: 0,
    },
    SqlCheck {
        id: "connected_role",
        sql: include_str!("../sql/doctor/connected_role.sql"),
        since_version: 0,
    },
    SqlCheck {
        id: "settings",
        sql: include_str!("../sql/doctor/settings.sql"),
        since_version: 0,
    },
    SqlCheck {
        id: "long_transactions",
        sql: include_str!("../sql/doctor/long_transactions.sql"),
        since_version: 0,
    },
    SqlCheck {
        id: "prepared_transactions",
        sql: include_str!("../sql/doctor/prepared_transactions.sql"),
        since_version: 0,
    },
    SqlCheck {
        id: "trail_size",
        sql: include_str!("../sql/doctor/trail_size.sql"),
        since_version: 1,
    },
    SqlCheck {
        id: "partitions_ahead",
        sql: include_str!("../sql/doctor/partitions_ahead.sql"),
        since_version: 1,
    },
    SqlCheck {
        id: "indexes",
        sql: include_str!("../sql/doctor/indexes.sql"),
        since_version: 1,
    },
    SqlCheck {
        id: "vacuum",
        sql: include_str!("../sql/doctor/vacuum.sql"),
        since_version: 1,
    },
    SqlCheck {
        id: "delivery_failures",
        sql: include_str!("../sql/doctor/delivery_failures.sql"),
        since_version: 2,
    },
];

impl SqlCheck {
    fn query(&self) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        statement(self.sql)
    }

    fn judge(&self, found: Result<Vec<Fact>, diesel::result::Error>) -> Check {
        judge::judge(self.id, found)
    }
}
