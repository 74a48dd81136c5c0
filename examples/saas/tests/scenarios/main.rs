//! Requests to the application, and the records that they leave in the trail.

mod attribution;
mod console;
mod harness;
mod redaction;
mod work;
