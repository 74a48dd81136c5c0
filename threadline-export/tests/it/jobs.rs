//! Background jobs.

mod queue;
