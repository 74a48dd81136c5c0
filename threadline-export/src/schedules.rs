//! Schedules: they enqueue jobs at times that a cron expression and a time zone give.
//!
//! [`Worker`](crate::Worker) enqueues the jobs of due schedules. Several workers enqueue one job for each
//! time. If no worker ran at several times, one job is enqueued for all of them.

mod calls;
mod cron;
mod error;
mod schedule;
mod statements;

pub(crate) use self::calls::enqueue_due;
pub use self::calls::{add, find, list, pause, remove, resume, run_now};
pub use self::cron::{Cron, InvalidCron};
pub use self::error::ScheduleError;
pub use self::schedule::{InvalidScheduleName, NewSchedule, Schedule, ScheduleName};
