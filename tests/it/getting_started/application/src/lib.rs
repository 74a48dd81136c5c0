pub mod auth;
pub mod invoices;
pub mod models;
pub mod schema;
pub mod web;
