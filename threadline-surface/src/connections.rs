//! The pools that the console reads through.
//!
//! [`Console::builder`](crate::Console::builder) and [`ConsoleBuilder::writer`](crate::ConsoleBuilder::writer)
//! say which privileges the roles need.

pub use threadline_export::connections::{Connection, ConnectionPool, PoolError};
