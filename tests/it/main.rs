//! Scenarios against a real PostgreSQL: one binary, a module an area.

mod attribution;
mod audited_write;
mod capture;
mod coverage;
mod drift;
mod exactness;
mod faults;
mod harness;
mod identity;
mod investigation;
mod model;
mod partitions;
mod redaction;
mod removal;
mod suspension;
mod trust;
