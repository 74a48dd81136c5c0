//! The application from the outside: requests in, and what the trail says about them.

mod attribution;
mod harness;
mod redaction;
mod work;
